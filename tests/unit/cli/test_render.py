"""JSON in, text out: nothing that matters may be lost on a narrow terminal, without colour or without Unicode."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console, RenderableType

from cli.render import listing, plan, strokes, watch
from cli.render import models as model_pictures
from cli.render import rollout as pictures
from cli.render.rollout import Paper
from judge import policy
from rollout import model, preview

Show = Callable[..., Any]

OBSERVED = {
    "window_s": 10.0,
    "requests_per_s": 120.0,
    "reason": None,
    "versions": [
        {"version": 3, "requests": 960, "errors": 5, "share_pct": 80.2},
        {"version": 4, "requests": 200, "errors": 20, "share_pct": 19.8},
    ],
}


def text(picture: RenderableType, width: int = 110) -> str:
    console = Console(width=width, color_system=None, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(picture)
    return captured.get()


def test_a_rollout_shows_where_it_is_and_on_what_evidence(show: Show, now: datetime) -> None:
    said = text(pictures.tree(show(), now, Paper(110)))
    assert "● progressing  flight-delay v3 → v4  canary, step 3 of 5 · 20 % · for 18 min" in said
    assert "by anna: trained on spring data" in said
    assert "v3 champion    80 %" in said
    assert "318 judged, 0.9 % errors" in said
    assert "◌ error rate insufficient" in said
    assert "evidence to roll back ████████░░░░░░░░░░░░ 0.84 of 2.00" in said
    assert "-0.20 of 1.30" in said


def test_holds_and_requests_are_told_once_each(show: Show, now: datetime) -> None:
    asked = model.Intent("anna", now - timedelta(seconds=40), "lunch")
    hold = model.Hold(model.HoldReason.PAUSED, now - timedelta(seconds=39), "anna asked to pause: lunch")
    said = text(pictures.tree(show(requests=model.Requests(pause=asked), holds=(hold,)), now, Paper(110)))
    assert "held: paused, 39 s ago: anna asked to pause: lunch" in said
    assert "pause asked by" not in said
    aborting = text(pictures.tree(show(requests=model.Requests(abort=asked)), now, Paper(110)))
    assert "abort asked by anna, 40 s ago: lunch" in aborting


def test_an_ended_rollout_shows_when_and_why(show: Show, now: datetime) -> None:
    ended = show(
        phase=model.Phase.ROLLED_BACK, reason="Version 4 fails more often than tolerated.", ended_at=now - timedelta(minutes=2)
    )
    said = text(pictures.tree(ended, now, Paper(110)))
    assert "✖ rolled back" in said
    assert "2 min ago, after 16 min" in said
    assert "Version 4 fails more often than tolerated." in said


def test_a_first_ship_has_one_side(show: Show, now: datetime) -> None:
    said = text(pictures.tree(show(spec={"champion": None}, verdict=None), now, Paper(110)))
    assert "flight-delay first ship → v4" in said
    assert "champion " not in said


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_that_matters_is_cut_off(show: Show, now: datetime, width: int) -> None:
    scene = watch.Scene(show())
    scene.saw_traffic(OBSERVED)
    for paper in (Paper(width), Paper(width, ascii_only=True)):
        drawn = text(watch.picture(scene, now, paper), width)
        assert max(len(line) for line in drawn.splitlines()) <= width
        squeezed = "".join(drawn.replace("│", "").split())
        for needed in ("progressing", "step3of5", "80%", "20%", "318judged", "0.84of2.00", "340morerequestswilltell"):
            assert needed in squeezed


def test_without_unicode_our_own_marks_are_ascii(show: Show, now: datetime) -> None:
    scene = watch.Scene(show())
    scene.saw_traffic(OBSERVED)
    paper = Paper(110, ascii_only=True)
    assert text(pictures.header(show(), now, paper)).isascii()
    assert strokes.spark([0.0, 0.1, None, 1.0], 5, 1.0, ascii_only=True).isascii()
    assert strokes.bar(0.5, 10, ascii_only=True) == "#####....."


def test_a_line_tells_the_whole_state(show: Show) -> None:
    assert pictures.line(show()) == (
        "flight-delay v4; progressing; step 3 of 5 (20 %); split v3=80% v4=20%; verdict insufficient; "
        "Step 3 of 5: 198 of 200 requests judged."
    )


def test_bars_never_round_to_nothing_or_everything() -> None:
    assert strokes.bar(0.001, 10, ascii_only=True) == "#........."
    assert strokes.bar(0.999, 10, ascii_only=True) == "#########."
    assert strokes.bar(0.0, 4, ascii_only=True) == "...."
    assert strokes.bar(7.0, 4, ascii_only=True) == "####"
    assert strokes.bar(-3.0, 4, ascii_only=True) == "...."


def test_sparklines_share_a_scale_and_show_gaps() -> None:
    assert strokes.spark([0.0, 0.5, 1.0, None], 6, 1.0, ascii_only=False) == "  ▁▅█ "
    assert strokes.spark([0.01], 1, 1.0, ascii_only=False) == "▂", "more than nothing is seen"


@pytest.mark.parametrize(("share", "said"), [(0, "0 %"), (0.0004, "0.04 %"), (0.013, "1.3 %"), (0.47, "47 %"), (1, "100 %")])
def test_percentages_have_the_digits_that_tell_something(share: float, said: str) -> None:
    assert strokes.percent(share) == said


class TestScene:
    def test_repeats_and_old_news_are_dropped(self, show: Show) -> None:
        scene = watch.Scene(show())
        event = {"seq": 5, "rollout_id": "r", "model": "m", "at": "2026-03-01T12:00:00Z", "kind": "step", "sentence": "x"}
        assert scene.saw("event", event)
        assert not scene.saw("event", event)
        assert not scene.saw("state", {**show(), "revision": 6})
        assert scene.saw("state", {**show(), "revision": 8})

    def test_a_lost_connection_is_shown_until_something_arrives(self, show: Show, now: datetime) -> None:
        scene = watch.Scene(show())
        scene.lost("cannot be reached", 1.0)
        scene.lost("cannot be reached", 2.0)
        assert scene.away_since == 1.0
        assert "connection lost, trying again: cannot be reached" in text(watch.picture(scene, now, Paper(110)))
        assert not scene.over, "the rollout goes on without us"
        scene.saw("state", show())
        assert "connection lost" not in text(watch.picture(scene, now, Paper(110)))

    def test_it_is_over_when_everything_was_told(self, show: Show) -> None:
        scene = watch.Scene(show())
        scene.saw("end", {"outcome": "promoted"})
        assert scene.over

    def test_a_version_without_requests_leaves_a_gap(self, show: Show) -> None:
        scene = watch.Scene(show())
        scene.saw_traffic({**OBSERVED, "versions": OBSERVED["versions"][:1]})  # type: ignore[index]  # a plain dict in a test
        assert list(scene.error_rates[4]) == [None]
        assert list(scene.error_rates[3]) == [5 / 960]


def test_a_plan_shows_steps_total_and_refusal() -> None:
    spec = model.Spec("flight-delay", 4, 3, policy=policy.Policy())
    found = preview.preview(spec, requests_per_s=0.5, error_rate=0.01)
    as_json = {
        "steps": [
            {
                "index": step.index,
                "weight_pct": step.weight_pct,
                "requests": step.requests,
                "minutes": step.minutes,
                "why": step.why,
            }
            for step in found.steps
        ],
        "total_requests": found.total_requests,
        "total_minutes": found.total_minutes,
        "refusal": found.refusal,
        "sentences": found.sentences,
        "open_rollout": "r1",
    }
    said = text(plan.picture(as_json, Paper(110)))
    assert "STEP" in said
    assert "It cannot finish as it stands: Step 1 (1 %) needs about" in said
    assert "rollout r1 is still open" in said


def test_a_model_shows_the_split_wanted_confirmed_and_counted(now: datetime) -> None:
    line = {"model": "m[1]", "champion": 3, "previous": 2, "open_rollout": None, "registered": True, "split": None}
    detail = {
        **line,
        "deployments": [{"version": 3, "state": "degraded", "wanted": 2, "endpoints": ["a"], "reason": "one is down"}],
        "runtime": None,
    }
    version = {
        "version": 3,
        "created_at": (now - timedelta(days=2)).isoformat(),
        "has_signature": False,
        "aliases": ["champion"],
        "description": "",
    }
    acked = {
        "state": "refused",
        "weights": None,
        "epoch": None,
        "nodes": [{"id": "local", "ack": "refused", "detail": "no such cluster"}],
    }
    live = {"desired": [{"version": 3, "weight_pct": 100}], "acked": acked, "observed": OBSERVED}
    said = text(model_pictures.one(detail, [version], live, now, Paper(110)))
    for needed in (
        "m[1]  champion v3, before it v2",
        "split v3=100% refused; confirmed last: nothing",
        "local: no such cluster",
        "120 requests/s in the last 10 s · v3 got 80 % with 0.5 % errors",
        "2 d ago",
        "1/2 degraded",
        "no signature: it cannot be rolled out; one is down",
    ):
        assert needed in said


def test_empty_lists_say_what_to_do_next(now: datetime) -> None:
    assert "slipway start MODEL VERSION" in text(listing.rollouts([], now, Paper()))
    assert "Register one in MLflow" in text(model_pictures.models({"models": [], "registry": None}, Paper()))
    assert "MLflow is away" in text(model_pictures.models({"models": [], "registry": "MLflow is away"}, Paper()))
