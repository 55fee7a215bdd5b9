"""What to do next: the state machine of a rollout.

`advance` is called by the loop once a pass, after the judge, before the save. It decides from what was stored and what was
observed, never acts, and may be repeated at will. The way out (abort, undo) needs no observation at all.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from judge.policy import Fallback, OnDrift
from judge.verdict import Label

from . import commands, schedule
from .draft import Draft, Next
from .events import Kind
from .model import (
    DeploymentState,
    HoldReason,
    ModelRecord,
    Observed,
    Phase,
    RegistryNote,
    Rollout,
    Split,
    Status,
    Strategy,
    Unknown,
)

CHALLENGER = "challenger"  # MLflow alias while a rollout is open
CHAMPION = "champion"  # MLflow alias of the version that serves by default


def advance(rollout: Rollout, record: ModelRecord, observed: Observed) -> Next:
    """The rollout and its model's record after this pass, with the facts to write down."""
    if not rollout.open:
        return Next(rollout, record, ())
    draft = Draft(rollout, record, observed)
    if commands.urgent(rollout):
        _leave(draft, _who_asked(rollout))
    else:
        _PHASES[rollout.status.phase](draft)
    return draft.finish()


def judged_requests(status: Status) -> int:
    """Challenger requests that the judge has seen so far."""
    return status.verdict.findings[0].challenger_requests if status.verdict and status.verdict.findings else 0


def _who_asked(rollout: Rollout) -> str:
    verb, intent = ("Undone", rollout.requests.undo) if rollout.requests.undo else ("Aborted", rollout.requests.abort)
    assert intent is not None
    return f"{verb} by {intent.actor}{': ' + intent.reason if intent.reason else '.'}"


def _queued(draft: Draft) -> None:
    if isinstance(draft.observed.deployments, Unknown):
        draft.say("Waiting to see what is running.")
        return
    left_over = draft.deployment(draft.spec.version)
    if left_over and left_over.state in (DeploymentState.FAILED, DeploymentState.STOPPING):
        draft.say("Waiting until replicas of an earlier attempt are cleared away.")
        return
    draft.note(RegistryNote(draft.spec.version, alias=CHALLENGER))
    draft.move(Phase.STARTING, f"Starting {draft.spec.replicas} replica(s) of {draft.here}.")


def _starting(draft: Draft) -> None:
    challenger = draft.deployment(draft.spec.version)
    champion = draft.deployment(draft.spec.champion)
    if challenger and challenger.state is DeploymentState.FAILED:
        _leave(draft, f"It could not be started: {challenger.reason}")
    elif challenger and challenger.state is DeploymentState.READY:
        stepwise = draft.spec.auto is not None or len(draft.spec.steps) > 1
        judged = draft.spec.strategy is Strategy.CANARY and draft.spec.champion is not None and stepwise
        if draft.requests.pause:
            draft.hold(HoldReason.PAUSED, f"by {draft.requests.pause.actor}")
        elif judged and not (champion and champion.endpoints):
            draft.hold(HoldReason.REPLICAS_DOWN, "the champion has no ready replica to compare with")
        elif judged:
            draft.move(Phase.PROGRESSING, f"Ready; canary of {draft.here} against version {draft.spec.champion}.")
            _begin(draft)
        else:
            why = "No version served before it." if draft.spec.champion is None else "Blue-green: switch at once."
            _promote(draft, why)
    elif draft.elapsed(draft.spec.start_deadline_s):
        seen = f" ({': '.join(filter(None, (challenger.state, challenger.reason)))})" if challenger else ""
        _leave(draft, f"It was not ready within {draft.spec.start_deadline_s:g} s{seen}.")
    else:
        draft.say(f"Waiting for the replicas: {challenger.state if challenger else 'not started yet'}.")


def _progressing(draft: Draft) -> None:
    if _broken(draft):
        return
    if draft.requests.promote:
        _promote(draft, f"Promoted by {draft.requests.promote.actor} without waiting for the judge.")
        return
    _keep(draft)
    _clock_step(draft)
    _hold_for_replicas(draft)
    _hold_for_sight(draft)
    _hold_for_guards(draft)
    _hold_for_drift(draft)
    if draft.status.phase is Phase.ROLLING_BACK:
        return
    if draft.requests.pause:
        draft.hold(HoldReason.PAUSED, f"by {draft.requests.pause.actor}")
    _restart_clock(draft)
    if not draft.holds and draft.status.step_since is not None:
        (_try_next_step if draft.spec.auto is None else _try_next_share)(draft)
    elif not draft.holds:
        draft.say("Waiting until the gateway has acknowledged the split.")
    else:
        draft.say("Held: " + "; ".join(f"{reason} ({detail})" for reason, detail in sorted(draft.holds.items())))


