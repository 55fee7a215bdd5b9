"""Notifications over the API: receivers without their secrets, dead letters page by page, sent again on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import httpx
import pydantic
import pytest

from controlplane.api import services
from controlplane.notifications.notifier import Notifier
from controlplane.notifications.receivers import Receiver
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_outbox import MemoryOutbox
from rollout import events

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOOK = "https://hooks.slack.example/services/T0/SECRET"

Connect = Callable[[services.Services], httpx.AsyncClient]


@pytest.fixture
def outbox(store: MemoryStore) -> MemoryOutbox:
    return MemoryOutbox(store)


@pytest.fixture
def client(parts: services.Services, connect: Connect, outbox: MemoryOutbox, store: MemoryStore) -> httpx.AsyncClient:
    """Of an API with one receiver, to which nothing is sent here: the notifier is not started."""
    team = Receiver(name="team", url=pydantic.SecretStr(HOOK), format="slack", models=("flight-*",))
    notifier = Notifier([team], outbox=outbox, store=store, changes=parts.changes, clock=lambda: NOW, recorder=parts.recorder)
    return connect(replace(parts, notifier=notifier))


def _is_for(receiver: str, event: events.Event) -> bool:
    return event.sentence.startswith(receiver)


@pytest.fixture
async def dead(outbox: MemoryOutbox, store: MemoryStore) -> None:
    """Three letters of `team`, and one of a receiver that is gone."""
    for receiver, many in (("team", 3), ("gone", 1)):
        await outbox.collect(receiver, lambda _: True, NOW, limit=100)
        facts = [events.Event("r1", "flight-delay", NOW, events.Kind.ENDED, f"{receiver} {number}") for number in range(many)]
        await store.save(None, None, facts)
        await outbox.collect(receiver, partial(_is_for, receiver), NOW, limit=100)
        while (letter := await outbox.first(receiver)) is not None:
            await outbox.bury(letter.id, NOW, "it answered 404 Not Found")


@pytest.mark.usefixtures("dead")
async def test_receivers_are_shown_without_their_secrets(client: httpx.AsyncClient) -> None:
    answer = await client.get("/notifications")
    gone, team = answer.json()["receivers"]
    assert gone == {**gone, "name": "gone", "format": None, "address": None, "waiting": 0, "dead": 1, "last": None}
    assert team["address"] == "https://hooks.slack.example/…"
    assert (team["name"], team["format"], team["models"], team["dead"]) == ("team", "slack", ["flight-*"], 3)
    assert "SECRET" not in answer.text


@pytest.mark.usefixtures("dead")
async def test_dead_letters_are_paged_newest_first(client: httpx.AsyncClient) -> None:
    first = (await client.get("/notifications/dead", params={"limit": 2, "receiver": "team"})).json()
    assert [one["sentence"] for one in first["letters"]] == ["team 2", "team 1"]
    assert first["letters"][0] == {
        **first["letters"][0],
        "receiver": "team",
        "rollout": "r1",
        "model": "flight-delay",
        "kind": "ended",
        "error": "it answered 404 Not Found",
        "attempts": 1,
    }
    rest = (await client.get(first["next"].removeprefix("/api/v1"))).json()
    assert [one["sentence"] for one in rest["letters"]] == ["team 0"]
    assert rest["next"] is None


@pytest.mark.usefixtures("dead")
async def test_one_or_all_are_sent_again_but_not_to_who_is_gone(client: httpx.AsyncClient, outbox: MemoryOutbox) -> None:
    letters = (await client.get("/notifications/dead")).json()["letters"]
    ids = {one["sentence"]: one["id"] for one in letters}
    answer = await client.post(f"/notifications/dead/{ids['team 1']}/resend")
    assert (answer.status_code, answer.json()) == (202, {"letters": 1})
    first = await outbox.first("team")
    assert first is not None
    assert first.stored.event.sentence == "team 1"
    for unknown in (ids["team 1"], ids["gone 0"], 99):
        answer = await client.post(f"/notifications/dead/{unknown}/resend")
        assert answer.status_code == 404
        assert f"no dead letter {unknown}" in answer.json()["detail"]
    assert (await client.post("/notifications/dead/resend", json={})).json() == {"letters": 2}
    assert (await client.get("/notifications/dead")).json()["letters"] == [one for one in letters if one["receiver"] == "gone"]


async def test_bad_wishes_are_told(client: httpx.AsyncClient) -> None:
    answer = await client.post("/notifications/dead/resend", json={"receiver": "nobody"})
    assert (answer.status_code, answer.json()["detail"]) == (404, "notifications: there is no receiver nobody")
    assert (await client.post("/notifications/dead/resend", json={"reciever": "team"})).status_code == 422
    assert (await client.post("/notifications/dead/zero/resend")).status_code == 422
    assert (await client.get("/notifications/dead", params={"limit": 0})).status_code == 422
    assert (await client.post("/notifications/dead/resend", json={})).json() == {"letters": 0}


async def test_without_receivers_there_is_nothing(parts: services.Services, connect: Connect) -> None:
    client = connect(parts)
    assert (await client.get("/notifications")).json() == {"receivers": []}
    assert (await client.get("/notifications/dead")).json() == {"letters": [], "next": None}
    answer = await client.post("/notifications/dead/1/resend")
    assert (answer.status_code, "SLIPWAY_NOTIFY_FILE" in answer.json()["detail"]) == (404, True)
