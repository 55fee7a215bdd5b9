"""What one screen says, it says once."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from cli.render import explain, listing
from cli.render import rollout as pictures
from cli.render.rollout import Paper
from cli.render.sentences import unsaid
from controlplane.api import views
from rollout import model

WORSE = "Version 4 fails 9.8 % of its requests (41 of 418), version 3 1.1 % (90 of 8 120)."


def text(picture: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(picture)
    return " ".join(captured.get().split())


@pytest.mark.parametrize(
    ("sentence", "said", "left"),
    [
        (f"Taking version 4 off the traffic. {WORSE}", [WORSE], "Taking version 4 off the traffic."),
        (f"Champion on probation: {WORSE}", [WORSE], "Champion on probation."),
        (WORSE, [WORSE], ""),
        (WORSE, [], WORSE),
        ("paused by ann", ["ann"], "paused by ann"),
        ("two  spaces stay", ["something else entirely"], "two  spaces stay"),
    ],
)
def test_unsaid(sentence: str, said: list[str], left: str) -> None:
    assert unsaid(sentence, said) == left


def test_a_message_that_ends_in_the_finding_is_cut_where_the_finding_is_drawn(show: Callable[..., Any], now: datetime) -> None:
    finding = show()["verdict"]["findings"][0]["sentence"]
    probation = show(phase=model.Phase.PROBATION, message=f"Champion on probation: {finding}")
    said = text(pictures.tree(probation, now, Paper(80)), 200)
    assert said.count(finding) == 1
    assert "Champion on probation." in said


def test_a_history_tells_a_reason_once(now: datetime) -> None:
    def event(seq: int, kind: str, sentence: str) -> dict[str, Any]:
        return {"seq": seq, "rollout_id": "r", "at": now.isoformat(), "actor": "slipway", "kind": kind, "sentence": sentence}

    found = [event(1, "verdict", WORSE), event(2, "phase", f"Off the traffic. {WORSE}"), event(3, "verdict", WORSE)]
    said = text(listing.events(found, now, Paper(80)), 200)
    assert said.count(WORSE) == 2, "the same fact at another time is a fact"
    assert "phase Off the traffic." in said


def test_an_explanation_says_everything_once(show: Callable[..., Any], now: datetime) -> None:
    shown = show()
    spec = model.Spec("flight-delay", 4, 3)
    rollout = model.Rollout("r-1", now, spec, model.Requests(), model.Status(model.Phase.PROGRESSING, now))
    answer = {**views.explanation(rollout).model_dump(mode="json"), "verdict": shown["verdict"]}
    finding = shown["verdict"]["findings"][0]["sentence"]
    answer["sentences"] = [
        "Canary of flight-delay version 4 against champion 3.",
        "Step 3 of 5 at 20 %: 198 of at least 200 challenger requests judged.",
        f"error_rate: insufficient. {finding}",
        "Step 3 of 5, 20 % to version 4: 198 of 200 requests seen.",
    ]
    said = text(explain.picture(answer, now, Paper(80)), 200)
    assert said.count(finding) == 1
    assert said.count("Step 3 of 5") == 1
    assert "It fails 0.8 to 4.4 times as often as the champion, with 95 % confidence; likeliest 1.9." in said


def test_each_guard_is_compared_in_what_it_looks_at(show: Callable[..., Any], now: datetime) -> None:
    rollout = model.Rollout("r-1", now, model.Spec("m", 4, 3), model.Requests(), model.Status(model.Phase.PROGRESSING, now))
    answer = {**views.explanation(rollout).model_dump(mode="json"), "verdict": show()["verdict"]}
    effect = {"ratio": 0.7, "low": 0.6, "high": 0.8, "of": "share_above_0.23"}
    answer["verdict"]["findings"][0] |= {"guard": "prediction_shift", "effect": effect}
    said = text(explain.picture(answer, now, Paper(80)), 200)
    assert "Its share above 0.23 is 0.6 to 0.8 times the champion's, with 95 % confidence; likeliest 0.7." in said
