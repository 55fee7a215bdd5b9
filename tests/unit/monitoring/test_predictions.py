"""What is read of a prediction log: the window, the newest rows of it, whole files only; what cannot be read is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from monitoring import prediction_files as files
from monitoring import predictions

DAY = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
ALWAYS = (DAY - timedelta(days=2), DAY + timedelta(days=2))


def rows(times: list[datetime], **columns: Any) -> pa.Table:
    count = len(times)
    ids = pa.array([f"r{index}" for index in range(count)], pa.string())
    fixed = {
        files.TIME: pa.array(times, pa.timestamp("us", "UTC")),
        files.REQUEST_ID: ids,
        files.TRACE_ID: pa.nulls(count, pa.string()),
        files.ROW: pa.array([0] * count, pa.int32()),
        files.MODEL: pa.array(["delay"] * count),
        files.VERSION: pa.array(["3"] * count),
        files.SCHEMA_VERSION: pa.array(["abc"] * count),
    }
    return pa.table({**fixed, **(columns or {"feature.x": list(range(count)), "prediction": [0.5] * count})})


def put(root: Path, table: pa.Table, writer: str = "a", number: int = 0) -> Path:
    name = files.Name(max(table[files.TIME].to_pylist()), writer, number)
    path = root / files.folder("delay", "3") / name.day / name.file
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def read(root: Path | str, start: datetime = ALWAYS[0], end: datetime = ALWAYS[1], limit: int = 1000) -> pd.DataFrame:
    return predictions.read(str(root), "delay", "3", start, end, limit=limit)


def every(minutes: float, count: int, start: datetime = DAY) -> list[datetime]:
    return [start + timedelta(minutes=minutes) * index for index in range(count)]


def test_rows_come_in_the_order_of_time_with_the_types_they_were_written_in(tmp_path: Path) -> None:
    later = rows(
        every(1, 2, DAY + timedelta(minutes=40)),
        **{"feature.t": ["u", None], "feature.b": [True, False], "prediction": [1.0, 2.0]},
    )
    sooner = rows(every(1, 2), **{"feature.t": ["v", "w"], "feature.b": [True, True], "prediction": [3.0, 4.0]})
    put(tmp_path, later)
    put(tmp_path, sooner, number=1)
    frame = read(tmp_path)
    assert list(frame.columns) == [*files.FIXED, "feature.t", "feature.b", "prediction"]
    assert frame["prediction"].tolist() == [3.0, 4.0, 1.0, 2.0]
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert frame["feature.b"].dtype == bool
    assert frame["feature.t"].tolist() == ["v", "w", "u", None]
    assert frame.attrs[predictions.SKIPPED] == []


def test_the_start_is_in_the_window_and_the_end_is_not(tmp_path: Path) -> None:
    put(tmp_path, rows(every(10, 6)))  # goes on over midnight
    frame = read(tmp_path, DAY + timedelta(minutes=10), DAY + timedelta(minutes=30))
    assert [at.to_pydatetime() for at in frame["time"]] == every(10, 2, DAY + timedelta(minutes=10))


@given(
    st.lists(st.lists(st.integers(0, 3599), min_size=1, max_size=6), min_size=1, max_size=6),
    st.integers(0, 3600),
    st.integers(0, 3600),
    st.integers(1, 12),
)
def test_of_too_many_rows_the_newest_are_answered(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[int]], one: int, other: int, limit: int
) -> None:
    root = tmp_path_factory.mktemp("log")
    for number, seconds in enumerate(written):
        put(root, rows([DAY + timedelta(seconds=second) for second in seconds]), number=number)
    start, end = (DAY + timedelta(seconds=second) for second in sorted((one, other)))
    inside = sorted(at for seconds in written for second in seconds if start <= (at := DAY + timedelta(seconds=second)) < end)
    frame = read(root, start, end, limit)
    assert [at.to_pydatetime() for at in frame["time"]] == inside[-limit:]


def test_a_window_without_rows_is_an_empty_frame(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "never"):
        frame = read(root)
        assert list(frame.columns) == [*files.FIXED, "prediction"]
        assert len(frame) == 0
        assert str(frame["time"].dtype) == "datetime64[us, UTC]"


def test_what_is_no_parquet_file_is_left_out_and_said(tmp_path: Path) -> None:
    good = put(tmp_path, rows(every(1, 3)))
    torn = good.with_name("235959000000-b-0.parquet")
    torn.write_bytes(good.read_bytes()[:-20])
    parquet.write_table(pa.table({"time": [1]}), good.with_name("235958000000-b-1.parquet"))
    put(tmp_path, rows(every(1, 2), **{"feature.x": ["text", "text"], "prediction": [1.0, 1.0]}), "c")
    frame = read(tmp_path)
    assert len(frame) == 3
    said = frame.attrs[predictions.SKIPPED]
    assert [line.rsplit("/", 1)[-1].split(":")[0] for line in said[:2]] == [torn.name, "235958000000-b-1.parquet"]
    assert "no column request_id" in said[1]
    assert len(said) == 3  # a column of another type


def test_what_is_not_finished_or_not_ours_is_never_opened(tmp_path: Path) -> None:
    good = put(tmp_path, rows(every(1, 3)))
    for name in (f".{good.name}", f"{good.name}.tmp", "notes.parquet", "999999000000-a-0.parquet"):
        good.with_name(name).write_bytes(b"half of it")
    (good.parents[1] / "2026-99-99").mkdir()
    frame = read(tmp_path)
    assert (len(frame), frame.attrs[predictions.SKIPPED]) == (3, [])


def test_an_integer_with_nulls_in_one_file_fits_floats_of_another(tmp_path: Path) -> None:
    put(tmp_path, rows(every(1, 2), **{"feature.x": [1, None], "prediction": [1.0, 1.0]}))
    put(tmp_path, rows(every(1, 2), **{"feature.x": [1.5, 2.5], "prediction": [1.0, 1.0]}), "b")
    frame = read(tmp_path)
    assert sorted(frame["feature.x"].dropna()) == [1.0, 1.5, 2.5]


def test_scores_of_classes_are_arrays(tmp_path: Path) -> None:
    scores = pa.array([[0.1, 0.9], [0.2, 0.8]], pa.list_(pa.float64()))
    put(tmp_path, rows(every(1, 2), prediction=scores))
    assert [list(value) for value in read(tmp_path)["prediction"]] == [[0.1, 0.9], [0.2, 0.8]]


def test_a_url_of_fsspec_is_read_like_a_folder(tmp_path: Path) -> None:
    path = put(tmp_path, rows(every(1, 3)))
    memory = fsspec.filesystem("memory")
    target = f"/log-of-a-test/{path.relative_to(tmp_path)}"
    memory.pipe(target, path.read_bytes())
    try:
        assert read("memory://log-of-a-test")["feature.x"].tolist() == [0, 1, 2]
    finally:
        memory.rm("/log-of-a-test", recursive=True)


def test_bad_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        read("/nowhere", DAY.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not after"):
        read("/nowhere", ALWAYS[1], ALWAYS[0])
    with pytest.raises(ValueError, match="limit"):
        read("/nowhere", limit=0)
    with pytest.raises(predictions.Unavailable, match="nosuch"):
        read("nosuch://bucket")


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a b", "%2E", "ü", "C:\\x"])
def test_any_name_is_one_folder(name: str) -> None:
    model, version = files.folder(name, name).split("/")
    assert model == version
    assert not model.startswith(".")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_are_different_folders(one: str, other: str) -> None:
    if one.isprintable() and other.isprintable():
        assert (files.folder(one, "1") == files.folder(other, "1")) == (one == other)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.integers(0, 10**6))  # noqa: DTZ001 - made aware below
def test_names_are_read_as_they_are_written(at: datetime, number: int) -> None:
    name = files.Name(at.replace(tzinfo=UTC), "f00", number)
    assert files.parse(name.day, name.file) == name
