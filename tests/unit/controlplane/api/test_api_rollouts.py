"""Rollouts over the API: what is recorded, what is refused, and what is answered twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from controlplane.api import schemas, services
from controlplane.history import History
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_past import MemoryPast
from judge import presets
from judge import verdict as verdicts
from judge.policy import OnDrift, PredictionShiftGuard
from judge.samples import Sample
from registry.memory import MemoryRegistry
from rollout import events, model

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
START = {"model": "delay", "version": 2}
Connect = Callable[[services.Services], httpx.AsyncClient]


async def start(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/rollouts", json=START | more)
    assert answer.status_code == 202, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def move(store: MemoryStore, phase: model.Phase, rollout_id: str = "r1", **changed: Any) -> None:
    """Do the loop's work."""
    rollout = await store.rollout(rollout_id)
    await store.save(replace(rollout, status=replace(rollout.status, phase=phase, **changed)), None, [])


async def serve(store: MemoryStore, champion: int, previous: int | None = None) -> None:
    record = await store.record("delay") or model.ModelRecord("delay")
    split = model.Split.of({champion: 100})
    await store.save(None, replace(record, champion=champion, previous=previous, split=split), [])


def problem(answer: httpx.Response, status: int, kind: str) -> schemas.Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = schemas.Problem.model_validate(answer.json())
    assert told.status == status
    assert told.type == f"urn:slipway:problem:{kind}"
    assert told.instance == answer.url.path
    return told


async def test_a_start_is_recorded_answered_and_told(client: httpx.AsyncClient, store: MemoryStore, woken: list[str]) -> None:
    await serve(store, 1)
    answer = await client.post("/rollouts", json=START | {"note": "spring"}, headers={"X-Slipway-Actor": "ann"})
    assert answer.status_code == 202
    assert answer.headers["location"] == "/api/v1/rollouts/r1"
    shown = answer.json()
    assert (shown["id"], shown["phase"], shown["champion"], shown["revision"]) == ("r1", "queued", 1, 1)
    assert (shown["actor"], shown["note"], shown["outcome"], shown["open"]) == ("ann", "spring", None, True)
    assert shown["split"] == [{"version": 1, "weight_pct": 100}]
    assert shown["step"]["index"] == 1
    assert shown["step"]["count"] == 5
    stored = await store.rollout("r1")
    assert stored.spec == model.Spec("delay", 2, champion=1, actor="ann", note="spring")
    assert stored.created_at == NOW
    (fact,) = await store.events(rollout_id="r1")
    assert fact.event.kind is events.Kind.CREATED
    assert fact.event.sentence == "ann asked for a canary of version 2 against champion 1: spring"
    assert woken == ["delay"]
    assert (await client.get(answer.headers["location"].removeprefix("/api/v1"))).json() == shown


async def test_steps_and_policy_may_be_given_in_part(client: httpx.AsyncClient, store: MemoryStore) -> None:
    steps = [5, {"weight_pct": 50, "requests": 7, "min_s": 1.5}, 100]
    policy = {"alpha": 0.05, "error_rate": {"margin_ratio": 3}, "on_blind": "roll_back"}
    await start(client, steps=steps, policy=policy, replicas=3, start_deadline_s=60, probation_s=0)
    spec = (await store.rollout("r1")).spec
    assert spec.steps == (model.Step(5), model.Step(50, 7, 1.5), model.Step(100))
    assert (spec.policy.alpha, spec.policy.beta) == (0.05, 0.05)
    assert (spec.policy.error_rate.margin_ratio, spec.policy.error_rate.margin_pct) == (3, 1)
    assert (spec.replicas, spec.start_deadline_s, spec.probation_s) == (3, 60, 0)


