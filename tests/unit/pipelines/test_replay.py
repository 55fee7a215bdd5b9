"""When requests are due and what they carry."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from pipelines import flights, replay


def frame(rows: int) -> pd.DataFrame:
    made = {name: np.arange(rows) for name in flights.SCHEDULE} | {name: np.full(rows, 1.5) for name in flights.WEATHER}
    made |= {name: np.array([f"{name}{row}" for row in range(rows)], dtype=object) for name in flights.PLACES}
    found = pd.DataFrame(made)
    found.loc[::2, "pressure"] = np.nan
    return found


def test_bodies_are_single_rows_in_order_and_begin_again() -> None:
    rows = replay.CHUNK + 3
    sent = [json.loads(body)["dataframe_split"] for body in itertools.islice(replay.bodies(frame(rows)), rows + 1)]
    assert [entry["data"][0][0] for entry in sent] == [*(f"carrier{row}" for row in range(rows)), "carrier0"]
    assert {tuple(entry["columns"]) for entry in sent} == {flights.FEATURES}
    pressure = flights.FEATURES.index("pressure")
    assert [entry["data"][0][pressure] for entry in sent[:2]] == [None, 1.5]
    assert isinstance(sent[1]["data"][0][flights.FEATURES.index("distance")], int)


def test_no_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="no flights"):
        next(replay.bodies(frame(0)))


def test_due_times_have_the_rate_and_are_repeatable() -> None:
    plan = replay.Plan("http://x", rate=100, count=5000)
    times = list(replay.due_times(plan))
    assert times == list(replay.due_times(plan))
    assert times == sorted(times)
    assert len(times) == 5000
    assert times[-1] == pytest.approx(50, rel=0.1)
    even = list(replay.due_times(replay.Plan("http://x", rate=4, poisson=False, duration_s=1)))
    assert even == [0.0, 0.25, 0.5, 0.75]


def test_plans_are_checked() -> None:
    with pytest.raises(ValueError, match="rate"):
        replay.Plan("http://x", rate=0)
    with pytest.raises(ValueError, match="max_in_flight"):
        replay.Plan("http://x", rate=1, max_in_flight=0)
