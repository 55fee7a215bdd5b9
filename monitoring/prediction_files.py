"""PURE. Where the prediction log keeps its files and what their columns are called.

    <root>/<model>/<version>/<YYYY-MM-DD>/<HHMMSSffffff>-<writer>-<number>.parquet

The bento, which writes them, and `monitoring.predictions`, which reads them, have the same copy of this file, since a bento imports nothing of the
other rooms; a test compares them. Date and time of a name are UTC and those of the newest row in the file, whose oldest is at most SPAN older: so a
reader knows from names alone which files to open. A name that begins with a dot is not finished, and is never read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

SPAN = timedelta(hours=1)  # between the oldest and the newest row of one file
SUFFIX = ".parquet"

TIME = "time"  # when the model had answered, UTC, microseconds
REQUEST_ID = "request_id"  # as the client gave it; null: it gave none
TRACE_ID = "trace_id"  # 32 hexadecimal digits; null: no trace context came
ROW = "row"  # place in its request, from 0
MODEL = "model"
VERSION = "version"
SCHEMA_VERSION = "schema_version"  # of the signature
PREDICTION = "prediction"
FEATURE = "feature."  # followed by the column's name in the signature
FIXED = (TIME, REQUEST_ID, TRACE_ID, ROW, MODEL, VERSION, SCHEMA_VERSION)

_NAME = re.compile(r"(\d{12})-([0-9a-z]+)-(\d+)\.parquet")


@dataclass(frozen=True, slots=True)
class Name:
    """One file of a version. `newest`: time of its newest row. `writer`: the process. `number`: counts its files."""

    newest: datetime
    writer: str
    number: int

    @property
    def day(self) -> str:
        """The folder."""
        return f"{self.newest:%Y-%m-%d}"

    @property
    def file(self) -> str:
        return f"{self.newest:%H%M%S%f}-{self.writer}-{self.number}{SUFFIX}"


def model_folder(model: str) -> str:
    """Below the root. Whatever a name holds, it stays one folder, and different names are different folders."""
    return _safe(model)


def folder(model: str, version: str) -> str:
    """Of one version, below the root, likewise."""
    return f"{model_folder(model)}/{_safe(version)}"


def parse(day: str, file: str) -> Name | None:
    """None: a file of somebody else, or one that is not finished."""
    found = _NAME.fullmatch(file)
    if found is None:
        return None
    try:
        newest = datetime.strptime(f"{day} {found[1]}", "%Y-%m-%d %H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    return Name(newest, found[2], int(found[3]))


def _safe(name: str) -> str:
    quoted = quote(name, safe=" ")
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") else quoted