def _clock_step(draft: Draft) -> None:
    """A step begins when its split is first seen acknowledged."""
    if draft.acknowledged() and draft.status.step_since is None:
        draft.status = replace(draft.status, step_since=draft.now, step_base=judged_requests(draft.status))


def _restart_clock(draft: Draft) -> None:
    """Time spent held does not count towards the step: neither as bake time nor against the deadline."""
    was = [hold.since for hold in draft.status.holds if hold.reason is not HoldReason.INSUFFICIENT]
    if was and not draft.holds and draft.status.step_since is not None:
        shifted = draft.status.step_since + (draft.now - min(was))
        draft.status = replace(draft.status, step_since=min(draft.now, shifted))


def _try_next_step(draft: Draft) -> None:
    spec, status = draft.spec, draft.status
    step, is_last = spec.steps[status.step], status.step == len(spec.steps) - 2
    assert status.step_since is not None
    label = status.verdict.label if status.verdict else Label.INSUFFICIENT
    seen = max(0, judged_requests(status) - status.step_base)
    lasted = draft.now - status.step_since
    where = f"Step {status.step + 1} of {len(spec.steps)}, {step.weight_pct} % to version {spec.version}"
    done = seen >= step.requests and lasted >= timedelta(seconds=step.min_s)
    if done and is_last and label is Label.PASS:
        assert status.verdict is not None
        _promote(draft, status.verdict.reason)
    elif done and not is_last:
        _to_step(draft, status.step + 1)
    elif lasted >= timedelta(seconds=max(spec.policy.insufficient_deadline_s, step.min_s)):
        _insufficient(draft, f"{where}: inconclusive, the evidence did not suffice within {lasted.total_seconds():.0f} s.")
    elif seen < step.requests:
        draft.say(f"{where}: {seen} of {step.requests} requests seen.")
    elif not done:
        draft.say(f"{where}: {lasted.total_seconds():.0f} of {step.min_s:g} s passed.")
    else:
        draft.say(f"{where}: {status.verdict.reason if status.verdict else 'nothing judged yet.'}")


def _try_next_share(draft: Draft) -> None:
    """Of a ramp: to a larger share if the budget allows it, to all traffic once the verdict is `pass` and the bake time is over."""
    spec, status, ramp = draft.spec, draft.status, draft.spec.auto
    assert status.step_since is not None
    assert ramp is not None
    lasted = draft.now - status.step_since
    share = schedule.Share(status.weight_pct, f"{ramp.reaction_s:g} s to see how it does")
    if lasted >= timedelta(seconds=ramp.reaction_s):
        share = schedule.following(ramp, status.weight_pct, draft.observed.requests_per_s, status.verdict)
    here = f"{status.weight_pct} % to version {spec.version}"
    passed = status.verdict is not None and status.verdict.label is Label.PASS
    baked = lasted >= timedelta(seconds=ramp.bake_s)
    if share.weight_pct > status.weight_pct:
        _to_share(draft, share, status.step + 1)
    elif passed and baked and status.weight_pct >= ramp.hold_pct:
        assert status.verdict is not None
        _promote(draft, status.verdict.reason)
    elif lasted >= timedelta(seconds=max(spec.policy.insufficient_deadline_s, ramp.bake_s)):
        _insufficient(draft, f"{here}: inconclusive, the evidence did not suffice within {lasted.total_seconds():.0f} s.")
    elif status.weight_pct < ramp.hold_pct:
        draft.say(f"{here}: {share.why}.")
    elif not passed:
        draft.say(f"{here}: {status.verdict.reason if status.verdict else 'nothing judged yet.'}")
    else:
        draft.say(f"{here}: {lasted.total_seconds():.0f} of {ramp.bake_s:g} s baked.")


def _to_share(draft: Draft, share: schedule.Share, step: int) -> None:
    spec = draft.spec
    sentence = f"{share.weight_pct} % of the traffic to version {spec.version}: {share.why}."
    draft.status = replace(draft.status, step=step, weight_pct=share.weight_pct, step_since=None, message=sentence)
    draft.tell(Kind.STEP, sentence, step=step, weight_pct=share.weight_pct)
    _keep(draft)


def _begin(draft: Draft) -> None:
    """The first share of a canary."""
    if draft.spec.auto is None:
        _to_step(draft, 0)
    else:
        _to_share(draft, schedule.first(draft.spec.auto, draft.observed.requests_per_s), 0)


def _keep(draft: Draft) -> None:
    """The split stays that of the step."""
    if draft.spec.auto is None:
        _to_step(draft, draft.status.step)
        return
    spec, weight = draft.spec, draft.status.weight_pct
    assert spec.champion is not None
    draft.set_split(Split.of({spec.champion: 100 - weight, spec.version: weight}))