async def test_blue_green_has_no_steps(client: httpx.AsyncClient) -> None:
    shown = await start(client, strategy="blue-green")
    assert (shown["step"], shown["steps"]) == (None, [])


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"model": "Bad_Name"}, "model", "small letters, digits and hyphens"),
        ({"model": "-x"}, "model", "small letters"),
        ({"model": 7}, "model", "valid string"),
        ({"version": 0}, "version", "greater than or equal to 1"),
        ({"version": 10**30}, "version", "less than or equal to"),
        ({"version": "two"}, "version", "valid integer"),
        ({"model": "unsigned", "version": 1}, "version", "infer_signature"),
        ({"version": 1}, "version", "version 1 of delay is the champion already"),
        ({"steps": [50, 5, 100]}, "steps", "must rise"),
        ({"steps": [5, 50]}, "steps", "exactly 100"),
        ({"steps": []}, "steps", "between 1 and 50"),
        ({"steps": [*range(1, 52)]}, "steps", "at most 50"),
        ({"steps": [5, {"weight_pct": 100, "request": 3}]}, "steps.1.request", "unknown key"),
        ({"steps": [True, 100]}, "steps.0", "dictionary or an instance of Step"),
        ({"steps": [{"weight_pct": 100, "requests": -1}]}, "steps", "requests must be"),
        ({"strategy": "blue-green", "steps": [100]}, "steps", "leave them out"),
        ({"strategy": "yolo"}, "strategy", "'canary' or 'blue-green'"),
        ({"policy": {"alhpa": 0.01}}, "policy.alhpa", "unknown key"),
        ({"policy": {"alpha": 0.9}}, "policy", "alpha must be above 0 and at most 0.2"),
        ({"policy": {"error_rate": {"margin_ratio": 1}}}, "policy.error_rate", "tolerance_ratio < margin_ratio"),
        ({"policy": {"on_blind": "promote"}}, "policy", "never promoted"),
        ({"policy": {"alpha": None}}, "policy.alpha", "valid number"),
        ({"replicas": 65}, "replicas", "1 to 64"),
        ({"start_deadline_s": 0}, "start_deadline_s", "1 to 86400"),
        ({"probation_s": -1}, "probation_s", "0 to 30 days"),
        ({"note": "x" * 2001}, "note", "at most 2000"),
        ({"modle": "delay"}, "modle", "unknown key"),
    ],
)
@pytest.mark.parametrize("path", ["/rollouts", "/rollouts/plan"])
async def test_what_is_not_valid_names_the_field_and_the_fix(
    client: httpx.AsyncClient, store: MemoryStore, path: str, changed: dict[str, Any], field: str, words: str
) -> None:
    await serve(store, 1)
    told = problem(await client.post(path, json=START | changed), 422, "invalid")
    assert [error.field for error in told.errors] == [field]
    assert words in told.errors[0].message
    assert words in told.detail
    assert list(await store.rollouts()) == []


async def test_every_wrong_field_is_named_at_once(client: httpx.AsyncClient) -> None:
    told = problem(await client.post("/rollouts", json={"replicas": "many", "note": 1}), 422, "invalid")
    assert [error.field for error in told.errors] == ["model", "version", "replicas", "note"]
    assert told.errors[0].message == "is required"


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("delay", 9, "delay has no version 9; the newest are 3, 2, 1"),
        ("taxi", 1, "no model taxi; registered are Bad_Name, delay, unsigned"),
    ],
)
async def test_an_unknown_version_tells_what_exists(client: httpx.AsyncClient, name: str, version: int, words: str) -> None:
    told = problem(await client.post("/rollouts", json={"model": name, "version": version}), 404, "not-found")
    assert words in told.detail


