"""A BentoML monitor that writes each record as one Parquet file of the prediction log, and deletes what is too old or too much.

`bentoml.monitor(name, ParquetMonitor, options)` makes one per name and keeps it for the life of the process. Records hold whole columns
(`log_batch`), among them `prediction_files.TIME`. A record that an exception has broken off is forgotten by the next one, where BentoML's own base
class would mix the two. A file appears whole, under its name, or not at all: it is written under a name that no reader looks at, forced to
the disk, and renamed. Used by one thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bentoml.monitoring import MonitorBase

from . import prediction_files as files

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("bentoml.slipway")
SWEEP_S = 600.0  # between two looks at what is too old or too much
TORN = timedelta(hours=2)  # a file that has not been finished for so long never will be


class ParquetMonitor(MonitorBase[Any]):
    """root: a folder or an fsspec URL. keep_days: age after which files of any version of the model go. max_mb: of this version's files; the
    oldest go first. Whatever the storage raises comes through to the one who ends the record."""

    def __init__(self, name: str, *, root: str, model: str, version: str, keep_days: float, max_mb: float, **_: Any) -> None:
        import fsspec  # noqa: PLC0415 - a server that logs nothing loads none of it
        from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415 - as above

        super().__init__(name)
        self._storage, base = fsspec.core.url_to_fs(root)
        self._local = isinstance(self._storage, LocalFileSystem)
        self._model = f"{base.rstrip('/')}/{files.model_folder(model)}"
        self._version = f"{base.rstrip('/')}/{files.folder(model, version)}"
        self._keep = timedelta(days=keep_days)
        self._max_bytes = max_mb * 1e6
        self._writer = secrets.token_hex(4)
        self._number = 0
        self._columns: dict[str, Any] = {}
        self._swept_at = -SWEEP_S

    def start_record(self) -> None:
        self._columns = {}

    def log(self, data: Any, name: str, role: str, data_type: str) -> None:
        del role, data_type
        self._columns.setdefault(name, []).append(data)

    def log_batch(self, data_batch: Any, name: str, role: str, data_type: str) -> None:
        """A whole column: anything that `pyarrow.table` takes."""
        del role, data_type
        self._columns[name] = data_batch

    def stop_record(self) -> None:
        columns, self._columns = self._columns, {}
        if columns:
            self.export_data(columns)

    def export_schema(self, columns_schema: dict[str, dict[str, str]]) -> None:
        """Every file carries its own."""

    def export_data(self, datas: Mapping[str, Any]) -> None:
        """Usually one file; more if the clock was set meanwhile, since the rows of a file lie within `prediction_files.SPAN`."""
        import pyarrow as pa  # noqa: PLC0415 - as above

        table = pa.table(dict(datas)).sort_by(files.TIME)
        for part in _spans(table):
            self._write(part)
        if time.monotonic() - self._swept_at >= SWEEP_S:
            self._swept_at = time.monotonic()
            try:
                self.sweep(table[files.TIME][-1].as_py())
            except Exception as error:  # noqa: BLE001 - a storage raises what its own library does; the rows are written, and that counts
                LOG.warning("old files of the prediction log cannot be deleted, tried again in %g s: %s", SWEEP_S, error)

    def _write(self, table: pa.Table) -> None:
        from pyarrow import parquet  # noqa: PLC0415 - as above

        name = files.Name(table[files.TIME][-1].as_py(), self._writer, self._number)
        self._number += 1
        folder = f"{self._version}/{name.day}"
        unfinished = f"{folder}/.{name.file}"
        self._storage.makedirs(folder, exist_ok=True)
        try:
            with self._storage.open(unfinished, "wb") as file:
                parquet.write_table(table, file, compression="zstd")
                if self._local:
                    file.flush()
                    os.fsync(file.fileno())
            self._storage.mv(unfinished, f"{folder}/{name.file}")
        except BaseException:
            with contextlib.suppress(Exception):
                self._storage.rm(unfinished)
            raise

    def sweep(self, now: datetime) -> None:
        """Delete what is too old of all versions of the model, the oldest of this version beyond its size, and what was never finished. Others
        may be doing the same."""
        oldest = now - self._keep
        here: list[tuple[datetime, int, str]] = []
        self._storage.invalidate_cache()
        for version in self._inside(self._model):
            for folder in self._inside(str(version["name"])):
                left = list(self._left(str(folder["name"]), oldest, now))
                if not left:
                    self._delete(str(folder["name"]), folder=True)
                if str(version["name"]).rstrip("/") == self._version:
                    here += left
        total = sum(size for _, size, _ in here)
        for _, size, path in sorted(here):
            if total <= self._max_bytes:
                break
            self._delete(path)
            total -= size

    def _left(self, folder: str, oldest: datetime, now: datetime) -> Iterator[tuple[datetime, int, str]]:
        """What stays in a day's folder: when, bytes, where. Unfinished files count nothing."""
        day = folder.rstrip("/").rsplit("/", 1)[-1]
        for found in self._inside(folder):
            path = str(found["name"])
            file = path.rsplit("/", 1)[-1]
            name = files.parse(day, file.removeprefix("."))
            if name is None:
                yield now, 0, path  # somebody else's
            elif name.newest < (now - TORN if file.startswith(".") else oldest):
                self._delete(path)
            else:
                yield name.newest, 0 if file.startswith(".") else int(found["size"] or 0), path

    def _inside(self, folder: str) -> list[dict[str, Any]]:
        try:
            return [*self._storage.ls(folder, detail=True)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _delete(self, path: str, *, folder: bool = False) -> None:
        with contextlib.suppress(OSError):  # gone already, or filled meanwhile
            (self._storage.rmdir if folder else self._storage.rm_file)(path)


def _spans(table: pa.Table) -> Iterator[pa.Table]:
    """The sorted rows in parts whose times lie within the span of a file."""
    times = table[files.TIME].to_numpy()
    start = 0
    while start < len(times):
        end = int(times.searchsorted(times[start] + files.SPAN, side="right"))
        yield table.slice(start, end - start)
        start = end