def _insufficient(draft: Draft, sentence: str) -> None:
    fallback = draft.spec.policy.on_insufficient
    if fallback is Fallback.ROLL_BACK:
        _leave(draft, f"{sentence} The policy says roll back.")
    elif fallback is Fallback.PROMOTE and draft.status.phase is Phase.PROGRESSING:
        _promote(draft, f"{sentence} The policy says promote.")
    elif fallback is Fallback.PROMOTE:
        draft.move(Phase.PROMOTED, f"{sentence} The policy says promote.")
    else:
        draft.hold(HoldReason.INSUFFICIENT, f"{sentence} It needs traffic, `promote` or `abort`.")
        draft.say(sentence)


def _to_step(draft: Draft, index: int) -> None:
    spec = draft.spec
    weight = spec.steps[index].weight_pct
    assert spec.champion is not None
    if index != draft.status.step or not draft.status.had_traffic:
        sentence = f"Step {index + 1} of {len(spec.steps)}: {weight} % of the traffic to version {spec.version}."
        draft.status = replace(draft.status, step=index, step_since=None, message=sentence)
        draft.tell(Kind.STEP, sentence, step=index, weight_pct=weight)
    draft.set_split(Split.of({spec.champion: 100 - weight, spec.version: weight}))


def _promote(draft: Draft, why: str) -> None:
    last = draft.status.step if draft.spec.auto else len(draft.spec.steps) - 1
    draft.status = replace(draft.status, decided_at=draft.now, reason=why, step=last)
    draft.set_split(Split.of({draft.spec.version: 100}))
    draft.move(Phase.PROMOTING, f"All traffic to {draft.here}. {why}")


def _promoting(draft: Draft) -> None:
    if _broken(draft):
        return
    spec, alias = draft.spec, draft.observed.alias
    draft.set_split(Split.of({spec.version: 100}))
    if draft.requests.pause:
        draft.hold(HoldReason.PAUSED, f"by {draft.requests.pause.actor}")
    if not draft.acknowledged():
        draft.say("Waiting until every gateway sends all traffic to the new version.")
        return
    if isinstance(alias, Unknown):
        draft.hold(HoldReason.REGISTRY_AWAY, alias.reason)
        draft.say("All traffic is on the new version; the alias moves when the registry answers.")
        return
    by_hand = spec.champion is not None and alias not in (spec.champion, spec.version, None)
    if by_hand and not draft.requests.promote:
        draft.hold(HoldReason.ALIAS_MOVED, f"somebody pointed `{CHAMPION}` at version {alias}; put it back, promote or abort")
    if draft.holds:
        return
    if alias != spec.version:
        # Saved before the alias moves: after a crash in between, the way back knows that it may have moved.
        draft.status = replace(draft.status, alias_moved=True, message="Moving the champion alias.")
        return
    draft.record = replace(draft.record, champion=spec.version, previous=spec.champion, replicas=spec.replicas)
    draft.status = replace(draft.status, alias_moved=True)
    draft.tell(Kind.ALIAS, f"`{CHAMPION}` names version {spec.version}.", alias=CHAMPION, version=spec.version)
    if spec.champion is None or spec.probation_s == 0:
        _promoted(draft, f"{draft.here.capitalize()} is the champion.")
    else:
        kept = f"version {spec.champion} stays warm for {spec.probation_s:g} s"
        draft.move(Phase.PROBATION, f"{draft.here.capitalize()} is the champion; {kept}.")


def _probation(draft: Draft) -> None:
    if _broken(draft):
        return
    _hold_for_sight(draft)
    if draft.status.phase is Phase.ROLLING_BACK:
        return
    alias = draft.observed.alias
    if not isinstance(alias, Unknown) and alias != draft.spec.version:
        draft.hold(HoldReason.ALIAS_MOVED, f"somebody pointed `{CHAMPION}` at {alias or 'nothing'}; put it back or undo")
    if draft.requests.pause:
        draft.hold(HoldReason.PAUSED, f"by {draft.requests.pause.actor}")
    if by_hand := commands.promoted_by_hand(draft.before):
        draft.holds.clear()
        _promoted(draft, f"Probation ended by {by_hand.actor}.")
    elif not draft.elapsed(draft.spec.probation_s):
        draft.say(f"Champion on probation: {draft.status.verdict.reason if draft.status.verdict else 'nothing judged yet.'}")
    elif draft.spec.strategy is Strategy.BLUE_GREEN and not judged_requests(draft.status):
        _probation_without_traffic(draft)
    elif not draft.holds:
        _promoted(draft, f"Probation of {draft.here} ended without a finding against it.")


