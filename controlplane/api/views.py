"""Rollouts and their history as the JSON of the API. Pure; called by the routes."""

from __future__ import annotations

from judge import verdict as verdicts
from rollout import events, model

from . import schemas
from .links import model_link, next_link, rollout_link

VERBS = ("promote", "pause", "resume", "abort", "undo", "retry")


def rollout(shown: model.Rollout, record: model.ModelRecord | None) -> schemas.Rollout:
    """`record` is that of the rollout's model: it holds the desired split."""
    spec, status = shown.spec, shown.status
    return schemas.Rollout(
        id=shown.id,
        model=spec.model,
        version=spec.version,
        champion=spec.champion,
        strategy=spec.strategy,
        phase=status.phase,
        open=shown.open,
        outcome=None if shown.open else status.phase,
        step=_step(shown),
        steps=spec.steps if spec.strategy is model.Strategy.CANARY and spec.auto is None else (),
        auto=spec.auto,
        split=weights(record.split) if record is not None and shown.open else None,
        holds=_holds(status),
        verdict=verdict(status.verdict),
        reason=status.reason,
        message=status.message,
        requests=_requests(shown.requests),
        created_at=shown.created_at,
        phase_since=status.phase_since,
        decided_at=status.decided_at,
        ended_at=status.ended_at,
        actor=spec.actor,
        note=spec.note,
        replicas=spec.replicas,
        retry_of=spec.retry_of,
        undo_of=spec.undo_of,
        revision=shown.revision,
        links=_links(shown),
    )


def explanation(shown: model.Rollout) -> schemas.Explanation:
    return schemas.Explanation(
        rollout=shown.id,
        model=shown.spec.model,
        phase=shown.status.phase,
        outcome=None if shown.open else shown.status.phase,
        sentences=tuple(_sentences(shown)),
        verdict=verdict(shown.status.verdict),
        policy=shown.spec.policy,
        step=_step(shown),
        holds=_holds(shown.status),
        requests=_requests(shown.requests),
        links=_links(shown),
    )


def event(stored: events.Stored) -> schemas.Event:
    fact = stored.event
    return schemas.Event(
        seq=stored.seq,
        rollout_id=fact.rollout_id,
        model=fact.model,
        at=fact.at,
        kind=fact.kind,
        actor=fact.actor,
        sentence=fact.sentence,
        data=fact.data,
    )


def history(page: tuple[events.Stored, ...], path: str, limit: int) -> schemas.History:
    more = next_link(path, after=page[-1].seq, limit=limit) if len(page) == limit else None
    return schemas.History(events=tuple(event(each) for each in page), next=more)


def weights(of: model.Split | None) -> tuple[schemas.Weight, ...] | None:
    if of is None:
        return None
    return tuple(schemas.Weight(version=number, weight_pct=weight) for number, weight in of.weights)


def _step(shown: model.Rollout) -> schemas.StepView | None:
    spec, status = shown.spec, shown.status
    if spec.strategy is not model.Strategy.CANARY:
        return None
    judged = max((finding.challenger_requests for finding in status.verdict.findings), default=0) if status.verdict else 0
    if spec.auto is not None:
        return schemas.StepView(
            index=status.step + 1,
            count=None,
            weight_pct=status.weight_pct,
            requests_needed=0,
            requests_seen=max(0, judged - status.step_base),
            min_s=spec.auto.bake_s if status.weight_pct >= spec.auto.hold_pct else 0.0,
            since=status.step_since,
        )
    step = spec.steps[min(status.step, len(spec.steps) - 1)]
    return schemas.StepView(
        index=min(status.step, len(spec.steps) - 1) + 1,
        count=len(spec.steps),
        weight_pct=step.weight_pct,
        requests_needed=step.requests,
        requests_seen=max(0, judged - status.step_base),
        min_s=step.min_s,
        since=status.step_since,
    )


def _holds(status: model.Status) -> tuple[schemas.Hold, ...]:
    return tuple(schemas.Hold(reason=hold.reason, since=hold.since, detail=hold.detail) for hold in status.holds)


def verdict(of: verdicts.Verdict | None) -> schemas.Verdict | None:
    if of is None:
        return None
    return schemas.Verdict(
        judge=of.judge, label=of.label, reason=of.reason, findings=of.findings, evidence=of.evidence, threshold=of.threshold
    )


def _requests(of: model.Requests) -> schemas.Requests:
    return schemas.Requests(
        pause=_intent(of.pause), promote=_intent(of.promote), abort=_intent(of.abort), undo=_intent(of.undo)
    )


def _intent(of: model.Intent | None) -> schemas.Intent | None:
    return None if of is None else schemas.Intent(actor=of.actor, at=of.at, reason=of.reason)


def _links(shown: model.Rollout) -> dict[str, str]:
    here = rollout_link(shown.id)
    words = ("events", "explain", "watch", *VERBS)
    return {"self": here, "model": model_link(shown.spec.model)} | {word: f"{here}/{word}" for word in words}


def _sentences(shown: model.Rollout) -> list[str]:
    """What it is, where it is, why, and what it waits for."""
    spec, status = shown.spec, shown.status
    rival = f"against champion {spec.champion}" if spec.champion is not None else "as the first version"
    said = [f"{spec.strategy.value.capitalize()} of {spec.model} version {spec.version} {rival}, asked for by {spec.actor}."]
    step = _step(shown)
    if status.phase is model.Phase.PROGRESSING and step is not None:
        said.append(
            f"Step {step.index} of {step.count} at {step.weight_pct} %: {step.requests_seen} of at least "
            f"{step.requests_needed} challenger requests judged."
        )
    else:
        said.append(f"Phase {status.phase.value}.")
    if status.verdict is not None:
        said.extend(f"{finding.guard}: {finding.label.value}. {finding.sentence}" for finding in status.verdict.findings)
    if status.reason:
        said.append(status.reason)
    said.extend(f"Held ({hold.reason.value}): {hold.detail}" for hold in status.holds)
    if status.message and shown.open:
        said.append(status.message)
    return said
