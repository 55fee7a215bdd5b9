"""The files of the prediction log as BentoML's monitor writes and deletes them; read with the one reader that there is."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bentoml
import fsspec
import pandas as pd
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from bentos.mlflow_model.scoring import parquet_monitor, prediction_files
from monitoring import predictions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def read(root: str | Path) -> pd.DataFrame:
    frame = predictions.read(str(root), "delay", "3", *ALWAYS)
    assert frame.attrs[predictions.SKIPPED] == []
    return frame


def options(root: str | Path, **changed: Any) -> dict[str, Any]:
    return {"root": str(root), "model": "delay", "version": "3", "keep_days": 36_500, "max_mb": 1024, **changed}


def record(times: list[datetime]) -> dict[str, Any]:
    count = len(times)
    texts = dict.fromkeys(("request_id", "trace_id", "model", "version", "schema_version"), ["a"] * count)
    return {"time": pa.array(times, pa.timestamp("us", "UTC")), **texts, "row": [0] * count, "prediction": [0.5] * count}


def test_a_record_that_an_exception_broke_off_is_forgotten(tmp_path: Path) -> None:
    """BentoML does not end such a record; its own monitor would then fail for ever."""
    monitor = parquet_monitor.ParquetMonitor

    def write(times: list[datetime], *, fail: bool) -> None:
        with bentoml.monitor(f"broken off {tmp_path}", monitor, options(tmp_path)) as one:  # type: ignore[call-overload]
            for name, column in record(times).items():
                one.log_batch(column, name, "feature", "numerical")
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write([NOW], fail=True)
    write([NOW + timedelta(seconds=1)], fail=False)
    assert [at.to_pydatetime() for at in read(tmp_path)["time"]] == [NOW + timedelta(seconds=1)]


@given(st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=30))
def test_whatever_the_clock_does_every_row_is_found(seconds: list[int]) -> None:
    root = f"memory://{os.urandom(8).hex()}"
    one = parquet_monitor.ParquetMonitor("m", **options(root))
    one.export_data(record([NOW + timedelta(seconds=each) for each in seconds]))
    assert sorted(at.to_pydatetime() for at in read(root)["time"]) == sorted(NOW + timedelta(seconds=each) for each in seconds)
    for path in fsspec.filesystem("memory").find(root.removeprefix("memory:/")):
        name = prediction_files.parse(path.split("/")[-2], path.split("/")[-1])
        assert name is not None


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.parquet"))


def test_old_files_go_whichever_version_wrote_them_and_the_oldest_beyond_the_size(tmp_path: Path) -> None:
    days = [NOW - timedelta(days=each) for each in (20, 10, 3, 2, 1, 0)]
    retired = parquet_monitor.ParquetMonitor("r", **options(tmp_path, version="2"))
    serving = parquet_monitor.ParquetMonitor("s", **options(tmp_path))
    for at in days:
        retired.export_data(record([at]))
        serving.export_data(record([at]))
    torn = tmp_path / "delay" / "3" / "2026-03-01" / ".060000000000-abc-1.parquet"
    torn.write_text("half")
    young = torn.with_name(".115900000000-abc-2.parquet")
    young.write_text("half")
    foreign = torn.with_name("notes.txt")
    foreign.write_text("mine")
    size = sum(path.stat().st_size for path in (tmp_path / "delay" / "3").rglob("[0-9]*.parquet")) / 6
    parquet_monitor.ParquetMonitor("w", **options(tmp_path, keep_days=7, max_mb=2.5 * size / 1e6)).sweep(NOW)
    assert [name.split("/")[1:3] for name in names(tmp_path) if "/." not in name] == [
        *(["2", f"{at:%Y-%m-%d}"] for at in days[2:]),
        *(["3", f"{at:%Y-%m-%d}"] for at in days[4:]),
    ]
    assert (torn.exists(), young.exists(), foreign.exists()) == (False, True, True)
    parquet_monitor.ParquetMonitor("w", **options(tmp_path, keep_days=7)).sweep(NOW)
    assert not (tmp_path / "delay" / "2" / "2026-02-09").exists(), "empty folders go too"


def test_what_cannot_be_deleted_is_said_and_the_rows_are_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Unlisted(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "unlisted"

        def ls(self, path: str, detail: bool = False, **_: Any) -> Any:
            raise PermissionError(path)

    fsspec.register_implementation("unlisted", Unlisted, clobber=True)
    parquet_monitor.ParquetMonitor("u", **options(f"unlisted://{tmp_path}")).export_data(record([NOW]))
    assert len(read(tmp_path)) == 1
    assert "cannot be deleted" in caplog.text