def _probation_without_traffic(draft: Draft) -> None:
    """Nothing was ever judged: no data is not good, so the old version stays warm until somebody knows better."""
    if draft.elapsed(draft.spec.probation_s + draft.spec.policy.insufficient_deadline_s):
        _insufficient(draft, "Probation ended and no request was seen.")
    else:
        draft.say("Probation is over, but no request was seen yet.")


def _promoted(draft: Draft, sentence: str) -> None:
    _close(draft, Phase.PROMOTED, sentence)


def _leave(draft: Draft, reason: str) -> None:
    """Off the traffic: from any phase, with whatever is known. Traffic first, clean-up later."""
    spec = draft.spec
    draft.holds.clear()
    draft.set_split(None if spec.champion is None else Split.of({spec.champion: 100}))
    if draft.record.champion != spec.champion:
        draft.record = replace(draft.record, champion=spec.champion, previous=None)
    draft.status = replace(draft.status, decided_at=draft.now, reason=reason)
    draft.move(Phase.ROLLING_BACK, f"Taking {draft.here} off the traffic. {reason}")


def _rolling_back(draft: Draft) -> None:
    spec, status, alias = draft.spec, draft.status, draft.observed.alias
    if status.had_traffic and not draft.acknowledged():
        draft.say("Waiting until every gateway has taken it off the traffic.")
        return
    if status.alias_moved and isinstance(alias, Unknown):
        draft.hold(HoldReason.REGISTRY_AWAY, alias.reason)
        draft.say("It is off the traffic; the alias goes back when the registry answers.")
    elif status.alias_moved and alias != spec.champion:
        draft.say("Moving the champion alias back.")
    else:
        if status.alias_moved:
            draft.tell(Kind.ALIAS, f"`{CHAMPION}` names version {alias} again.", alias=CHAMPION, version=alias)
        outcome = Phase.ROLLED_BACK if status.had_traffic else Phase.FAILED
        _close(draft, outcome, f"{draft.here.capitalize()} is off the traffic. {status.reason}")


def _close(draft: Draft, outcome: Phase, sentence: str) -> None:
    tags = (
        ("slipway.rollout", draft.before.id),
        ("slipway.outcome", outcome.value),
        ("slipway.reason", draft.status.reason[:500]),
    )
    draft.note(RegistryNote(None, alias=CHALLENGER), RegistryNote(draft.spec.version, tags=tags))
    draft.move(outcome, sentence)


def _broken(draft: Draft) -> bool:
    """Roll back on a `fail`, or when the challenger cannot run any more."""
    verdict = draft.status.verdict
    challenger = draft.deployment(draft.spec.version)
    if verdict and verdict.label is Label.FAIL:
        _leave(draft, verdict.reason)
    elif challenger and challenger.state is DeploymentState.FAILED:
        _leave(draft, f"Its replicas failed: {challenger.reason}")
    return draft.status.phase is Phase.ROLLING_BACK


def _hold_for_replicas(draft: Draft) -> None:
    for version in (draft.spec.champion, draft.spec.version):
        found = draft.deployment(version)
        if not isinstance(draft.observed.deployments, Unknown) and not (found and found.endpoints):
            draft.hold(HoldReason.REPLICAS_DOWN, f"version {version} has no ready replica")


def _hold_for_sight(draft: Draft) -> None:
    """Blind is not bad: hold, and only at the deadline do what the policy says."""
    verdict, policy = draft.status.verdict, draft.spec.policy
    if verdict is None or verdict.label is not Label.BLIND:
        return
    draft.hold(HoldReason.BLIND, verdict.reason)
    if policy.on_blind is Fallback.ROLL_BACK and draft.held_for_s(HoldReason.BLIND) >= policy.blind_deadline_s:
        _leave(draft, f"Nothing could be seen for {policy.blind_deadline_s:g} s, and the policy says roll back.")


def _hold_for_guards(draft: Draft) -> None:
    """A guard that only holds: nothing moves on until a person says promote or abort."""
    for finding in draft.status.verdict.holding if draft.status.verdict else ():
        draft.hold(HoldReason.GUARD_HOLDS, f"{finding.sentence} `promote` it all the same, or `abort`.")


def _hold_for_drift(draft: Draft) -> None:
    """No version is to blame for its traffic, so this never rolls back; it ends when the alarm does."""
    if draft.spec.policy.on_drift is OnDrift.HOLD and draft.observed.drift:
        draft.hold(HoldReason.TRAFFIC_DRIFTS, f"{draft.observed.drift} `promote` it all the same, or `abort`.")


_PHASES = {
    Phase.QUEUED: _queued,
    Phase.STARTING: _starting,
    Phase.PROGRESSING: _progressing,
    Phase.PROMOTING: _promoting,
    Phase.PROBATION: _probation,
    Phase.ROLLING_BACK: _rolling_back,
}
