"""Reads the prediction log: the sampled rows that replicas gave their models, with what was answered.

Bentos write it (`bentos/mlflow_model/scoring/prediction_log.py`), this is the only reader. The log lives below a root, a local folder or an fsspec URL
(`SLIPWAY_PREDICTION_LOG`), laid out as `prediction_files` says. Files appear whole or not at all, seconds after their rows were answered, and are
deleted by age and size; a file that goes away while it is read is one of those.

pyarrow, pandas and fsspec are imported only when something is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from monitoring import prediction_files as files

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger("slipway.monitoring.predictions")
LIMIT = 100_000  # rows, unless told otherwise
SKIPPED = "skipped"  # in the frame's `attrs`


@dataclass(frozen=True, slots=True)
class _File:
    name: files.Name
    path: str


class Unavailable(Exception):
    """The log's storage did not answer; try again."""


def read(  # noqa: PLR0917 - the window of a version, in the order in which one says it
    root: str, model: str, version: str, start: datetime, end: datetime, limit: int = LIMIT
) -> pd.DataFrame:
    """Rows logged from `start` (included) to `end` (excluded), in the order of time; of more than `limit`, the newest.

    root: a local folder or an fsspec URL. start, end: aware. One row per row of a request, columns `prediction_files.FIXED`, then `feature.<name>`,
    then `prediction`. `time` is UTC with microseconds. Numbers, texts and truth values come in their types, integers with nulls as floats;
    times as UTC; what has no such type (objects, arrays, bytes) as JSON. The prediction is a number, a text, or an array of float64.
    No rows: a frame without any, which has the FIXED columns and `prediction` only.

    What cannot be read is left out; `frame.attrs["skipped"]` lists it, as "path: why".

    Raises ValueError for times without a zone, a start after the end, or a limit below 1; Unavailable if the root cannot be listed.
    """
    if start.tzinfo is None or end.tzinfo is None or start > end:
        raise ValueError(f"start and end must be aware, and start not after end: {start}, {end}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    import fsspec  # noqa: PLC0415 - slow, and few of those who import this read

    try:
        storage, base = fsspec.core.url_to_fs(root)
        top = f"{base.rstrip('/')}/{files.folder(model, version)}"
        found = sorted(_list(storage, top, start, end), key=lambda file: file.name.newest, reverse=True)
    except Exception as error:  # a storage raises what its own library does
        raise Unavailable(f"the prediction log at {root} cannot be listed: {error}") from error
    kept = _Kept(start, end, limit)
    for file in found:
        if kept.enough(file.name.newest):
            break
        try:
            kept.add(_table(storage, file.path))
        except FileNotFoundError:
            continue  # its time had come
        except Exception as error:  # noqa: BLE001 - as above, and pyarrow's for a file that is none
            kept.skip(file.path, error)
    return kept.frame()


def _list(storage: Any, top: str, start: datetime, end: datetime) -> Iterator[_File]:
    """The files that may have rows of the window."""
    storage.invalidate_cache()
    first, last = f"{start.astimezone(UTC):%Y-%m-%d}", f"{end.astimezone(UTC) + files.SPAN:%Y-%m-%d}"
    for folder in _names(storage, top):
        day = folder.rsplit("/", 1)[-1]
        if not first <= day <= last:
            continue
        for path in _names(storage, folder):
            name = files.parse(day, path.rsplit("/", 1)[-1])
            if name is not None and start <= name.newest < end + files.SPAN:
                yield _File(name, path)


def _names(storage: Any, folder: str) -> list[str]:
    try:
        return [str(path).rstrip("/") for path in storage.ls(folder, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _table(storage: Any, path: str) -> Any:
    from pyarrow import parquet  # noqa: PLC0415 - as above

    with storage.open(path, "rb") as file:
        table = parquet.read_table(file)
    missing = [name for name in (*files.FIXED, files.PREDICTION) if name not in table.column_names]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}")
    return table


class _Kept:
    """Rows so far, from the newest file to older ones."""

    def __init__(self, start: datetime, end: datetime, limit: int) -> None:
        self._start, self._end, self._limit = start, end, limit
        self._tables: list[Any] = []
        self._schema: Any = None
        self._skipped: list[str] = []

    def enough(self, newest: datetime) -> bool:
        """Whether files whose rows are not newer than this can be left alone."""
        from pyarrow import compute  # noqa: PLC0415 - as above

        if sum(len(table) for table in self._tables) < self._limit:
            return False
        self._cut()
        return bool(newest < compute.min(self._tables[0][files.TIME]).as_py())

    def _cut(self) -> None:
        """One table of the newest rows."""
        import pyarrow as pa  # noqa: PLC0415 - as above

        table = pa.concat_tables(self._tables, promote_options="permissive")
        order = [(name, "descending") for name in (files.TIME, files.REQUEST_ID, files.ROW)]
        self._tables = [table.sort_by(order).slice(0, self._limit)]

    def add(self, table: Any) -> None:
        """Raises what pyarrow does if its columns are of other types than those so far."""
        import pyarrow as pa  # noqa: PLC0415 - as above
        from pyarrow import compute  # noqa: PLC0415 - as above

        schemas = [table.schema] if self._schema is None else [self._schema, table.schema]
        schema = pa.unify_schemas([found.remove_metadata() for found in schemas], promote_options="permissive")
        time = table[files.TIME]
        inside = table.filter(compute.and_(compute.greater_equal(time, self._start), compute.less(time, self._end)))
        self._schema = schema
        if len(inside):
            self._tables.append(inside)

    def skip(self, path: str, error: Exception) -> None:
        self._skipped.append(f"{path}: {error}")
        LOG.warning("a file of the prediction log cannot be read and is left out: %s: %s", path, error)

    def frame(self) -> pd.DataFrame:
        if self._tables:
            self._cut()
            table = self._tables[0]
            frame = table.take(list(range(len(table) - 1, -1, -1))).to_pandas()
        else:
            frame = _empty()
        features = [name for name in frame.columns if name not in files.FIXED and name != files.PREDICTION]
        frame = frame[[*files.FIXED, *features, files.PREDICTION]]
        frame.attrs[SKIPPED] = self._skipped
        return frame


def _empty() -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - as above

    columns = {name: pd.Series(dtype=object) for name in files.FIXED}
    columns |= {files.TIME: pd.Series(dtype="datetime64[us, UTC]"), files.ROW: pd.Series(dtype="int64")}
    return pd.DataFrame({**columns, files.PREDICTION: pd.Series(dtype="float64")})
