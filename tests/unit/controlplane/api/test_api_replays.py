"""A rollout judged again over the API, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import httpx
import pytest

from controlplane.store.memory import MemoryStore
from judge.samples import Sample
from rollout import commands, judging, model

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def judged(store: MemoryStore) -> model.Rollout:
    """Version 3 fails five times as often as version 2, and was rolled back for it."""
    rollout = commands.new_rollout(model.Spec("delay", 3, 2), "r9", START)
    await store.create(rollout, [])
    for second in range(40):
        phase = model.Phase.STARTING if second < 2 else model.Phase.PROGRESSING
        counted = (Sample("g", 1, 2, 900 * second, 9 * second), Sample("g", 1, 3, 100 * second, 5 * second))
        rollout = await store.rollout("r9")
        found = judging.judge(
            replace(rollout, status=replace(rollout.status, phase=phase)),
            model.Observed(START + timedelta(seconds=second), samples=counted),
        )
        await store.save(found.rollout, None, [], reading=found.reading)
    rollout = await store.rollout("r9")
    ended = replace(rollout.status, phase=model.Phase.ROLLED_BACK, decided_at=START + timedelta(seconds=30))
    await store.save(replace(rollout, status=ended), None, [])
    return await store.rollout("r9")


async def test_by_its_own_rules_the_stored_evidence_comes_out(client: httpx.AsyncClient, judged: model.Rollout) -> None:
    answer = (await client.post("/rollouts/r9/replay")).json()
    assert answer["reproduced"] is True
    assert answer["readings"] == 40
    assert "bit for bit" in answer["sentence"]
    assert [guard["guard"] for guard in answer["looks"][-1]["guards"]] == ["error_rate", "latency"]
    assert judged.status.verdict is not None
    assert answer["verdict"]["evidence"] == pytest.approx(judged.status.verdict.evidence)


async def test_other_rules_say_what_they_would_have_done(client: httpx.AsyncClient, judged: model.Rollout) -> None:
    del judged
    lax = {"policy": {"latency": None, "error_rate": {"tolerance_ratio": 50, "margin_ratio": 100}}}
    answer = (await client.post("/rollouts/r9/replay", json=lax)).json()
    assert (answer["reproduced"], answer["failed_at"]) == (None, None)
    assert answer["sentence"].startswith("This policy would have passed it at")
    assert "It was rolled back, decided at 00:00:30." in answer["sentence"]
    refused = await client.post("/rollouts/r9/replay", json={"policy": {"alhpa": 0.1}})
    assert refused.status_code == 422
    assert "alhpa" in refused.text


async def test_the_picture_is_a_picture(client: httpx.AsyncClient, judged: model.Rollout) -> None:
    del judged
    drawn = await client.get("/rollouts/r9/plot.svg")
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert ET.fromstring(drawn.content).tag.endswith("svg")
    assert drawn.content == (await client.get("/rollouts/r9/plot.svg")).content, "drawn alike each time"
    assert (await client.get("/rollouts/r9/plot.png")).content.startswith(b"\x89PNG")
    assert (await client.get("/rollouts/r9/plot.gif")).status_code == 422
    assert (await client.get("/rollouts/nope/plot.svg")).status_code == 404


async def test_a_rollout_that_was_never_judged_can_be_asked_too(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await store.create(commands.new_rollout(model.Spec("delay", 3, 2), "r9", START), [])
    answer = (await client.post("/rollouts/r9/replay")).json()
    assert (answer["reproduced"], answer["looks"], answer["verdict"]) == (None, [], None)
    assert (await client.get("/rollouts/r9/plot.svg")).status_code == 200
