"""What is watched in the drift benchmark: a reference in time order, what came after it, and what a model answered to both.

Every tool gets the same `Case`. Clocks (columns that follow the day and the week) are named, and kept from tools that cannot be told of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import flights, recipes, train
from registry import importance, profile

PREDICTION = "prediction"
DATA = Path(".slipway/data")
RECIPE = "weather"
CENSUS_LEFT_OUT = ("id", "timestamp", "year", "employed", "prediction", "predicted_probability")


@dataclass(frozen=True)
class Case:
    """reference, live: features. answers: the model's to them, as it gives them. importance: of the features; none: all alike."""

    name: str
    reference: pd.DataFrame
    live: pd.DataFrame
    reference_answers: NDArray[Any]
    live_answers: NDArray[Any]
    clocks: tuple[str, ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Reference and live as others take them: one row per prediction, the prediction a column like the rest, no clocks."""
        sides = ((self.reference, self.reference_answers), (self.live, self.live_answers))
        taken = [
            side.drop(columns=list(self.clocks)).assign(**{PREDICTION: profile.predictions(answers)[1]}).reset_index(drop=True)
            for side, answers in sides
        ]
        return taken[0], taken[1]

    def with_live(self, name: str, live: pd.DataFrame, answers: NDArray[Any]) -> Case:
        return replace(self, name=name, live=live.reset_index(drop=True), live_answers=answers)


@dataclass(frozen=True)
class Flights:
    """The demo's model on 2013: `rows` of the whole year with answers (and what became of the flights), the estimator, the case."""

    rows: pd.DataFrame
    answers: NDArray[np.float64]
    estimator: Any
    case: Case


def flight_delays() -> Flights:
    """Trained on January to March, live from April on."""
    frame = flights.load(DATA)
    trained = train.train(recipes.RECIPES[RECIPE], frame)
    features = list(flights.FEATURES)
    answers = np.asarray(trained.estimator.predict_proba(frame[features]))
    start = (frame[flights.DEPARTS] >= recipes.month(4)).to_numpy()
    weights = importance.permuted(trained.estimator.predict_proba, trained.reference)
    known = (frame[flights.DEPARTS] < recipes.month(4)).to_numpy()
    case = Case(
        "flights",
        frame.loc[known, features],
        frame.loc[start, features].reset_index(drop=True),
        answers[known],
        answers[start],
        flights.CLOCK,
        weights,
    )
    return Flights(frame, answers, trained.estimator, case)


def census(folder: Path, seed: int) -> Case:
    """NannyML's: who was employed in Massachusetts, 2015 and the three years after.

    Rows of a year are shuffled: their order in the file is no time, and since 2017 the file has those who live in institutions last."""
    reference, live = (pd.read_parquet(folder / f"employment_MA_{part}.pq") for part in ("reference", "analysis"))
    parts = [rows.sample(frac=1.0, random_state=seed) for frame in (reference, live) for _, rows in frame.groupby("year")]
    features = [name for name in reference.columns if name not in CENSUS_LEFT_OUT]
    texts = [name for name in features if name != "AGEP"]
    known, later = parts[0], pd.concat(parts[1:])
    sides = [side[features].astype(dict.fromkeys(texts, str)).astype(dict.fromkeys(texts, object)) for side in (known, later)]
    answers = [side["predicted_probability"].to_numpy() for side in (known, later)]
    return Case("census", sides[0], sides[1].reset_index(drop=True), answers[0], answers[1])


def shuffled_in_time(case: Case, rows: int, seed: int) -> Case:
    """Drift-free and real: reference and live drawn anew from the days of both, whole blocks of `rows` in any order."""
    both = pd.concat([case.reference, case.live], ignore_index=True)
    answers = np.concatenate([case.reference_answers, case.live_answers])
    starts = np.arange(0, len(both) - rows + 1, rows)
    order = np.random.default_rng([seed, 3]).permutation(starts)
    places = (order[:, None] + np.arange(rows)).ravel()
    cut = len(case.reference) // rows * rows
    known, later = places[:cut], places[cut:]
    return replace(
        case,
        name=f"{case.name}, days shuffled",
        reference=both.iloc[known].reset_index(drop=True),
        live=both.iloc[later].reset_index(drop=True),
        reference_answers=answers[known],
        live_answers=answers[later],
    )


def made_up(hang: float, rows: int, known: int, seed: int) -> Case:
    """Drift-free rows that hang together: each of eight features is a stationary autoregression with this correlation from row to row,
    seen through another shape; one is the hour, one a category of ten."""
    chance = np.random.default_rng([seed, 4])
    drawn = _autoregression(chance, rows, 6, hang)
    table = pd.DataFrame(
        {
            "normal": drawn[:, 0],
            "skewed": np.exp(drawn[:, 1]),
            "whole": np.round(3.0 * np.abs(drawn[:, 2])),
            "gaps": np.where(chance.random(rows) < 0.05, np.nan, drawn[:, 3]),
            "two": (drawn[:, 4] > 0.8).astype(float),
            "category": np.array([f"c{n}" for n in range(10)], dtype=object)[np.clip((drawn[:, 5] * 2 + 5).astype(int), 0, 9)],
            "free": chance.normal(size=rows),
            "hour": np.arange(rows) // 50 % 24,
        }
    )
    answers = 1.0 / (1.0 + np.exp(-(drawn[:, 0] + 0.5 * drawn[:, 1] + 0.3 * table["free"].to_numpy())))
    name = f"made up, correlation {hang:g} from row to row"
    later = table.iloc[known:].reset_index(drop=True)
    return Case(name, table.iloc[:known], later, answers[:known], answers[known:], ("hour",))


def _autoregression(chance: np.random.Generator, rows: int, columns: int, hang: float) -> NDArray[np.float64]:
    noise = chance.normal(size=(rows, columns))
    if hang == 0.0:
        return noise
    from scipy.signal import lfilter

    start = noise[:1] * hang
    drawn, _ = lfilter([np.sqrt(1.0 - hang * hang)], [1.0, -hang], noise, axis=0, zi=start)
    return np.asarray(drawn)
