"""The watcher sees what replicas count, keeps it over restarts, tells what changed once, and is stopped by nobody's failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from bentos.mlflow_model.scoring import counting
from controlplane.broadcast import Broadcast
from controlplane.drift import gauges
from controlplane.drift.ledger import Judged
from controlplane.drift.versions import Policy
from controlplane.drift.watcher import Look, Watcher
from controlplane.metrics.recorder import Recorder, Replica
from controlplane.store.memory import MemoryStore
from controlplane.store.memory_drift import MemoryLedger
from monitoring import names
from monitoring.drift.reference import Reference, read
from monitoring.drift.replicas import MemoryReplicas, Silent
from monitoring.drift.verdict import Break, Label
from monitoring.drift.windows import Counted
from registry import profile
from rollout import events, model, ports

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(rows=1000, longest=timedelta(hours=6))


class Served:
    """A version whose features are made here: `x` matters, `hour` is a clock."""

    def __init__(self, seed: int, *, wide: bool = False) -> None:
        chance = np.random.default_rng(seed)
        columns: dict[str, Any] = {"x": chance.normal(size=6400), "hour": np.arange(6400) // 60 % 24}
        if wide:
            columns["y"] = chance.normal(size=6400)
        made = profile.build(columns, _score(columns["x"]), importance={"x": 1.0}, clocks=["hour"])
        self.raw = json.dumps(made.to_json()).encode()
        self.made, self.known = made, read(self.raw)

    def counts(self, rows: int, *, shift: float = 0.0, seed: int = 1) -> np.ndarray[Any, Any]:
        chance = np.random.default_rng(seed)
        live: dict[str, Any] = {"hour": np.arange(rows) // 60 % 24}
        live |= {"x": chance.normal(size=rows) + shift, "y": chance.normal(size=rows)}
        total = np.zeros(self.known.size, dtype=np.int64)
        for column, start in zip((*self.made.features, self.made.predictions), self.known.starts, strict=True):
            values = _score(live["x"]) if column is self.made.predictions else live[column.name]
            counted = np.bincount(column.places(values))
            total[start : start + len(counted)] += counted
        return total


def _score(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(1 / (1 + np.exp(-x)))


@dataclass
class Site:
    """One model, its replicas, and a control plane that can be started again over the same store."""

    store: MemoryStore = field(default_factory=MemoryStore)
    replicas: MemoryReplicas = field(default_factory=MemoryReplicas)
    serving: list[Replica] = field(default_factory=list)
    now: datetime = NOW
    failed: list[str] = field(default_factory=list)
    alarmed: list[Judged] = field(default_factory=list)
    totals: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.store)
        self.restart()

    def restart(self) -> None:
        self.watcher = Watcher(
            ledger=self.ledger,
            store=self.store,
            reader=self.replicas,
            in_service=lambda: self.serving,
            clock=lambda: self.now,
            changes=Broadcast(),
            every_s=0,
            policy=POLICY,
            failed=self.failed.append,
            alarmed=self.alarmed.append,
        )

    def serve(self, version: int, address: str, what: Served) -> None:
        self.serving.append(Replica("m", version, address))
        self.replicas.profiles[address] = what.raw
        self.totals[address] = np.zeros(what.known.size, dtype=np.int64)
        self._answer(address, what.known)

    def count(self, address: str, what: Served, counts: np.ndarray[Any, Any], process: str = "p1") -> None:
        self.totals[address] = self.totals[address] + counts
        self._answer(address, what.known, process)

    def _answer(self, address: str, known: Reference, process: str = "p1") -> None:
        self.replicas.answers[address] = Counted(address, process, known.fingerprint, tuple(self.totals[address].tolist()))

    async def look(self, minutes: float = 2) -> tuple[Look, ...]:
        self.now += timedelta(minutes=minutes)
        await self.watcher.once()
        return self.watcher.looks("m")

    async def told(self) -> list[tuple[events.Kind, str]]:
        found = await self.store.events(model_name="m")
        return [(stored.event.kind, str(stored.event.data["label"])) for stored in found]


def label(look: Look) -> Label | None:
    return look.judged.verdict.label if look.judged is not None else None


async def test_a_shift_is_found_told_once_and_over_again() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    (look,) = await site.look()
    assert label(look) is Label.NOT_ENOUGH_DATA
    site.count("a:1", what, what.counts(600))
    (look,) = await site.look()
    assert label(look) is Label.NONE
    assert await site.told() == [(events.Kind.DRIFT, "none")]
    site.count("a:1", what, what.counts(1500, shift=1.5, seed=2))
    (look,) = await site.look()
    assert label(look) is Label.HARMFUL
    assert site.watcher.alarm("m", 1).startswith("Version 1: Harmful drift: predictions moved from ")
    assert site.watcher.alarm("m", 2) == ""
    await site.look()
    assert (await site.told())[1:] == [(events.Kind.DRIFT_ALARM, "harmful")]
    assert [judged.verdict.label for judged in site.alarmed] == [Label.HARMFUL], "who makes reports hears of it once"
    fact = (await site.store.events(model_name="m"))[-1].event
    assert fact.sentence.startswith("Version 1: Harmful drift: predictions moved from ")
    assert fact.data["columns"] == ["prediction", "x"]
    site.count("a:1", what, what.counts(1500, seed=3))
    assert label((await site.look())[0]) is Label.NONE
    assert site.watcher.alarm("m", 1) == ""
    assert (await site.told())[2:] == [(events.Kind.DRIFT, "none")]


async def test_replicas_add_up_and_a_new_life_is_no_loss() -> None:
    site, what = Site(), Served(0)
    for address in ("a:1", "b:1"):
        site.serve(1, address, what)
        site.count(address, what, what.counts(300))
    (look,) = await site.look()
    assert look.judged is not None
    assert look.judged.verdict.rows == 600
    site.totals["a:1"][:] = 0
    site.count("a:1", what, what.counts(100), process="p2")
    (look,) = await site.look()
    assert look.judged is not None
    assert look.judged.verdict.rows == 700


async def test_a_restart_of_the_control_plane_counts_no_row_twice_and_tells_nothing_twice() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.count("a:1", what, what.counts(1200, shift=1.5))
    await site.look()
    told = await site.told()
    assert told == [(events.Kind.DRIFT_ALARM, "harmful")]
    site.restart()
    (look,) = await site.look()
    assert look.judged is not None
    assert look.judged.verdict.rows == 1200
    assert await site.told() == told


async def test_small_gains_wait_unread_and_are_not_lost() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    await site.look()
    site.count("a:1", what, what.counts(500))
    await site.look()
    site.count("a:1", what, what.counts(5))
    (look,) = await site.look(minutes=0.1)
    assert look.judged is not None
    assert look.judged.verdict.rows == 500
    (look,) = await site.look()
    assert look.judged is not None
    assert look.judged.verdict.rows == 505


async def test_a_window_ends_with_time_and_a_clock_that_goes_back_harms_nothing() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.count("a:1", what, what.counts(600))
    await site.look()
    site.now -= timedelta(hours=3)
    site.count("a:1", what, what.counts(600, seed=2))
    (look,) = await site.look()
    assert look.judged is not None
    assert look.judged.verdict.rows >= 600
    assert label((await site.look(minutes=24 * 60))[0]) is Label.NOT_ENOUGH_DATA


async def test_without_a_profile_or_with_another_schema_it_says_so() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.serve(2, "b:1", what)
    site.serve(3, "c:1", what)
    site.replicas.answers["a:1"] = Silent("a:1", "the version has no reference profile")
    site.replicas.profiles["b:1"] = json.dumps({"format": 9}).encode()
    del site.replicas.answers["c:1"]
    third, second, first = await site.look()
    assert first.reason == "the version has no reference profile"
    assert "format is 9, and this slipway reads 2" in str(second.reason)
    assert "nobody is there" in str(third.reason)
    assert site.failed == ["m"], "only the one that should have answered"
    values = {(metric.name, labels[1]): value for metric, value, labels in site.watcher.rows()}
    assert values[names.DRIFT_WATCHED.name, "1"] == 0


async def test_two_versions_with_different_features_and_the_same_traffic() -> None:
    site, old, new = Site(), Served(0), Served(1, wide=True)
    await site.store.save(None, model.ModelRecord("m", champion=1), ())
    site.serve(1, "a:1", old)
    site.serve(2, "b:1", new)
    await site.look()
    site.count("a:1", old, old.counts(1500, shift=1.5))
    site.count("b:1", new, new.counts(800, shift=1.5, seed=2))
    second, first = await site.look()
    assert (second.champion, first.champion) == (False, True)
    assert (label(first), label(second)) == (Label.HARMFUL, Label.HARMFUL)
    assert second.judged is not None
    assert second.judged.comparison == "Traffic: x moved on both sides alike."


async def test_a_thousand_categories_raise_no_alarm_and_a_thousand_new_ones_do() -> None:
    """Counted by a bento's own counter, batch by batch."""
    chance = np.random.default_rng(4)

    def rows(many: int, name: str) -> dict[str, np.ndarray[Any, Any]]:
        texts = np.array([f"{name}{number}" for number in chance.integers(0, 1000, many)], dtype=object)
        return {"place": texts, "x": chance.normal(size=many)}

    known = rows(6400, "place ")
    made = profile.build(known, _score(known["x"]), importance={"x": 0.7, "place": 0.3})
    raw = json.dumps(made.to_json()).encode()
    counter = counting.Counter(counting.read(raw))
    assert max(len(bins) for _, bins, _ in counter.series()) < 60, "what is exported stays small"
    site = Site()
    site.serving.append(Replica("m", 1, "a:1"))
    site.replicas.profiles["a:1"] = raw

    async def looked(name: str) -> Look:
        for _ in range(20):
            live = rows(50, name)
            counter.count(live, _score(live["x"]))
        counts = tuple(counter.counts()[1])
        site.replicas.answers["a:1"] = Counted("a:1", counter.process, counter.reference.fingerprint, counts)
        (look,) = await site.look()
        return look

    assert label(await looked("place ")) is Label.NONE
    found = await looked("elsewhere ")
    assert label(found) is Label.BROKEN_DATA
    assert found.judged is not None
    assert found.judged.verdict.columns == ("place",)


