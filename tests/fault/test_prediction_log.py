"""The prediction log when its storage breaks or its process is killed: rows are lost and counted, nothing else happens, and no reader meets half a file."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem

from bentos.mlflow_model.scoring import prediction_log, signature
from monitoring import predictions
from tests.waiting import poll

SCHEMA = signature.parse({"inputs": json.dumps([{"type": "double", "name": "x"}])})
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))

# Writes files of 1000 rows and says so; `stop` is where it then hangs, in the middle of a file.
WRITER = """
import sys, time
import pyarrow as pa
import fsspec
from fsspec.implementations.local import LocalFileSystem
from bentos.mlflow_model.scoring.parquet_monitor import ParquetMonitor

root, stop = sys.argv[1:]

class Slow(LocalFileSystem):
    protocol = "slow"
    hang = False

    def open(self, path, mode="rb", **kwargs):
        file = super().open(path, mode, **kwargs)
        if self.hang and stop == "half":
            file.write(b"PAR1 and then nothing")
            file.flush()
            print("now", flush=True)
            time.sleep(60)
        return file

    def mv(self, *paths, **kwargs):
        if self.hang and stop == "unnamed":
            print("now", flush=True)
            time.sleep(60)
        super().mv(*paths, **kwargs)

fsspec.register_implementation("slow", Slow)
one = ParquetMonitor("m", root=f"slow://{root}", model="delay", version="3", keep_days=14, max_mb=1024)
texts = dict.fromkeys(("request_id", "trace_id", "model", "version", "schema_version"), ["a"] * 1000)
number = 0
while True:
    at = pa.array([time.time_ns() // 1000] * 1000, pa.int64()).cast(pa.timestamp("us", "UTC"))
    one._storage.hang = number == 3 and stop != "any"
    one.export_data({"time": at, **texts, "row": list(range(1000)), "prediction": [0.5] * 1000})
    number += 1
    print(number, flush=True)
"""


@dataclass
class Heard:
    written: int = 0
    lost: dict[str, int] = field(default_factory=dict)

    def wrote(self, rows: int) -> None:
        self.written += rows

    def dropped(self, rows: int, why: str) -> None:
        self.lost[why] = self.lost.get(why, 0) + rows

    @property
    def all(self) -> int:
        return self.written + sum(self.lost.values())


@contextmanager
def log(root: str | Path, heard: Heard, every_s: float = 0.05) -> Iterator[prediction_log.PredictionLog]:
    wanted = prediction_log.Settings(str(root), share_pct=100.0, every_s=every_s)
    made = prediction_log.PredictionLog(wanted, "delay", "3", heard.wrote, heard.dropped)
    made.serve(SCHEMA)
    try:
        yield made
    finally:
        made.close()


def put(one: prediction_log.PredictionLog, rows: int = 1) -> None:
    taken = one.take({}, "r", 10, {"x": np.ones(rows)})
    assert taken is not None
    one.add(taken, np.zeros(rows))


def put_and_wait(one: prediction_log.PredictionLog, heard: Heard) -> None:
    before = heard.all
    put(one)
    poll(lambda: heard.all > before)


def read(root: Path) -> pd.DataFrame:
    frame = predictions.read(str(root), "delay", "3", *ALWAYS)
    assert frame.attrs[predictions.SKIPPED] == []
    return frame


class Stuck(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Hangs until it is let go."""

    protocol = "stuck"
    entered, free = threading.Event(), threading.Event()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.entered.set()
        assert self.free.wait(60)
        super().makedirs(path, exist_ok=exist_ok)


def test_a_hanging_storage_costs_rows_and_no_time(tmp_path: Path) -> None:
    fsspec.register_implementation("stuck", Stuck, clobber=True)
    Stuck.free.clear()
    Stuck.entered.clear()
    with log(f"stuck://{tmp_path}", heard := Heard()) as one:
        put(one)
        assert Stuck.entered.wait(20)
        for _ in range(20):
            put(one, 10_000)
        assert heard == Heard(0, {"queue": 150_000}), "more than WAITING_ROWS"
        Stuck.free.set()
        poll(lambda: heard.written == 50_001)
    assert heard.lost == {"queue": 150_000}


def test_a_server_that_ends_does_not_wait_for_a_hanging_storage(tmp_path: Path) -> None:
    fsspec.register_implementation("stuck", Stuck, clobber=True)
    Stuck.free.clear()
    with log(f"stuck://{tmp_path}", Heard()) as one:
        put(one)
        one.close(within_s=0.2)
        assert not Stuck.free.is_set(), "it came back though nothing was written"
        Stuck.free.set()


def unreachable() -> str:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"ftp://127.0.0.1:{free.getsockname()[1]}/log"


@pytest.mark.parametrize("root", ["/sys/slipway", "nosuch://bucket/log", unreachable()], ids=["read-only", "unknown", "away"])
def test_a_storage_that_refuses_costs_rows_and_is_said_once(root: str, caplog: pytest.LogCaptureFixture) -> None:
    with log(root, heard := Heard()) as one:
        for _ in range(3):
            put_and_wait(one, heard)
    assert heard == Heard(0, {"storage": 3})
    assert sum("rows of the prediction log are lost" in line.message for line in caplog.records) == 1


def test_a_storage_that_takes_files_again_gets_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "log"
    root.write_text("not a folder")
    caplog.set_level("INFO")
    with log(root, heard := Heard()) as one:
        put_and_wait(one, heard)
        assert heard == Heard(0, {"storage": 1})
        root.unlink()
        put_and_wait(one, heard)
    assert heard == Heard(1, {"storage": 1})
    assert "the prediction log is written again" in caplog.text
    assert len(read(root)) == 1


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "log"
    with log(root, heard := Heard()) as one:
        put_and_wait(one, heard)
        root.rename(tmp_path / "elsewhere")
        put_and_wait(one, heard)
    assert heard == Heard(2)
    assert len(read(root)) == 1


def test_a_full_disk_leaves_no_torn_file(tmp_path: Path) -> None:
    """/dev/full takes nothing: the unfinished file is made a link to it before it is written."""

    class Full(LocalFileSystem):  # type: ignore[misc]  # as above
        protocol = "full"

        def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
            if mode == "wb":
                Path(self._strip_protocol(path)).symlink_to("/dev/full")
            return super().open(path, mode, **kwargs)

    fsspec.register_implementation("full", Full, clobber=True)
    with log(f"full://{tmp_path}", heard := Heard()) as one:
        put_and_wait(one, heard)
    assert heard == Heard(0, {"storage": 1})
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("stop", ["half", "unnamed", "any"])
def test_a_writer_killed_at_any_moment_leaves_no_torn_file(tmp_path: Path, stop: str) -> None:
    arguments = [sys.executable, "-c", WRITER, str(tmp_path), stop]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(4)]
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read().split()
    finished = max(int(each) for each in told if each != "now")
    unfinished = [path for path in tmp_path.rglob("*.parquet") if path.name.startswith(".")]
    if stop != "any":
        assert (told[-1], len(unfinished)) == ("now", 1), "it was killed where it should be"
    assert len(read(tmp_path)) in (1000 * finished, 1000 * (finished + 1)), "each file is whole, or is not there"
