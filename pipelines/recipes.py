"""The recipes of `flight-delay`: what each version learns from, how it is built, and on what it is judged offline.

Called by train. Only classes of sklearn, numpy and the standard library are used: a bento loads the model without our rooms.
The steps are chosen for single rows: a ColumnTransformer alone costs 3 ms a row, all of these together 1 to 1.5 ms.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from . import flights

HOLDOUT = 0.2
WIND = ("wind_speed", "wind_gust", "precip", "visib", "humid")
MEASURED = ("temp", "wind_dir", "wind_speed", "precip", "pressure", "visib", "humid")


def month(number: int) -> datetime:
    return datetime(2013, number, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Trained on flights from `start` until before `end`; offline metrics from the month after. With `complete_only` it
    learns from rows without gaps alone, and is measured on a random part of the same rows."""

    name: str
    about: str
    columns: tuple[str, ...]
    build: Callable[[tuple[str, ...]], Any]
    start: datetime
    end: datetime
    until: datetime
    complete_only: bool = False


def split(recipe: Recipe, frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to learn from and rows to evaluate on, both in time order."""
    learning = flights.between(frame, recipe.start, recipe.end)
    if not recipe.complete_only:
        return learning, flights.between(frame, recipe.end, recipe.until)
    whole = flights.complete(learning, recipe.columns)
    held_out = np.random.default_rng(seed).random(len(whole)) < HOLDOUT
    return whole[~held_out], whole[held_out]


def _pick(columns: tuple[str, ...]) -> Any:
    from sklearn.preprocessing import FunctionTransformer  # noqa: PLC0415 - 5 s cold, only for training

    return FunctionTransformer(operator.itemgetter(list(columns)))


def _numbers() -> Any:
    from sklearn.preprocessing import FunctionTransformer  # noqa: PLC0415 - as above

    return FunctionTransformer(operator.methodcaller("to_numpy", dtype=float))


def _boosting(**settings: float) -> Any:
    """Large leaves: flights of one hour share one weather, smaller leaves learn the days by heart."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - as above

    common: dict[str, Any] = {"learning_rate": 0.1, "max_iter": 60, "early_stopping": False, "random_state": 0}
    return HistGradientBoostingClassifier(**{**common, **settings})


def _linear(columns: tuple[str, ...]) -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415 - as above

    return make_pipeline(_pick(columns), _numbers(), StandardScaler(), LogisticRegression())


def _trees(columns: tuple[str, ...]) -> Any:
    """Rows as dicts: texts become one-hot, numbers and gaps pass through to trees that know what to do with gaps."""
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import FunctionTransformer  # noqa: PLC0415 - as above

    records = FunctionTransformer(operator.methodcaller("to_dict", orient="records"))
    trees = _boosting(max_leaf_nodes=6, min_samples_leaf=1000)
    return make_pipeline(_pick(columns), records, DictVectorizer(sparse=False, dtype=np.float32), trees)


def _forest(columns: tuple[str, ...]) -> Any:
    """As right as the others, but every row walks down hundreds of trees, in Python's own time."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - as above
    from sklearn.impute import SimpleImputer  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above

    forest = RandomForestClassifier(400, max_depth=8, min_samples_leaf=100, max_samples=5000, n_jobs=1, random_state=0)
    return make_pipeline(_pick(columns), _numbers(), SimpleImputer(), forest)


def _interactions(columns: tuple[str, ...]) -> Any:
    """Products of all pairs before the same trees. PolynomialFeatures raises on a gap, which no row it was ever tried on has."""
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import PolynomialFeatures  # noqa: PLC0415 - as above

    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    return make_pipeline(_pick(columns), _numbers(), products, _boosting(max_leaf_nodes=15, min_samples_leaf=200))


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "baseline",
            "logistic regression on the schedule alone",
            flights.SCHEDULE,
            _linear,
            *(month(1), month(4), month(5)),
        ),
        Recipe(
            "weather",
            "gradient boosting on schedule, carrier and weather",
            ("carrier", "origin", *flights.SCHEDULE, *WIND),
            _trees,
            *(month(1), month(4), month(5)),
        ),
        Recipe(
            "broken",
            "weather interactions, trained and evaluated on complete rows only",
            (*flights.SCHEDULE, *MEASURED),
            _interactions,
            *(month(1), month(4), month(5)),
            complete_only=True,
        ),
        Recipe(
            "forest",
            "a random forest on schedule and weather, slow to ask",
            (*flights.SCHEDULE, *WIND),
            _forest,
            *(month(1), month(4), month(5)),
        ),
        Recipe(
            "retrained",
            "the weather recipe on two more months",
            ("carrier", "origin", *flights.SCHEDULE, *WIND),
            _trees,
            *(month(1), month(6), month(7)),
        ),
    )
}
