"""The webhook: one rollback for one alert about the challenger, and nothing for anything else; every decision in the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from controlplane.api import services
from controlplane.store.memory import MemoryStore
from rollout import commands, model

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOKEN = {"Authorization": "Bearer sesame"}
LABELS = {"alertname": "SlipwayVersionFails", "model": "delay", "model_version": "2", "action": "rollback"}

Connect = Callable[[services.Services], httpx.AsyncClient]


def alert(since: datetime = NOW, fingerprint: str = "a1b2", status: str = "firing", **labels: str) -> dict[str, Any]:
    """As Alertmanager 0.25 sends it, and one field of the future."""
    return {
        "status": status,
        "labels": {name: value for name, value in (LABELS | labels).items() if value},
        "annotations": {"summary": f"Version 2 fails {fingerprint}"},
        "startsAt": since.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": fingerprint,
        "notification_reason": "new",
    }


def notification(*alerts: dict[str, Any]) -> dict[str, Any]:
    head = {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "slipway"}
    return {**head, "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": list(alerts)}


@pytest.fixture
def armed(parts: services.Services) -> services.Services:
    return replace(parts, alert_token="sesame")


@pytest.fixture
def client(armed: services.Services, connect: Connect) -> httpx.AsyncClient:
    return connect(armed)


@pytest.fixture
async def rollout(store: MemoryStore) -> model.Rollout:
    """A canary of version 2 that began a minute ago."""
    spec = model.Spec(model="delay", version=2, champion=1)
    began = NOW - timedelta(minutes=1)
    made = commands.new_rollout(spec, "r1", began)
    going = replace(made, status=replace(made.status, phase=model.Phase.PROGRESSING, had_traffic=True))
    await store.create(going, [])
    return going


async def sent(client: httpx.AsyncClient, *alerts: dict[str, Any]) -> list[str]:
    answer = await client.post("/alerts", json=notification(*alerts), headers=TOKEN)
    assert answer.status_code == 200, answer.text
    return [one["decision"] for one in answer.json()]


async def history(store: MemoryStore) -> list[str]:
    return [stored.event.sentence for stored in await store.events(rollout_id="r1")]


async def aborted(store: MemoryStore) -> bool:
    return (await store.rollout("r1")).requests.abort is not None


async def test_a_firing_alert_takes_the_challenger_back(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout, woken: list[str]
) -> None:
    assert await sent(client, alert()) == ["obeyed"]
    asked = (await store.rollout("r1")).requests.abort
    assert asked is not None
    assert asked.actor == "alertmanager"
    assert woken == ["delay"], "at once, not at the next look"
    (said,) = await history(store)
    assert said.startswith(
        "alertmanager asked to abort: alert SlipwayVersionFails about version 2, firing since 2026-11-23T12:00:00"
    )


async def test_the_same_alert_again_and_again_is_one_rollback(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout
) -> None:
    twice = await asyncio.gather(*(sent(client, alert()) for _ in range(5)))
    assert sorted(decision for (decision,) in twice)[:1] == ["obeyed"]
    assert {decision for (decision,) in twice} <= {"obeyed", "repeated", "leaving"}
    assert await sent(client, alert(), alert()) == ["repeated", "repeated"]
    assert await sent(client, alert(fingerprint="other")) == ["leaving"]
    assert len([said for said in await history(store) if "asked to abort" in said]) == 1


async def test_a_replay_does_not_hit_the_next_rollout(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout
) -> None:
    captured = alert()
    assert await sent(client, captured) == ["obeyed"]
    over = await store.rollout("r1")
    gone = replace(over, status=replace(over.status, phase=model.Phase.ROLLED_BACK, ended_at=NOW))
    await store.save(gone, None, [])
    again = commands.new_rollout(rollout.spec, "r2", NOW + timedelta(seconds=10))
    await store.create(again, [])
    assert await sent(client, captured) == ["repeated"]
    assert await sent(client, alert(fingerprint="ffff")) == ["stale"], "it began before this rollout"
    assert (await store.rollout("r2")).requests.abort is None


@pytest.mark.parametrize(
    ("sort", "decision"),
    [
        (alert(status="resolved"), "resolved"),
        (alert(model_version="1"), "not_challenger"),
        (alert(model_version="3"), "not_challenger"),
        (alert(model_version=""), "not_meant"),
        (alert(model_version="²"), "not_meant"),
        (alert(action=""), "not_meant"),
        (alert(model="unheard-of"), "no_rollout"),
        (alert(since=NOW - timedelta(minutes=5)), "stale"),
        (alert(since=NOW - timedelta(days=5)), "stale"),
        (alert(since=NOW + timedelta(minutes=5)), "stale"),
    ],
)
async def test_whatever_is_not_clearly_about_this_rollout_does_nothing(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout, sort: dict[str, Any], decision: str
) -> None:
    assert await sent(client, sort) == [decision]
    assert not await aborted(store)
    noted = await history(store)
    assert len(noted) == (decision in {"not_challenger", "stale"}), "what was decided about a rollout is in its history"


async def test_a_clock_a_few_seconds_behind_is_no_reason(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout
) -> None:
    assert await sent(client, alert(since=rollout.created_at - timedelta(seconds=3))) == ["obeyed"]


async def test_a_first_version_has_nothing_to_go_back_to(client: httpx.AsyncClient, store: MemoryStore) -> None:
    first = commands.new_rollout(model.Spec(model="delay", version=2, champion=None), "r1", NOW)
    await store.create(first, [])
    assert await sent(client, alert()) == ["no_target"]
    assert not await aborted(store)


async def test_an_ended_rollout_is_left_alone(client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout) -> None:
    over = await store.rollout("r1")
    await store.save(replace(over, status=replace(over.status, phase=model.Phase.PROMOTED, ended_at=NOW)), None, [])
    assert await sent(client, alert()) == ["no_rollout"]
    assert not await aborted(store)
    (said,) = await history(store)
    assert "no open rollout" in said


async def test_a_dry_run_says_what_it_would_do_and_does_not_use_the_alert_up(
    armed: services.Services, connect: Connect, store: MemoryStore, rollout: model.Rollout
) -> None:
    dry = connect(replace(armed, alert_dry_run=True))
    assert await sent(dry, alert()) == ["dry_run"]
    assert not await aborted(store)
    assert "A dry run" in (await history(store))[0]
    assert await sent(connect(armed), alert()) == ["obeyed"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic sesame"}, {"Authorization": "sesamé"}]
)
async def test_who_does_not_know_the_token_does_nothing(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout, headers: dict[str, str]
) -> None:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    answer = await client.post("/alerts", json=notification(alert()), headers=raw)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "sesame" not in answer.text
    assert not await aborted(store)


async def test_without_a_token_it_is_off(parts: services.Services, connect: Connect, rollout: model.Rollout) -> None:
    answer = await connect(parts).post("/alerts", json=notification(alert()), headers={"Authorization": "Bearer "})
    assert answer.status_code == 403
    assert "SLIPWAY_ALERT_TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**notification(alert()), "version": "3"},
        {**notification(), "alerts": [{**alert(), "startsAt": "yesterday"}]},
        {**notification(), "alerts": [{**alert(), "startsAt": "2026-11-23T12:00:00"}]},
        {**notification(), "alerts": [{**alert(), "fingerprint": "../.."}]},
        {**notification(), "alerts": [{**alert(), "status": "maybe"}]},
        {**notification(), "alerts": [alert()] * 1001},
        {**notification(), "alerts": [{**alert(), "labels": {"model": 1}}]},
    ],
)
async def test_what_is_malformed_is_refused_as_a_whole(
    client: httpx.AsyncClient, store: MemoryStore, rollout: model.Rollout, body: dict[str, Any]
) -> None:
    answer = await client.post("/alerts", json=body, headers=TOKEN)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert not await aborted(store)


async def test_decisions_are_counted(client: httpx.AsyncClient, rollout: model.Rollout) -> None:
    await sent(client, alert(), alert(model_version="3", fingerprint="b"))
    text = (await client.get("http://slipway/metrics")).text
    assert 'slipway_alert_decisions_total{decision="obeyed"} 1.0' in text
    assert 'slipway_alert_decisions_total{decision="not_challenger"} 1.0' in text
