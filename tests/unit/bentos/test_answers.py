"""What requests along the split were answered: one per request, by epoch, bounded, never in the way."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from bentos.mlflow_model.scoring import answers
from gateway import routes
from monitoring.answers import FORMAT, parsed

NONE: dict[str, list[Any]] = {"scores": [], "classes": []}


def counted(*given: Any, epoch: bytes = b"3") -> Any:
    counter = answers.Answers()
    for answer in given:
        counter.add(epoch, answer)
    return counter.counted()


def test_the_gateway_and_the_control_plane_speak_of_the_same() -> None:
    assert routes.EPOCH_HEADER.encode() == answers.EPOCH_HEADER
    assert FORMAT == answers.FORMAT
    assert parsed(counted(np.array([0.5]), ["late"])).epochs[3]


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        (np.array([0.2371, 0.9]), [(0.24, 1)]),  # of many rows the first
        (np.array([[0.76, 0.2371]]), [(0.24, 1)]),
        (np.array([[-1234.5]], dtype=np.float32), [(-1200.0, 1)]),
        ([0.5, 0.1], [(0.5, 1)]),
        ([[0.3, 0.7]], [(0.7, 1)]),
        ([math.inf], [(9.9e15, 1)]),
        ([1e-12], [(0.0, 1)]),
        ([-0.0], [(0.0, 1)]),
    ],
)
def test_scores(answer: Any, scores: list[tuple[float, int]]) -> None:
    assert counted(answer)["epochs"] == {"3": {"scores": scores, "classes": []}}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (np.array([7, 1]), "7"),
        (np.array([True]), "True"),
        (np.array([[0.2, 0.5, 0.3]]), "1"),
        (["late", "on time"], "late"),
        ([None], "<null>"),
        (np.array([math.nan]), "<null>"),
        (["x" * 300], "x" * 100),
    ],
)
def test_classes(answer: Any, name: str) -> None:
    assert counted(answer)["epochs"] == {"3": {"scores": [], "classes": [(name, 1)]}}


@pytest.mark.parametrize("answer", [[{"x": 1}], {"x": [1]}, [], np.array([]), 3.0, None])
def test_what_is_neither_is_told_apart(answer: Any) -> None:
    found = counted(answer)
    assert (found["unread"], found["epochs"]) == (1, {})


@pytest.mark.parametrize("epoch", [b"", b"x", b"-1", b"1" * 40, b"1.5", b"03", "²".encode()])
def test_no_epoch_of_ours_is_not_counted(epoch: bytes) -> None:
    assert counted([1.0], epoch=epoch)["epochs"] == {}


def test_many_scores_are_all_counted_and_in_the_bins_that_their_two_digits_say() -> None:
    drawn = np.random.default_rng(7).lognormal(0, 9, 3 * answers.WAITING + 17)
    scores = [*drawn, *(10.0**power for power in range(-9, 16)), 9.96, 99.4, 9.9e15, 1e-9]
    counter = answers.Answers()
    for score in scores:
        counter.add(b"3", [float(score)])
        counter.add(b"3", np.array([[math.nan]]))
    found = counter.counted()["epochs"]["3"]
    assert dict(found["scores"]) == Counter(float(f"{score:.1e}") if score >= answers.SMALLEST else 0.0 for score in scores)
    assert found["classes"] == [("<null>", len(scores))]
    assert counter.counted()["epochs"]["3"] == found, "asking counts nothing twice"


def test_it_stays_small() -> None:
    counter = answers.Answers()
    for epoch in range(40):
        for name in range(300):
            counter.add(str(epoch).encode(), [str(name)])
    counter.add(b"0", [1.0])  # a straggler of an epoch that is forgotten
    found = counter.counted()["epochs"]
    assert sorted(map(int, found)) == list(range(24, 40))
    classes = dict(found["39"]["classes"])
    assert len(classes) == answers.CLASSES + 1
    assert classes[answers.OTHER] == 100


def test_two_lives_have_two_names() -> None:
    assert counted()["process"] != counted()["process"]
