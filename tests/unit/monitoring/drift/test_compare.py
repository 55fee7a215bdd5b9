"""Model or traffic? A shift on both sides is the traffic, on one side the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from monitoring.drift import calibration, compare, verdict
from monitoring.drift.compare import Side
from monitoring.drift.reference import Ints, Reference

from .conftest import World, predicted, rows_of

ROWS = 3000


def side(world: World, rows: Any, answers: Any = None) -> tuple[Reference, Ints, verdict.Verdict]:
    counts = world.counts(rows, answers)
    calibrated = calibration.calibrate(world.known, verdict.rows_of(world.known, counts), seed=1)
    return world.known, counts, verdict.judge(world.known, counts, calibrated, least=10)


def halves(world: World, rows: dict[str, Any], change: float = 0.0) -> compare.Comparison:
    """Every other row to each side, as a split does; the challenger answers by so much more."""
    own, other = ({name: values[start::2] for name, values in rows.items()} for start in (0, 1))
    return compare.compare(side(world, own), side(world, other, np.clip(predicted(other) + change, 0, 1)))


def test_neither(world: World) -> None:
    assert halves(world, rows_of(2 * ROWS, seed=20)).side is Side.NEITHER


def test_traffic(world: World) -> None:
    rows = rows_of(2 * ROWS, seed=21)
    rows["noise"] += 2
    found = halves(world, rows)
    assert (found.side, found.sentence) == (Side.TRAFFIC, "Traffic: noise moved on both sides alike.")


def test_model(world: World) -> None:
    found = halves(world, rows_of(2 * ROWS, seed=22), 0.2)
    assert found.side is Side.MODEL
    assert "they answer the same traffic differently" in found.sentence
    assert found.apart is not None
    assert found.apart > 0.1


def test_both(world: World) -> None:
    rows = rows_of(2 * ROWS, seed=23)
    rows["noise"] += 2
    assert halves(world, rows, 0.2).side is Side.BOTH


def test_few_rows_tell_nothing(world: World) -> None:
    enough = side(world, rows_of(ROWS, seed=24))
    few = world.known, np.zeros(world.known.size, dtype=np.int64), verdict.Verdict(verdict.Label.NOT_ENOUGH_DATA, "", 0)
    assert compare.compare(enough, few).side is Side.UNKNOWN
