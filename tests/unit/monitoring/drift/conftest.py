"""A made-up model with features of every kind, whose rows hang together in time, and counts of any live rows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from monitoring.drift import reference
from registry import profile

Table = Mapping[str, np.ndarray[Any, Any]]
PLACES = np.array(["JFK", "LGA", "EWR", "BOS"], dtype=object)


@dataclass(frozen=True)
class World:
    """`made` is what the registry wrote, `known` what monitoring read."""

    made: profile.Profile
    known: reference.Reference

    def counts(self, rows: Table, answers: np.ndarray[Any, Any] | None = None) -> reference.Ints:
        """As a bento counts: a column that does not come is null."""
        given = predicted(rows) if answers is None else answers
        total = np.zeros(self.known.size, dtype=np.int64)
        for column, start in zip((*self.made.features, self.made.predictions), self.known.starts, strict=True):
            values = given if column is self.made.predictions else rows.get(column.name, np.full(len(given), np.nan))
            counted = np.bincount(column.places(values))
            total[start : start + len(counted)] += counted
        return total


def rows_of(many: int, *, seed: int, hang: float = 0.9) -> dict[str, np.ndarray[Any, Any]]:
    """`hang`: correlation from one row to the next."""
    chance = np.random.default_rng(seed)
    noise = chance.normal(size=(many, 3))
    drawn = np.empty((many, 3))
    last = noise[0]
    for row in range(many):
        last = hang * last + np.sqrt(1 - hang * hang) * noise[row]
        drawn[row] = last
    return {
        "temp": 10 + 5 * drawn[:, 0],
        "wind": np.where(chance.random(many) < 0.02, np.nan, np.exp(drawn[:, 1] / 2)),
        "origin": PLACES[np.clip((drawn[:, 2] + 2).astype(int), 0, 3)],
        "hour": np.arange(many) // 40 % 24,
        "noise": chance.normal(size=many),
    }


def predicted(rows: Table) -> np.ndarray[Any, Any]:
    wind = np.nan_to_num(np.asarray(rows.get("wind", np.zeros(1)), dtype=float), nan=1.0)
    temp = np.nan_to_num(np.asarray(rows.get("temp", np.zeros(1)), dtype=float), nan=10.0)
    return np.asarray(1 / (1 + np.exp(-(temp - 10) / 5 - (wind - 1))))


@pytest.fixture(scope="session")
def world() -> World:
    rows = rows_of(20_000, seed=0)
    importance = {"temp": 0.6, "wind": 0.3, "origin": 0.05, "hour": 0.05, "noise": 0.0}
    made = profile.build(rows, predicted(rows), importance=importance, clocks=["hour"])
    return World(made, reference.read(json.dumps(made.to_json()).encode()))