async def test_retired_versions_have_no_gauges() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.count("a:1", what, what.counts(600))
    await site.look()
    recorder = Recorder(clock=lambda: NOW, drift=site.watcher.rows)
    text = recorder.exposition(openmetrics=False)().decode()
    assert 'slipway_drift_verdict{model="m",model_version="1",label="none"} 1.0' in text
    for metric in names.DRIFT:
        if metric.kind is names.Kind.GAUGE:
            assert f"{metric.name}{{" in text, metric.name
    assert 'slipway_drift_score_to_threshold_ratio{model="m",model_version="1",feature="hour"}' not in text, "a clock"
    assert sum('feature="x"' in line for line in text.splitlines()) == 4, "however many methods there are"
    site.serving.clear()
    await site.look()
    assert 'model_version="1"' not in recorder.exposition(openmetrics=False)().decode()


@pytest.mark.parametrize(
    ("shares", "breaks", "told"),
    [
        ({}, (), ("null", 0.0)),
        ({"outside": 0.2, "nulls": 0.1}, (), ("outside", 0.2)),
        ({"outside": 0.2, "nulls": 0.1}, (Break.NULLS,), ("null", 0.1)),
        ({"nulls": 1.0}, (Break.EMPTY,), ("null", 1.0)),
        ({"outside": 0.2, "far": 0.01}, (Break.FAR,), ("far", 0.01)),
        ({"unseen": 0.05, "nulls": 0.1}, (Break.UNSEEN,), ("unseen", 0.05)),
        ({"unseen": 0.05, "nulls": 0.1}, (Break.UNSEEN, Break.NULLS), ("null", 0.1)),
    ],
)
async def test_a_column_tells_its_worst_share(
    shares: dict[str, float], breaks: tuple[Break, ...], told: tuple[str, float]
) -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.count("a:1", what, what.counts(600))
    (look,) = await site.look()
    assert look.judged is not None
    first, *others = look.judged.verdict.findings
    clean: dict[str, Any] = {"nulls": 0.0, "unseen": 0.0, "outside": 0.0, "far": 0.0}
    finding = replace(first, breaks=breaks, **(clean | shares))
    judged = replace(look.judged, verdict=replace(look.judged.verdict, findings=(finding, *others)))
    rows = [row for row in gauges.rows(judged) if row[0] is names.DRIFT_INTEGRITY and row[2][2] == first.column]
    assert [(labels[-1], value) for _, value, labels in rows] == [told]