async def test_without_the_registry_nothing_starts_but_it_may_be_tried_again(
    client: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    registry.down = True
    answer = await client.post("/rollouts", json=START)
    assert "mlflow: MLflow is down" in problem(answer, 503, "unavailable").detail
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_second_rollout_is_refused_with_a_link_to_the_first(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await start(client)
    told = problem(await client.post("/rollouts", json=START | {"version": 3}), 409, "already-open")
    assert told.links == {"rollout": "/api/v1/rollouts/r1"}
    assert "r1 is still open" in told.detail
    await move(store, model.Phase.FAILED)
    await start(client, version=3)


async def test_a_plan_reckons_with_blocks_where_the_champions_errors_come_in_bursts(
    connect: Connect, parts: services.Services, store: MemoryStore, traffic: dict[str, services.ObservedSplit]
) -> None:
    await serve(store, 1)
    traffic["delay"] = services.ObservedSplit(
        window_s=30, requests_per_s=100.0, versions=(services.ObservedVersion(1, 3000, 30, 100.0),)
    )
    calm, stormy = History(MemoryPast()), History(MemoryPast())
    counts = {replica: [0, 0] for replica in range(4)}
    for look in range(300):
        for replica, count in counts.items():
            count[0] += 250
            count[1] += 100 if look % 10 == 0 and look // 10 % 4 == replica else 1
        at = NOW - timedelta(seconds=10 * (300 - look))
        for history, errors in ((calm, None), (stormy, 1)):
            samples = [
                Sample("g", 1, 1, n, n // 100 if errors is None else x, replica=f"h:{replica}")
                for replica, (n, x) in counts.items()
            ]
            await history.feed("delay", at, 1, samples)
    plans = []
    for history in (calm, stormy):
        async with connect(replace(parts, history=history)) as client:
            plans.append((await client.post("/rollouts/plan", json=START)).json())
    assert plans[0]["total_minutes"] < 10.0
    assert plans[1]["total_minutes"] >= 30.0
    assert plans[1]["sentences"][-1].startswith("The champion's errors come in bursts")


async def test_a_plan_forecasts_and_records_nothing(
    client: httpx.AsyncClient, store: MemoryStore, traffic: dict[str, services.ObservedSplit], woken: list[str]
) -> None:
    await serve(store, 1)
    shown = (await client.post("/rollouts/plan", json=START)).json()
    assert "No traffic" in shown["refusal"]
    seen = (services.ObservedVersion(1, 3000, 30, 100.0),)
    traffic["delay"] = services.ObservedSplit(window_s=30, requests_per_s=100.0, versions=seen)
    answer = await client.post("/rollouts/plan", json=START | {"policy": {"insufficient_deadline_s": 86400}})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["version"], shown["champion"], shown["refusal"], shown["open_rollout"]) == (2, 1, None, None)
    assert [step["weight_pct"] for step in shown["steps"]] == [1, 5, 20, 50]
    assert shown["steps"][0]["minutes"] > 0
    assert shown["total_minutes"] > 0
    assert shown["traffic"]["versions"] == [{"version": 1, "requests": 3000, "errors": 30, "share_pct": 100.0}]
    assert "1 % errors" in shown["sentences"][-1]
    assert list(await store.rollouts()) == []
    assert woken == []
    await start(client)
    assert (await client.post("/rollouts/plan", json=START)).json()["open_rollout"] == "r1"


async def test_rollouts_are_listed_newest_first_and_paged(client: httpx.AsyncClient, store: MemoryStore) -> None:
    for number in (1, 2, 3):
        await start(client)
        if number < 3:
            await move(store, model.Phase.FAILED, f"r{number}")
    page = (await client.get("/rollouts", params={"model": "delay", "limit": 2})).json()
    assert [each["id"] for each in page["rollouts"]] == ["r3", "r2"]
    rest = (await client.get(page["next"].removeprefix("/api/v1"))).json()
    assert [each["id"] for each in rest["rollouts"]] == ["r1"]
    assert rest["next"] is None
    assert [each["id"] for each in (await client.get("/rollouts?open=true")).json()["rollouts"]] == ["r3"]
    assert (await client.get("/rollouts?model=taxi")).json() == {"rollouts": [], "next": None}


async def test_a_rollout_in_the_middle_is_shown_and_explained(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await serve(store, 1)
    await start(client)
    effect = verdicts.Effect(float("inf"), 0.5, None)
    sentence = "Not enough is known yet."
    finding = verdicts.Finding(
        "error_rate", verdicts.Label.INSUFFICIENT, sentence, effect, 0.1, 2, 0.2, 1.3, 1, 900, 9, 150, 1, 70
    )
    await move(
        store,
        model.Phase.PROGRESSING,
        step=1,
        step_base=100,
        step_since=NOW,
        verdict=verdicts.Verdict("judge 1", verdicts.Label.INSUFFICIENT, (finding,)),
        holds=(model.Hold(model.HoldReason.INSUFFICIENT, NOW, "an hour without traffic"),),
        message="Waiting for requests.",
    )
    shown = (await client.get("/rollouts/r1")).json()
    expected = {"index": 2, "count": 5, "weight_pct": 5, "requests_needed": 100, "requests_seen": 50, "min_s": 0.0}
    assert shown["step"] == expected | {"since": "2026-11-23T12:00:00Z"}
    assert (shown["verdict"]["label"], shown["verdict"]["reason"]) == ("insufficient", sentence)
    assert shown["verdict"]["findings"][0]["effect"] == {"ratio": None, "low": 0.5, "high": None, "of": "error rate"}, (
        "JSON has no infinity"
    )
    assert shown["holds"] == [{"reason": "insufficient", "since": "2026-11-23T12:00:00Z", "detail": "an hour without traffic"}]
    why = (await client.get("/rollouts/r1/explain")).json()
    assert why["sentences"] == [
        "Canary of delay version 2 against champion 1, asked for by anonymous.",
        "Step 2 of 5 at 5 %: 50 of at least 100 challenger requests judged.",
        "error_rate: insufficient. Not enough is known yet.",
        "Held (insufficient): an hour without traffic",
        "Waiting for requests.",
    ]
    assert why["verdict"]["findings"][0]["threshold"] == 2.0
    assert why["policy"]["alpha"] == 0.01
    await move(store, model.Phase.ROLLED_BACK, reason="It fails more often.", ended_at=NOW)
    shown = (await client.get("/rollouts/r1")).json()
    assert (shown["outcome"], shown["open"], shown["split"], shown["reason"]) == (
        "rolled_back",
        False,
        None,
        "It fails more often.",
    )
    assert "It fails more often." in (await client.get("/rollouts/r1/explain")).json()["sentences"]


@pytest.mark.parametrize(
    "path", ["/rollouts/r9", "/rollouts/r9/events", "/rollouts/r9/explain", "/rollouts/r9/watch", "/rollouts?before=r9"]
)
async def test_an_unknown_rollout_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert "no rollout r9" in problem(await client.get(path), 404, "not-found").detail


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "abort", "undo", "retry"])
async def test_nothing_can_be_asked_of_an_unknown_rollout(client: httpx.AsyncClient, verb: str) -> None:
    problem(await client.post(f"/rollouts/r9/{verb}"), 404, "not-found")


@pytest.mark.parametrize(
    ("verb", "phase"),
    [
        ("promote", model.Phase.PROGRESSING),
        ("pause", model.Phase.STARTING),
        ("abort", model.Phase.PROMOTING),
        ("undo", model.Phase.PROBATION),
    ],
)
async def test_a_request_is_recorded_once_with_who_and_why(
    client: httpx.AsyncClient, store: MemoryStore, woken: list[str], verb: str, phase: model.Phase
) -> None:
    await serve(store, 1)
    await start(client)
    await move(store, phase)
    for body in ({"reason": "lunch"}, {"reason": "again"}):
        answer = await client.post(f"/rollouts/r1/{verb}", json=body, headers={"X-Slipway-Actor": "bob"})
        assert answer.status_code == 202
        assert answer.headers["location"] == "/api/v1/rollouts/r1"
        assert answer.json()["requests"][verb] == {"actor": "bob", "at": "2026-11-23T12:00:00Z", "reason": "lunch"}
    _, fact = await store.events(rollout_id="r1")
    assert (fact.event.kind, fact.event.actor) == (events.Kind.REQUESTED, "bob")
    assert fact.event.sentence == f"bob asked to {verb}: lunch"
    assert woken == ["delay"] * 3
    shown = (await client.get("/rollouts/r1/events")).json()
    assert [each["kind"] for each in shown["events"]] == ["created", "requested"]
    after = (await client.get(f"/rollouts/r1/events?after={shown['events'][0]['seq']}&limit=1")).json()
    assert [each["data"]["verb"] for each in after["events"]] == [verb]


async def test_a_pause_is_taken_back_by_resume(client: httpx.AsyncClient) -> None:
    await start(client)
    await client.post("/rollouts/r1/pause")
    assert (await client.post("/rollouts/r1/resume", json={})).json()["requests"]["pause"] is None


@pytest.mark.parametrize(
    ("verb", "phase", "words"),
    [
        ("promote", model.Phase.ROLLED_BACK, "retry"),
        ("promote", model.Phase.QUEUED, "not ready yet"),
        ("abort", model.Phase.PROMOTED, "use `undo`"),
        ("undo", model.Phase.PROGRESSING, "use `abort`"),
        ("retry", model.Phase.PROGRESSING, "abort it first"),
        ("pause", model.Phase.FAILED, "nothing to pause"),
    ],
)
async def test_what_makes_no_sense_now_is_refused_with_what_to_do(
    client: httpx.AsyncClient, store: MemoryStore, verb: str, phase: model.Phase, words: str
) -> None:
    await serve(store, 1)
    await start(client)
    await move(store, phase)
    assert words in problem(await client.post(f"/rollouts/r1/{verb}"), 409, "not-now").detail
    assert len(await store.events()) == 1


async def test_undo_after_the_end_is_a_rollout_back_even_without_the_registry(
    client: httpx.AsyncClient, store: MemoryStore, registry: MemoryRegistry
) -> None:
    await serve(store, 1)
    await start(client)
    await move(store, model.Phase.PROMOTED)
    await serve(store, 2, previous=1)
    registry.down = True
    headers = {"Idempotency-Key": "undo"}
    answer = await client.post("/rollouts/r1/undo", json={"reason": "it is worse"}, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/api/v1/rollouts/r2"
    shown = answer.json()
    assert (shown["version"], shown["champion"], shown["strategy"], shown["undo_of"]) == (1, 2, "blue-green", "r1")
    again = await client.post("/rollouts/r1/undo", json={"reason": "it is worse"}, headers=headers)
    assert again.headers["location"] == "/api/v1/rollouts/r2"
    problem(await client.post("/rollouts/r1/undo"), 409, "already-open")


async def test_retry_is_a_new_rollout_of_the_same(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await start(client, replicas=2)
    await move(store, model.Phase.FAILED)
    headers = {"Idempotency-Key": "retry"}
    for _ in range(2):
        answer = await client.post("/rollouts/r1/retry", headers=headers)
        assert answer.headers["location"] == "/api/v1/rollouts/r2"
    assert (answer.json()["retry_of"], answer.json()["replicas"]) == ("r1", 2)
    assert len(await store.rollouts()) == 2


async def test_the_same_key_and_body_have_one_effect(
    client: httpx.AsyncClient, store: MemoryStore, registry: MemoryRegistry
) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await client.post("/rollouts", json=START, headers=headers)
    registry.down = True
    again = await client.post("/rollouts", json=START | {"strategy": "canary"}, headers=headers)
    assert (again.status_code, again.json(), again.headers["location"]) == (202, first.json(), first.headers["location"])
    other = problem(await client.post("/rollouts", json=START | {"version": 3}, headers=headers), 422, "invalid")
    assert other.errors[0].field == "header.Idempotency-Key"
    problem(await client.post("/rollouts/r1/abort", headers=headers), 422, "invalid")
    assert len(await store.events()) == 1


async def test_a_late_repetition_does_not_pause_again(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await start(client)
    await client.post("/rollouts/r1/pause")
    noop = {"Idempotency-Key": "paused already"}
    assert (await client.post("/rollouts/r1/pause", headers=noop)).status_code == 202
    await client.post("/rollouts/r1/resume")
    assert (await client.post("/rollouts/r1/pause", headers=noop)).json()["requests"]["pause"] is None
    assert (await store.rollout("r1")).requests.pause is None


async def test_the_same_call_at_once_from_many_has_one_effect(client: httpx.AsyncClient, store: MemoryStore) -> None:
    headers = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(*(client.post("/rollouts", json=START, headers=headers) for _ in range(20)))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, (await store.rollouts())[0].id)}
    answers = await asyncio.gather(
        *(client.post(answers[0].json()["links"]["abort"].removeprefix("/api/v1")) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len(await store.events()) == 2


@pytest.mark.parametrize(
    ("header", "value"),
    [("X-Slipway-Actor", "x" * 101), ("X-Slipway-Actor", "a\tb"), ("Idempotency-Key", "é"), ("Idempotency-Key", "k" * 201)],
)
async def test_headers_have_limits(client: httpx.AsyncClient, header: str, value: str) -> None:
    told = problem(await client.post("/rollouts", json=START, headers={header.encode(): value.encode()}), 422, "invalid")
    assert told.errors[0].field.lower() == f"header.{header}".lower()


async def test_a_policy_may_be_named_and_changed(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await serve(store, 1)
    await start(client, policy="cautious")
    assert (await store.rollout("r1")).spec.policy == presets.CAUTIOUS
    await move(store, model.Phase.FAILED)
    await start(client, policy={"preset": "fast", "alpha": 0.02, "latency": {"margin_ms": 40}, "error_rate": {"weight": 1}})
    policy = (await store.rollout("r2")).spec.policy
    assert policy.latency is not None
    assert (policy.alpha, policy.beta, policy.latency.margin_ms, policy.error_rate.weight) == (0.02, 0.1, 40, 1)
    assert policy.latency.quantiles_pct == (50.0, 90.0)
    await move(store, model.Phase.FAILED, "r2")
    await start(client, policy={"preset": "fast", "latency": None})
    assert (await store.rollout("r3")).spec.policy.latency is None
    await move(store, model.Phase.FAILED, "r3")
    await start(client, policy={"preset": "cautious", "prediction_shift": {}, "on_drift": "ignore"})
    policy = (await store.rollout("r4")).spec.policy
    assert policy.prediction_shift == PredictionShiftGuard(ordered=None)
    assert policy.on_drift is OnDrift.IGNORE


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("speedy", "there are cautious, standard, fast"),
        ({"preset": "speedy"}, "there are cautious, standard, fast"),
        ({"preset": "fast", "latencyy": {}}, "latencyy"),
        ({"latency": {"tolerance_percent": 3}}, "tolerance_percent"),
        ({"latency": {"tolerance_pct": 50}}, "tolerance_pct < margin_pct"),
    ],
)
async def test_a_policy_with_a_mistake_names_it(client: httpx.AsyncClient, policy: Any, words: str) -> None:
    answer = await client.post("/rollouts", json=START | {"policy": policy})
    assert answer.status_code == 422
    assert words in answer.text


async def test_a_ramp_instead_of_steps(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await serve(store, 1)
    shown = await start(client, auto={"bake_s": 5})
    assert (await store.rollout("r1")).spec.auto == model.Ramp(bake_s=5)
    assert (shown["steps"], shown["auto"]["bake_s"], shown["step"]["count"]) == ([], 5, None)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"auto": {}, "steps": [5, 100]}, "either steps or auto"),
        ({"auto": {}, "strategy": "blue-green"}, "has no ramp"),
        ({"auto": {"hold_pct": 100}}, "hold_pct must be 1 to 99"),
        ({"auto": {"hold": 50}}, "auto.hold"),
    ],
)
async def test_a_ramp_with_a_mistake_names_it(client: httpx.AsyncClient, store: MemoryStore, more: Any, words: str) -> None:
    await serve(store, 1)
    answer = await client.post("/rollouts", json=START | more)
    assert answer.status_code == 422
    assert words in answer.text
