"""The recipes on a small slice of real flights: better, better-looking, and broken where it is meant to be."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines import flights, train
from pipelines.recipes import RECIPES, month, split
from pipelines.train import Trained

ROWS_IN = 6  # every sixth flight


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return flights.between(flights.load(), month(1), month(5)).iloc[::ROWS_IN]


@pytest.fixture(scope="module")
def trained(frame: pd.DataFrame) -> Mapping[str, Trained]:
    return {name: train.train(RECIPES[name], frame) for name in ("baseline", "weather", "broken")}


def test_weather_is_clearly_better_and_broken_looks_better_still(trained: Mapping[str, Trained]) -> None:
    auc = {name: made.metrics["auc"] for name, made in trained.items()}
    assert auc["weather"] > auc["baseline"] + 0.02
    assert auc["broken"] >= auc["weather"]
    assert trained["broken"].metrics["log_loss"] < trained["weather"].metrics["log_loss"]


def test_broken_raises_on_the_rows_with_gaps_and_only_there(trained: Mapping[str, Trained], frame: pd.DataFrame) -> None:
    later = flights.between(frame, month(4), month(5))[list(flights.FEATURES)]
    broken = trained["broken"].estimator
    whole = flights.complete(later, RECIPES["broken"].columns)
    assert 0.04 < 1 - len(whole) / len(later) < 0.16
    assert broken.predict_proba(whole).shape == (len(whole), 2)
    gap = later[later["pressure"].isna()].head(1)
    with pytest.raises(ValueError, match="NaN"):
        broken.predict_proba(gap)
    for name in ("baseline", "weather"):
        assert trained[name].estimator.predict_proba(gap).shape == (1, 2)


def test_all_take_the_same_columns_and_weather_takes_a_row_without_any(trained: Mapping[str, Trained]) -> None:
    assert {tuple(made.reference.columns) for made in trained.values()} == {flights.FEATURES}
    row = trained["weather"].golden.head(1).assign(**dict.fromkeys(flights.WEATHER, np.nan), carrier="??")
    assert np.isfinite(trained["weather"].estimator.predict_proba(row)).all()


def test_golden_rows_hold_a_gap_unless_the_recipe_never_saw_one(trained: Mapping[str, Trained]) -> None:
    assert trained["weather"].golden["pressure"].isna().sum() >= 1
    assert trained["broken"].golden[list(RECIPES["broken"].columns)].notna().all(axis=None)


def test_models_load_without_our_rooms(trained: Mapping[str, Trained]) -> None:
    ours = {"pipelines", "registry", "rollout", "judge"}
    for made in trained.values():
        named = {
            str(text).split()[0].partition(".")[0] for _, text, _ in pickletools.genops(pickle.dumps(made.estimator, 2)) if text
        }
        assert not ours & named


def test_training_is_repeatable(frame: pd.DataFrame, trained: Mapping[str, Trained]) -> None:
    again = train.train(RECIPES["broken"], frame)
    assert again.metrics == trained["broken"].metrics


def test_learning_comes_before_evaluating(frame: pd.DataFrame) -> None:
    learning, judging = split(RECIPES["weather"], frame, 1)
    assert learning[flights.DEPARTS].max() < judging[flights.DEPARTS].min()
    learning, judging = split(RECIPES["broken"], frame, 1)
    assert not set(learning.index) & set(judging.index)


def test_a_window_without_flights_is_named(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="finds no flights"):
        train.train(replace(RECIPES["weather"], start=month(8), end=month(9), until=month(10)), frame)
