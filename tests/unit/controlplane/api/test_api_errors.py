"""Whatever comes in: an answer in words, never a stack trace, and nothing stored by halves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.api import app, schemas, services
from controlplane.store.memory import MemoryStore
from rollout import events, model, ports

JSON = {"Content-Type": "application/json"}


class Contested(MemoryStore):
    """Somebody else saves first, so many times."""

    lost = 0

    def __init__(self, losses: int) -> None:
        super().__init__()
        self._losses = losses

    async def save(
        self,
        rollout: model.Rollout | None,
        record: model.ModelRecord | None,
        facts: Any,
        *,
        idempotency: ports.Idempotency | None = None,
        reading: model.Reading | None = None,
    ) -> None:
        if self.lost < self._losses:
            self.lost += 1
            raise ports.Stale("somebody else saved first")
        await super().save(rollout, record, facts, idempotency=idempotency, reading=reading)


class Defect(MemoryStore):
    async def records(self) -> Any:
        raise ZeroDivisionError("secret words")


def problem(answer: httpx.Response, status: int, kind: str) -> schemas.Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = schemas.Problem.model_validate(answer.json())
    assert (told.status, told.type, told.instance) == (status, f"urn:slipway:problem:{kind}", answer.url.path)
    return told


@pytest.mark.parametrize("content", [b"{", b"", b"{'a': 1}", b'{"model": "delay",}', b"nul"])
async def test_malformed_json_tells_where(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/rollouts", content=content, headers=JSON)
    if content:
        assert "not valid JSON at character" in problem(answer, 400, "malformed").detail
    else:
        assert problem(answer, 422, "invalid").detail == "body: is required"


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b"[" * 100_000, b"9" * 5000, b'{"version": ' + b"9" * 5000 + b"}"])
async def test_json_that_cannot_be_read_is_a_bad_request(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/rollouts", content=content, headers=JSON)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content", [b"[]", b"null", b"7", b'"delay"'])
async def test_json_of_another_kind_is_not_valid(client: httpx.AsyncClient, content: bytes) -> None:
    problem(await client.post("/rollouts", content=content, headers=JSON), 422, "invalid")


async def test_names_that_are_no_unicode_are_told_without_breaking(client: httpx.AsyncClient) -> None:
    content = json.dumps({"model": "delay\ud800", "version": 2, "key\udfff": 1}).encode()
    problem(await client.post("/rollouts", content=content, headers=JSON), 422, "invalid")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonish"])
async def test_a_body_must_say_that_it_is_json(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await client.post("/rollouts", content=b'{"model": "delay", "version": 2}', headers=headers)
    assert "Content-Type: application/json" in problem(answer, 415, "not-json").detail


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.slipway+json", "APPLICATION/JSON"])
async def test_json_by_another_name_is_json(client: httpx.AsyncClient, kind: str) -> None:
    content = b'{"model": "delay", "version": 2}'
    assert (await client.post("/rollouts", content=content, headers={"Content-Type": kind})).status_code == 202


async def test_a_large_body_is_refused_by_its_stated_length(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rollouts", content=b"x", headers=JSON | {"Content-Length": "99999999999"})
    assert "larger than 1048576 bytes" in problem(answer, 413, "too-large").detail


@pytest.mark.parametrize(("chunks", "sent_at_most"), [(12, 12), (10_000, 340)])
async def test_a_large_body_of_unknown_length_is_thrown_away_for_a_while(
    client: httpx.AsyncClient, chunks: int, sent_at_most: int
) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(chunks):
            sent += 1
            yield b" " * 100_000

    problem(await client.post("/rollouts", content=body(), headers=JSON), 413, "too-large")
    assert sent <= sent_at_most


async def test_a_caller_that_goes_away_within_the_body_has_asked_for_nothing(
    client: httpx.AsyncClient, parts: services.Services, store: MemoryStore
) -> None:
    await client.post("/rollouts", json={"model": "delay", "version": 2})
    coming = [{"type": "http.request", "body": b"", "more_body": True}, {"type": "http.disconnect"}]
    answered = []

    async def receive() -> Any:
        return coming.pop(0)

    async def send(message: Any) -> None:
        answered.append(message)

    path = "/api/v1/rollouts/r1/abort"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    await app.create_app(parts)(scope, receive, send)
    assert answered == []
    assert (await store.rollout("r1")).requests.abort is None


async def test_pages_of_other_sites_may_not_change_anything(client: httpx.AsyncClient, store: MemoryStore) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    problem(await client.post("/rollouts/r1/abort", headers=headers), 403, "cross-site")
    assert (await client.get("/models", headers=headers)).status_code == 200


async def test_unknown_addresses_and_methods_are_told(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nothing/here"), 404, "not-found")
    answer = await client.delete("/rollouts")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"]


async def test_a_defect_of_ours_shows_nothing_of_its_inside(
    parts: services.Services,
) -> None:
    transport = httpx.ASGITransport(app.create_app(replace(parts, store=Defect())), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://slipway/api/v1") as client:
        answer = await client.get("/models")
    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "Zero" not in answer.text


async def test_a_request_that_loses_a_race_tries_again(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    store = Contested(losses=4)
    async with connect(replace(parts, store=store)) as client:
        await client.post("/rollouts", json={"model": "delay", "version": 2})
        assert (await client.post("/rollouts/r1/abort")).status_code == 202
    assert store.lost == 4
    assert (await store.rollout("r1")).requests.abort is not None


async def test_a_request_that_loses_every_race_gives_up(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services
) -> None:
    store = Contested(losses=1000)
    async with connect(replace(parts, store=store)) as client:
        await client.post("/rollouts", json={"model": "delay", "version": 2})
        told = problem(await client.post("/rollouts/r1/abort"), 409, "changed-meanwhile")
    assert "nothing was written" in told.detail
    assert store.lost == 5


async def test_the_documentation_is_complete(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 34
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        for status, response in operation["responses"].items():
            assert response["content"], "every answer has a schema"
            if int(status) >= 400 and operation["operationId"] != "health_readyz":
                assert list(response["content"]) == ["application/problem+json"]
    assert schema["components"]["schemas"]["RolloutBody"]["examples"]
    assert (await client.get("/docs")).status_code == 200


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
WEIGHTS = st.lists(
    st.integers(-1, 101)
    | st.fixed_dictionaries({"weight_pct": st.integers(0, 100)}, optional={"requests": ANY_JSON, "min_s": ANY_JSON}),
    max_size=4,
)
POLICY = st.fixed_dictionaries(
    {},
    optional={
        "alpha": st.floats() | ANY_JSON,
        "error_rate": st.fixed_dictionaries({}, optional={"margin_ratio": st.floats(), "tolerance_pct": st.floats()})
        | ANY_JSON,
        "insufficient_deadline_s": st.floats(),
        "on_blind": st.sampled_from(["hold", "roll_back", "promote"]) | ANY_JSON,
    },
)
BODIES = ANY_JSON | st.fixed_dictionaries(
    {
        "model": st.sampled_from(["delay", "unsigned", "Bad_Name", "taxi"]) | ANY_JSON,
        "version": st.integers(0, 4) | ANY_JSON,
    },
    optional={
        "strategy": st.sampled_from(["canary", "blue-green"]) | ANY_JSON,
        "steps": WEIGHTS | ANY_JSON,
        "policy": POLICY | ANY_JSON,
        "replicas": st.integers() | ANY_JSON,
        "start_deadline_s": st.floats() | ANY_JSON,
        "probation_s": st.floats() | ANY_JSON,
        "note": st.text() | ANY_JSON,
        "extra": ANY_JSON,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, path=st.sampled_from(["/rollouts", "/rollouts/plan", "/rollouts/r1/pause", "/rollouts/r1/retry"]))
def test_no_body_whatever_breaks_it(
    connect: Callable[[services.Services], httpx.AsyncClient], parts: services.Services, body: Any, path: str
) -> None:
    """An exception in a route would fail the test through the transport."""
    store = MemoryStore()

    async def send() -> None:
        async with connect(replace(parts, store=store)) as client:
            answer = await client.post(path, content=json.dumps(body).encode(), headers=JSON)
            assert answer.status_code in (200, 202, 404, 409, 422), answer.text
            if answer.status_code >= 400:
                schemas.Problem.model_validate(answer.json())
            stored: list[events.Stored] = list(await store.events())
            assert len(stored) == len(await store.rollouts()) == (1 if answer.status_code == 202 else 0)

    asyncio.run(send())