async def test_a_store_that_is_away_stops_nothing() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.count("a:1", what, what.counts(600))
    away = Breaking(site.ledger)
    site.ledger = away  # type: ignore[assignment]  # the same calls
    site.restart()
    assert (await site.look())[:1] == ()
    assert site.failed
    away.broken = False
    assert label((await site.look())[0]) is Label.NONE


class Breaking:
    """A ledger whose store is away for a while."""

    def __init__(self, inner: MemoryLedger) -> None:
        self._inner = inner
        self.broken = True

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self.broken:

            async def refuse(*_: Any, **__: Any) -> None:
                raise ports.Unavailable("store", "the database did not answer")

            return refuse
        found: Callable[..., Any] = getattr(self._inner, name)
        return found


async def test_the_history_is_kept_and_old_slices_go() -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    for minute in range(3):
        site.count("a:1", what, what.counts(400, seed=minute))
        await site.look(minutes=11)
    found = await site.ledger.history("m", 1)
    assert [entry.judged.verdict.label for entry in found] == [Label.NONE] * 3
    await site.look(minutes=60 * 24)
    key = site.watcher._versions["m", 1].key
    assert list(await site.ledger.slices(key, NOW)) == []


@pytest.mark.parametrize("alarm", [0.0, 1.5])
async def test_the_first_verdict_is_told_only_if_it_is_an_alarm(alarm: float) -> None:
    site, what = Site(), Served(0)
    site.serve(1, "a:1", what)
    site.count("a:1", what, what.counts(900, shift=alarm))
    await site.look()
    assert len(await site.told()) == (1 if alarm else 0)
