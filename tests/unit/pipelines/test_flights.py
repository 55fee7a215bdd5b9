"""The data: joined on the right hour, gaps kept, cancelled flights out, always in the same order."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import flights


def flight(**changes: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "year": 2013,
        "month": 1,
        "day": 1,
        "sched_dep_time": 1345,
        "sched_arr_time": 1602,
        "arr_delay": 3.0,
        "carrier": "UA",
        "flight": 7,
        "origin": "EWR",
        "dest": "IAH",
        "distance": 1400,
        "time_hour": "2013-01-01T18:00:00Z",
    }
    return {**usual, **changes}


def weather(**changes: object) -> dict[str, object]:
    return {"origin": "EWR", "time_hour": "2013-01-01T18:00:00Z", **dict.fromkeys(flights.WEATHER, 1.0), **changes}


def prepared(flown: list[dict[str, object]], measured: list[dict[str, object]]) -> pd.DataFrame:
    return flights.prepare(pd.DataFrame(flown), pd.DataFrame(measured))


def test_a_flight_gets_the_weather_of_its_origin_at_its_scheduled_hour() -> None:
    frame = prepared(
        [flight()],
        [
            weather(temp=40.0, pressure=np.nan),
            weather(origin="JFK", temp=41.0),
            weather(time_hour="2013-01-01T19:00:00Z", temp=42.0),
        ],
    )
    row = frame.iloc[0]
    assert row["temp"] == 40.0
    assert np.isnan(row["pressure"])
    assert row[flights.DEPARTS] == pd.Timestamp("2013-01-01T18:45:00Z")
    assert (row["minute_of_day"], row["arrival_minute"], row["day_of_week"]) == (13 * 60 + 45, 16 * 60 + 2, 1)


def test_an_hour_without_weather_stays_empty() -> None:
    frame = prepared([flight()], [weather(time_hour="2013-01-01T17:00:00Z")])
    assert frame[list(flights.WEATHER)].isna().all(axis=None)
    assert {str(frame[name].dtype) for name in flights.WEATHER} == {"float64"}


def test_late_means_more_than_fifteen_minutes_and_cancelled_flights_are_out() -> None:
    frame = prepared([flight(arr_delay=delay) for delay in (15.0, 16.0, np.nan)], [weather()])
    assert frame[flights.LATE].tolist() == [0, 1]


def test_the_order_is_by_time_and_does_not_depend_on_the_order_read() -> None:
    flown = [flight(flight=number, sched_dep_time=1300 + number % 3, carrier="AB"[number % 2]) for number in range(20)]
    there, back = prepared(flown, [weather()]), prepared(flown[::-1], [weather()])
    assert there[flights.DEPARTS].is_monotonic_increasing
    pd.testing.assert_frame_equal(there, back)


def test_windows_and_complete_rows() -> None:
    frame = prepared(
        [flight(), flight(time_hour="2013-01-01T19:00:00Z")],
        [weather(), weather(time_hour="2013-01-01T19:00:00Z", temp=np.nan)],
    )
    end = datetime(2013, 1, 1, 19, tzinfo=UTC)
    assert len(flights.between(frame, datetime(2013, 1, 1, tzinfo=UTC), end)) == 1
    assert len(flights.complete(frame, ("temp",))) == 1


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    cache = tmp_path_factory.mktemp("data")
    return cache, flights.load(cache)


def test_the_real_flights_of_2013(real: tuple[Path, pd.DataFrame]) -> None:
    _, frame = real
    assert len(frame) == 327_346
    assert frame[list(flights.PLACES + flights.SCHEDULE)].notna().all(axis=None)
    assert frame[flights.LATE].mean() == pytest.approx(0.237, abs=0.001)
    assert frame["pressure"].isna().mean() == pytest.approx(0.111, abs=0.002)


def test_the_prepared_table_is_kept_and_the_same(real: tuple[Path, pd.DataFrame]) -> None:
    cache, frame = real
    assert [file.name for file in cache.iterdir()] == [flights.CACHE]
    pd.testing.assert_frame_equal(flights.load(cache), frame)
