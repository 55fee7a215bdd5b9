"""The rollout's story, told in single scenes: a world, a look, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from judge.policy import Fallback, OnDrift, Policy
from judge.verdict import Label
from rollout import commands
from rollout.model import Ack, Intent, Phase, Spec, Step, Strategy, Unknown

Make = Callable[..., Any]
STEPS = (Step(5, requests=10), Step(50, requests=10), Step(100))


def test_a_healthy_canary_goes_all_the_way(story: Make) -> None:
    s = story().on_step(0)
    assert s.weight_pct == 5
    s.says(Label.INSUFFICIENT, 10).look(3)
    assert s.weight_pct == 50
    s.says(Label.PASS, 20).look()
    assert (s.phase, s.weight_pct, s.record.champion) == (Phase.PROMOTING, 100, 1)
    s.look(4)
    assert (s.phase, s.record.champion, s.alias) == (Phase.PROBATION, 2, 2)
    assert s.stopped == [], "the old champion stays warm"
    s.after(600).look(3)
    assert s.phase is Phase.PROMOTED
    s.look(2)
    assert s.stopped == [1]
    assert dict(s.published.endpoints).keys() == {2}


def test_the_last_step_needs_more_than_requests(story: Make) -> None:
    s = story().on_step(1).says(Label.INSUFFICIENT, 1000).look(5)
    assert (s.phase, s.weight_pct) == (Phase.PROGRESSING, 50)


def test_a_fail_rolls_back_traffic_first(story: Make) -> None:
    s = story().on_step(1).says(Label.FAIL, 12).look()
    assert (s.phase, s.weight_pct, s.published.split.weights) == (Phase.ROLLING_BACK, 0, ((1, 100),))
    assert s.rollout.status.reason == "it is fail"
    s.look(3)
    assert (s.phase, s.alias, s.stopped) == (Phase.ROLLED_BACK, 1, [2])


def test_a_version_that_cannot_start_fails_without_ever_getting_traffic(story: Make) -> None:
    s = story(ready=(1,)).look(2)
    s.failed = (2,)
    s.look(4)
    assert s.phase is Phase.FAILED
    assert "it broke" in s.rollout.status.reason
    assert not s.rollout.status.had_traffic


def test_an_old_failure_is_cleared_before_a_new_attempt(story: Make) -> None:
    s = story(ready=(1,), failed=(2,)).look(1)
    assert (s.phase, s.stopped) == (Phase.QUEUED, [2])
    s.look(1)
    assert s.phase is Phase.STARTING


def test_not_ready_in_time_fails(story: Make) -> None:
    s = story(ready=(1,)).look(2).after(200).look(2)
    assert s.phase is Phase.FAILED
    assert "not ready within 180 s" in s.rollout.status.reason


def test_the_first_version_of_a_model_gets_all_traffic_once_ready(story: Make) -> None:
    s = story(spec=Spec("m", 2, None), ready=(2,), alias=None).look(6)
    assert (s.phase, s.weight_pct, s.alias, s.record.champion) == (Phase.PROMOTED, 100, 2, 2)


def test_blue_green_switches_at_once_and_stays_on_probation(story: Make) -> None:
    s = story(spec=Spec("m", 2, 1, Strategy.BLUE_GREEN)).look(5)
    assert (s.phase, s.weight_pct) == (Phase.PROBATION, 100)
    s.says(Label.INSUFFICIENT, 50).after(600).look(2)
    assert s.phase is Phase.PROMOTED


def test_probation_without_a_single_request_is_no_success(story: Make) -> None:
    s = story(spec=Spec("m", 2, 1, Strategy.BLUE_GREEN)).look(5).after(601).look(2)
    assert s.phase is Phase.PROBATION
    s.after(3600).look(2)
    assert (s.phase, s.holds) == (Phase.PROBATION, ["insufficient"])
    assert s.ask("promote").look().phase is Phase.PROMOTED


@pytest.mark.parametrize("verb", ["abort", "undo"])
def test_on_probation_the_way_back_is_immediate_and_takes_the_alias_along(story: Make, verb: str) -> None:
    s = story(spec=Spec("m", 2, 1, Strategy.BLUE_GREEN)).look(5).ask(verb, "users complain").look()
    assert (s.phase, s.published.split.weights) == (Phase.ROLLING_BACK, ((1, 100),))
    s.look(4)
    assert (s.phase, s.alias, s.record.champion) == (Phase.ROLLED_BACK, 1, 1)
    assert s.rollout.status.reason.endswith("by ann: users complain")


@pytest.mark.parametrize("looks", range(1, 8))
def test_abort_wins_in_every_phase_with_everything_down(story: Make, looks: int) -> None:
    s = story().look(looks)
    s.deployments_unknown, s.ack, s.alias = True, Ack.AWAY, Unknown("down")
    s.ask("abort").look()
    assert (s.phase, s.weight_pct) == (Phase.ROLLING_BACK, 0)


def test_a_pause_holds_but_a_fail_still_rolls_back(story: Make) -> None:
    s = story().on_step(0).ask("pause").says(Label.INSUFFICIENT, 100).look(3)
    assert (s.weight_pct, s.holds) == (5, ["paused"])
    assert s.says(Label.FAIL, 110).look().phase is Phase.ROLLING_BACK


def test_time_on_hold_does_not_run_down_the_deadline(story: Make) -> None:
    policy = Policy(insufficient_deadline_s=60, on_insufficient=Fallback.ROLL_BACK)
    s = story(spec=Spec("m", 2, 1, steps=STEPS, policy=policy)).on_step(0).ask("pause").look().after(7200).look().ask("resume")
    assert s.look().phase is Phase.PROGRESSING
    assert s.after(59).look().phase is Phase.PROGRESSING
    assert s.after(2).look().phase is Phase.ROLLING_BACK


@pytest.mark.parametrize(
    ("fallback", "phase", "holds"),
    [
        (Fallback.HOLD, Phase.PROGRESSING, ["insufficient"]),
        (Fallback.ROLL_BACK, Phase.ROLLING_BACK, []),
        (Fallback.PROMOTE, Phase.PROMOTING, []),
    ],
)
def test_no_traffic_waits_for_its_deadline(story: Make, fallback: Fallback, phase: Phase, holds: list[str]) -> None:
    policy = Policy(insufficient_deadline_s=60, on_insufficient=fallback)
    s = story(spec=Spec("m", 2, 1, steps=STEPS, policy=policy)).on_step(0).after(59).look()
    assert (s.phase, s.holds) == (Phase.PROGRESSING, [])
    s.after(2).look()
    assert (s.phase, s.holds) == (phase, holds)
    assert any("inconclusive" in event.sentence for event in s.last.events), "never a silent success"


def test_blind_holds_at_once_and_rolls_back_only_if_told_to(story: Make) -> None:
    s = story().on_step(0).says(Label.BLIND, 100).look().after(10_000).look()
    assert (s.phase, s.holds, s.weight_pct) == (Phase.PROGRESSING, ["blind"], 5)
    policy = Policy(blind_deadline_s=60, on_blind=Fallback.ROLL_BACK)
    s = story(spec=Spec("m", 2, 1, steps=STEPS, policy=policy)).on_step(0).says(Label.BLIND).look().after(59).look()
    assert s.phase is Phase.PROGRESSING
    assert s.after(2).look().phase is Phase.ROLLING_BACK


@pytest.mark.parametrize(("on_drift", "holds"), [(OnDrift.HOLD, ["traffic_drifts"]), (OnDrift.IGNORE, [])])
def test_drift_of_the_traffic_holds_only_where_asked_and_never_rolls_back(
    story: Make, on_drift: OnDrift, holds: list[str]
) -> None:
    spec = Spec("m", 2, 1, steps=STEPS, policy=Policy(on_drift=on_drift))
    s = story(spec=spec).on_step(1)
    s.drift = "Harmful: wind_speed moved."
    s.look().after(90_000).look(3)
    assert s.holds == ([*holds] if holds else ["insufficient"])
    assert (s.phase, s.weight_pct) == (Phase.PROGRESSING, 50)
    s.drift = ""
    s.says(Label.PASS, 20).look()
    assert s.phase is Phase.PROMOTING


def test_a_hold_for_drift_gives_way_to_a_person_and_to_a_fail(story: Make) -> None:
    spec = Spec("m", 2, 1, steps=STEPS, policy=Policy(on_drift=OnDrift.HOLD))
    for verb, label, phase in (("promote", Label.INSUFFICIENT, Phase.PROMOTING), ("resume", Label.FAIL, Phase.ROLLING_BACK)):
        s = story(spec=spec, drift="Broken data: weather is null.").on_step(0)
        assert s.holds == ["traffic_drifts"]
        s.ask(verb) if verb == "promote" else s
        s.says(label, 20).look()
        assert s.phase is phase


def test_a_refused_configuration_is_a_hold_with_the_gateways_words(story: Make) -> None:
    s = story().look(2)
    s.ack = Ack.REFUSED
    s.look(2)
    assert s.holds == ["gateway_refused"]
    assert "bad cluster" in s.rollout.status.holds[0].detail


def test_a_step_counts_only_from_its_acknowledgement(story: Make) -> None:
    s = story().look(1)
    s.ack = Ack.NOT_YET
    s.look(3).says(Label.INSUFFICIENT, 50).look(2)
    assert (s.rollout.status.step, s.rollout.status.step_since) == (0, None)
    s.ack = Ack.YES
    s.look(2)
    assert (s.rollout.status.step, s.rollout.status.step_base) == (0, 50)


def test_promotion_waits_for_the_registry_with_the_old_version_warm(story: Make) -> None:
    s = story(spec=Spec("m", 2, 1, Strategy.BLUE_GREEN)).look(2)
    s.alias = Unknown("connection refused")
    s.look(3)
    assert (s.phase, s.holds, s.stopped) == (Phase.PROMOTING, ["registry_away"], [])
    s.alias = 1
    assert s.look(3).phase is Phase.PROBATION


def test_an_alias_moved_by_hand_is_not_overwritten(story: Make) -> None:
    s = story(spec=Spec("m", 2, 1, Strategy.BLUE_GREEN)).look(2)
    s.alias = 7
    s.look(4)
    assert (s.phase, s.holds, s.alias) == (Phase.PROMOTING, ["alias_moved"], 7)


def test_an_operator_may_promote_without_the_judge(story: Make) -> None:
    s = story().on_step(0).ask("promote").after(1).look(4)
    assert (s.phase, s.record.champion) == (Phase.PROBATION, 2)
    assert "ann" in s.rollout.status.reason


def test_replicas_that_break_for_good_roll_back(story: Make) -> None:
    s = story().on_step(0)
    s.ready, s.failed = (1,), (2,)
    assert s.look().phase is Phase.ROLLING_BACK


def test_without_ready_replicas_it_holds_and_keeps_their_last_addresses(story: Make) -> None:
    s = story().on_step(0)
    s.ready = (2,)
    s.look(2)
    assert s.holds == ["replicas_down"]
    assert dict(s.published.endpoints)[1] == ("h:1",)


def test_a_clock_set_back_only_starts_the_waits_afresh(story: Make) -> None:
    policy = Policy(insufficient_deadline_s=60, on_insufficient=Fallback.ROLL_BACK)
    s = story(spec=Spec("m", 2, 1, steps=STEPS, policy=policy)).on_step(0).after(-86_400).look()
    assert s.after(59).look().phase is Phase.PROGRESSING
    assert s.after(2).look().phase is Phase.ROLLING_BACK


def test_every_hold_begins_and_ends_in_the_history(story: Make) -> None:
    s = story().on_step(0).ask("pause").look()
    assert [event.kind.value for event in s.last.events] == ["hold"]
    assert s.look().last.events == ()
    s.ask("resume").look()
    assert [event.kind.value for event in s.last.events] == ["released"]


@pytest.mark.parametrize(
    ("looks", "verb", "says"),
    [
        (2, "promote", "not ready"),
        (4, "undo", "abort"),
        (12, "abort", "undo"),
        (12, "pause", "ended"),
        (12, "resume", "ended"),
    ],
)
def test_requests_out_of_place_say_what_to_do_instead(story: Make, looks: int, verb: str, says: str) -> None:
    s = story(spec=Spec("m", 2, 1, steps=STEPS, probation_s=0), ready=(1, 2) if looks > 2 else (1,)).look(min(looks, 4))
    if looks > 4:
        s.ask("promote").look(looks)
        assert s.phase is Phase.PROMOTED
    with pytest.raises(commands.NotNow, match=says):
        s.ask(verb)


def test_promote_after_abort_is_refused_and_abort_twice_is_not(story: Make) -> None:
    s = story().on_step(0).ask("abort")
    once = s.rollout
    assert s.ask("abort").rollout is once
    with pytest.raises(commands.NotNow, match="retry"):
        s.ask("promote")
    s.look(4)
    assert s.ask("abort").phase is Phase.ROLLED_BACK


def test_retry_and_undo_make_new_rollouts(story: Make) -> None:
    s = story().on_step(0).ask("abort").look(4)
    intent = Intent("bob", s.now, "again")
    again = commands.retry(s.rollout, s.record, intent)
    assert (again.version, again.champion, again.retry_of, again.actor) == (2, 1, "r1", "bob")
    s = story(spec=Spec("m", 2, 1, steps=STEPS, probation_s=0)).on_step(0).ask("promote").look(5)
    back = commands.undo_spec(s.rollout, s.record, intent)
    assert (back.version, back.champion, back.strategy, back.undo_of) == (1, 2, Strategy.BLUE_GREEN, "r1")
    with pytest.raises(commands.NotNow, match="Version 9"):
        commands.undo_spec(s.rollout, replace(s.record, champion=9), intent)
