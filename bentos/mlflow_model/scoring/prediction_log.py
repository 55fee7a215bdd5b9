"""The prediction log of one model server: a sampled share of its requests, with what was answered, handed to a thread that writes them.

Called by `app.App` before and after the model. To an answer it costs a copy of the row and a place in a queue; the rest is the thread's, which writes
a file through `bentoml.monitor` every so often. It never waits and never fails an answer: what finds the queue full, what the storage does not
take and what does not fit the signature is dropped and counted. A process that is killed loses what it had not written: at most `every_s` seconds.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import prediction_files as files
from . import prediction_rows as rows
from . import signature

LOG = logging.getLogger("bentoml.slipway")
WAITING_ROWS, WAITING_BYTES = 50_000, 64 * 1024 * 1024  # more is dropped
FILE_ROWS, FILE_BYTES = 10_000, 16 * 1024 * 1024  # in memory; written at once, whatever the time
REQUEST_BYTES, VALUE_BYTES = 1000, 40  # what a request, and each value of it, takes in memory beside the text
CLOSE_S = 5.0
PREFIX = "SLIPWAY_PREDICTION_LOG"
PROBE = b"x-slipway-probe"  # in the requests of whoever checks a replica, which are no traffic
Lost = Callable[[int, str], None]  # rows, why: "queue", "storage" or "encoding"


@dataclass(frozen=True, slots=True)
class Settings:
    """root: a folder or an fsspec URL. share_pct: of the requests. every_s: the longest that a row waits for its file."""

    root: str
    share_pct: float = 10.0
    every_s: float = 30.0
    keep_days: float = 14.0
    max_mb: float = 1024.0


def settings(environment: Mapping[str, str]) -> Settings | None:
    """None: nothing is to be logged. Raises ValueError, which names the variable."""
    root = environment.get(PREFIX, "")
    if not root:
        return None

    def number(name: str, default: float, most: float) -> float:
        text = environment.get(f"{PREFIX}_{name}", "")
        try:
            value = float(text) if text else default
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise ValueError(f"{PREFIX}_{name} must be a number from 0 to {most:g}, not {text!r}")
        return value

    return Settings(
        root,
        number("SHARE_PCT", 10.0, 100),
        number("EVERY_S", 30.0, 3600),
        number("KEEP_DAYS", 14.0, 36500),
        number("MAX_MB", 1024.0, 1e9),
    )


class PredictionLog:
    """Of one model version. `wrote` and `lost` hear of rows, from any thread."""

    def __init__(self, wanted: Settings, model: str, version: str, wrote: Callable[[int], None], lost: Lost) -> None:
        self._settings = wanted
        self._model, self._version = model, version
        self._wrote, self._lost = wrote, lost
        self._columns = 0
        self._monitor = f"{model} {version} {secrets.token_hex(4)}"  # BentoML keeps monitors by name
        self._limit = round(wanted.share_pct / 100 * 2**32)
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[rows.Logged] = []
        self._rows = self._bytes = 0
        self._since = 0.0  # when the first of those came, monotonic
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failing = False

    def serve(self, schema: signature.Signature) -> None:
        """Before the first request. Loads what writing needs, which would make a request wait."""
        import fsspec.implementations.local  # noqa: F401, PLC0415 - a server that logs nothing loads none of it
        import pyarrow.parquet  # noqa: F401, PLC0415 - as above

        self._columns = len(schema.columns)
        self._thread = threading.Thread(target=self._work, args=(schema,), name="prediction-log", daemon=True)
        self._thread.start()

    def take(self, given: Mapping[bytes, bytes], request_id: str, size: int, data: signature.Input) -> rows.Logged | None:
        """A request before it is given to the model; None: it is not logged. By its id, so that versions which are given the same request log
        the same ones. given: its headers. size: bytes of its body. Never raises."""
        drawn = zlib.crc32(request_id.encode()) if request_id else random.getrandbits(32)
        if drawn >= self._limit or PROBE in given:
            return None
        try:
            count = len(next(iter(data.values()))) if isinstance(data, dict) else len(data)
            size += REQUEST_BYTES + VALUE_BYTES * self._columns * count
            kept = rows.kept(data, count, tensors=not self._columns)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has nothing to do with it
            self._dropped(1, "encoding", error)
            return None
        return rows.Logged(request_id, given.get(b"traceparent"), size, count, kept)

    def add(self, taken: rows.Logged, answer: Any) -> None:
        """It was answered. Never blocks."""
        taken.at_us, taken.answer = time.time_ns() // 1000, answer
        with self._changed:
            fits = self._rows + taken.rows <= WAITING_ROWS and self._bytes + taken.size <= WAITING_BYTES
            if fits and not self._closing:
                self._put(taken)
                return
        self._lost(taken.rows, "queue")

    def _put(self, logged: rows.Logged) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(logged)
        before = self._full
        self._rows += logged.rows
        self._bytes += logged.size
        if len(self._waiting) == 1 or (self._full and not before):
            self._changed.notify()

    @property
    def _full(self) -> bool:
        return self._rows >= FILE_ROWS or self._bytes >= FILE_BYTES

    def close(self, within_s: float = CLOSE_S) -> None:
        """Write what is waiting, if it can be done in that time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(within_s)

    def _work(self, schema: signature.Signature) -> None:
        while batch := self._next():
            for count, columns in self._encoded(schema, batch):
                try:
                    self._record(columns)
                except Exception as error:  # noqa: BLE001 - a storage raises what its own library does
                    self._dropped(count, "storage", error)
                    continue
                self._wrote(count)
                if self._failing:
                    LOG.info("the prediction log is written again")
                self._failing = False

    def _encoded(self, schema: signature.Signature, batch: Sequence[rows.Logged]) -> Iterator[tuple[int, rows.Columns]]:
        """The files of a batch, with how many rows each has: one, unless a request has no place in it. That one is dropped alone."""
        count = sum(each.rows for each in batch)
        try:
            columns = rows.columns(schema, self._model, self._version, batch)
        except Exception as error:  # noqa: BLE001 - of a model's answer anything may come
            if len(batch) == 1:
                self._dropped(count, "encoding", error)
                return
        else:
            yield count, columns
            return
        half = len(batch) // 2
        yield from self._encoded(schema, batch[:half])
        yield from self._encoded(schema, batch[half:])

    def _next(self) -> list[rows.Logged]:
        """Waits until there is enough for a file, the first row has waited long enough, or the server ends: then what is left, at last nothing."""
        with self._changed:
            while not self._closing and not self._full:
                due = self._since + self._settings.every_s - time.monotonic() if self._waiting else None
                if due is not None and due <= 0:
                    break
                self._changed.wait(due)
            batch, self._waiting = self._waiting, []
            self._rows = self._bytes = 0
            return batch

    def _record(self, columns: rows.Columns) -> None:
        import bentoml  # noqa: PLC0415 - imports of it count, and a test of this file without one needs none

        from .parquet_monitor import ParquetMonitor  # noqa: PLC0415 - as above

        wanted = self._settings
        options = {
            "root": wanted.root,
            "model": self._model,
            "version": self._version,
            "keep_days": wanted.keep_days,
            "max_mb": wanted.max_mb,
        }
        with bentoml.monitor(self._monitor, ParquetMonitor, options) as record:  # type: ignore[call-overload]  # it does take a class
            for name, column in columns.items():
                role = "feature" if name.startswith(files.FEATURE) else "prediction" if name == files.PREDICTION else name
                record.log_batch(
                    column, name, role, "numerical" if str(column.type).startswith(("int", "float")) else "categorical"
                )

    def _dropped(self, count: int, why: str, error: Exception) -> None:
        self._lost(count, why)
        if not self._failing:
            LOG.warning("rows of the prediction log are lost, serving goes on, and this is said once: %s: %s", why, error)
        self._failing = True
