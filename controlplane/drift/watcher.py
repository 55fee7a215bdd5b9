"""Looks at every version in service now and then: collects what its replicas counted, judges the window, tells what changed.

Made by the composition root; a task of its own, so a slow replica or a calibration never delays a rollout. Each part is bounded in time, its
failure is logged and counted, and the next pass tries again. Must never touch a rollout: others may act on what it tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controlplane.broadcast import Broadcast
from controlplane.metrics.families import Row
from controlplane.metrics.recorder import Replica
from monitoring import names
from monitoring.drift import compare, reference, replicas, verdict
from monitoring.drift.verdict import Label
from monitoring.drift.windows import Counted, Slice
from rollout import events, ports

from . import gauges
from .ledger import Judged, Key, Ledger
from .versions import Policy, Version, Window

AT_ONCE = 8  # replicas that are read at a time
PASS_S = 60.0  # of one pass, at most
RECORD_EVERY = timedelta(minutes=10)  # a verdict that stays the same is written down as often
KEPT = timedelta(days=90)  # the history
CLEAN_EVERY = timedelta(hours=1)
ALARMS = frozenset({Label.HARMFUL, Label.BROKEN_DATA})

log = logging.getLogger(__name__)

Whose = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a version's drift now. reason: why there is no verdict; None: there is one, or there will be."""

    model: str
    version: int
    champion: bool
    judged: Judged | None
    reason: str | None
    looked_at: datetime | None


class Watcher:
    """`in_service`: the replicas that may take traffic, as the loop last saw them. every_s: seconds between two passes; 0: never. alarmed: is told of each
    new alarm, after it was written down."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: ports.Store,
        reader: replicas.Replicas,
        in_service: Callable[[], Sequence[Replica]],
        clock: Callable[[], datetime],
        changes: Broadcast,
        every_s: float,
        policy: Policy | None = None,
        failed: Callable[[str], None] = lambda _: None,
        took: Callable[[float], None] = lambda _: None,
        alarmed: Callable[[Judged], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._reader = reader
        self._in_service = in_service
        self._clock = clock
        self._changes = changes
        self._every_s = every_s
        self._policy = policy or Policy()
        self._failed = failed
        self._took = took
        self._alarmed = alarmed
        self._versions: dict[Whose, Version] = {}
        self._looks: dict[Whose, Look] = {}
        self._told: dict[Whose, Label] = {}
        self._recorded_at: dict[Whose, datetime] = {}
        self._seen: dict[Key, datetime] = {}
        self._began: datetime | None = None
        self._cleaned_at: datetime | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._every_s > 0:
            self._task = asyncio.create_task(self._run(), name="drift")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):  # said by whoever was late
                async with asyncio.timeout(PASS_S):
                    await self.once()
            self._took(time.monotonic() - began)
            await asyncio.sleep(self._every_s)

    async def once(self) -> None:
        """One pass over all versions. Raises nothing that the outside does."""
        now = self._clock()
        self._began = self._began or now
        addresses: dict[Whose, list[str]] = {}
        for each in self._in_service():
            addresses.setdefault((each.model, each.version), []).append(each.address)
        for gone in self._looks.keys() - addresses.keys():
            self._looks.pop(gone)
            self._versions.pop(gone, None)
            self._told.pop(gone, None)
            self._recorded_at.pop(gone, None)
        await asyncio.gather(*(self._guarded(name, self._collect((name, v), at, now)) for (name, v), at in addresses.items()))
        for name in sorted({name for name, _ in addresses}):
            await self._guarded(name, self._judge_all(name, now))
        if self._cleaned_at is None or now - self._cleaned_at >= CLEAN_EVERY:
            await self._guarded("", self._clean(now))

    async def _guarded(self, model_name: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except (ports.PortError, replicas.Away) as error:
            log.warning("drift: %s", error, extra={"model": model_name})
            self._failed(model_name)
        except Exception:  # a defect in one model's numbers must not stop the others
            log.exception("drift: the look failed", extra={"model": model_name})
            self._failed(model_name)

    async def _collect(self, whose: Whose, addresses: Sequence[str], now: datetime) -> None:
        """What the replicas of one version counted, into its slices."""
        known = self._looks.get(whose) or Look(*whose, champion=False, judged=None, reason=None, looked_at=None)
        answers = await asyncio.gather(*(self._read(address) for address in addresses))
        found = [answer for answer in answers if isinstance(answer, Counted)]
        if not found:
            silent = [answer.reason for answer in answers if isinstance(answer, replicas.Silent)]
            away = [str(answer) for answer in answers if isinstance(answer, replicas.Away)]
            self._looks[whose] = replace(known, reason="; ".join((silent or away)[:1]))
            if away:
                raise replicas.Away(away[0])
            self._versions.pop(whose, None)
            return
        version = self._versions.get(whose)
        if version is None or version.key.profile not in {each.profile for each in found}:
            try:
                version = await self._opened(whose, found[0], now)
            except reference.Unreadable as error:
                self._looks[whose] = replace(known, judged=None, reason=str(error))
                return
            self._versions[whose] = version
        self._seen[version.key] = now
        await version.fed(self._ledger, found, now)
        self._looks[whose] = replace(known, reason=None)

    async def _read(self, address: str) -> Counted | replicas.Silent | replicas.Away:
        async with self._turns:
            try:
                return await self._reader.counts(address)
            except replicas.Away as error:
                return error

    async def _opened(self, whose: Whose, counted: Counted, now: datetime) -> Version:
        raw = await self._reader.profile(counted.replica)
        read = await asyncio.to_thread(reference.read, raw)
        version = Version(Key(*whose, counted.profile), read, self._policy)
        await version.opened(self._ledger, now)
        last = await self._ledger.history(*whose, limit=1)
        if last and whose not in self._told:
            self._told[whose] = last[0].judged.verdict.label
        return version

    async def _judge_all(self, model_name: str, now: datetime) -> None:
        """Every version of a model, and the champion against each other one."""
        record = await self._store.record(model_name)
        champion = record.champion if record is not None else None
        here = [whose for whose in self._versions if whose[0] == model_name]
        for whose in sorted(here, key=lambda whose: whose[1] != champion):
            version = self._versions[whose]
            told, found = await asyncio.to_thread(version.judge, version.windows(now))
            window, comparison = told.time, ""
            other = self._versions.get((model_name, champion)) if champion is not None else None
            if other is not None and other is not version and window is not None:
                comparison = (await asyncio.to_thread(_compared, other, version, told, found, window)).sentence
            start, end = (window.start, window.end) if window is not None else (None, None)
            judged = Judged(*whose, now, start, end, found, comparison)
            await self._tell(whose, judged)
            version.judged = judged
            self._looks[whose] = Look(*whose, whose[1] == champion, judged, None, now)

    async def _tell(self, whose: Whose, judged: Judged) -> None:
        """Into the history when it changed, and every now and then; to people only when it changed."""
        label, before = judged.verdict.label, self._told.get(whose)
        recorded_at = self._recorded_at.get(whose)
        due = recorded_at is None or abs(judged.at - recorded_at) >= RECORD_EVERY
        if label is before and not due:
            return
        facts = () if label is before or (before is None and label not in ALARMS) else (_fact(judged, before),)
        await self._ledger.record(judged, facts)
        self._recorded_at[whose] = judged.at
        self._told[whose] = label
        if facts:
            self._changes.publish(judged.model)
            if label in ALARMS:
                self._alarmed(judged)
            log.info(judged.verdict.sentence, extra={"model": judged.model, "version": judged.version, "label": label.value})

    async def _clean(self, now: datetime) -> None:
        longest = self._policy.longest
        await self._ledger.forget(slices=now - 2 * longest, history=now - KEPT)
        self._seen = {key: at for key, at in self._seen.items() if now - at < longest}
        if self._began is not None and now - self._began >= longest:  # before, it may only not have seen them yet
            await self._ledger.retire(list(self._seen))
        self._cleaned_at = now

    # --- who asks

    def looks(self, model_name: str) -> tuple[Look, ...]:
        """Of the versions in service, from memory; the newest first."""
        found = [look for (name, _), look in self._looks.items() if name == model_name]
        return tuple(sorted(found, key=lambda look: -look.version))

    def alarm(self, model_name: str, version: int) -> str:
        """Why the data of this version raise an alarm now, in one sentence; empty: they do not, or nobody knows."""
        look = self._looks.get((model_name, version))
        if look is None or look.reason is not None or look.judged is None or look.judged.verdict.label not in ALARMS:
            return ""
        return f"Version {version}: {look.judged.verdict.sentence}"

    def rows(self) -> Iterable[Row]:
        """Gauges of all versions in service."""
        for look in list(self._looks.values()):
            labels = (look.model, str(look.version))
            yield names.DRIFT_WATCHED, float(look.reason is None), labels
            if look.looked_at is not None:
                yield names.DRIFT_AGE, max(0.0, (self._clock() - look.looked_at).total_seconds()), labels
            if look.judged is not None:
                yield from gauges.rows(look.judged)


def _compared(champion: Version, challenger: Version, told: Window, found: verdict.Verdict, time: Slice) -> compare.Comparison:
    own = champion.between(time.start, time.end)
    return compare.compare(
        (champion.reference, own, champion.judge_one(own, told.false_alarms)),
        (challenger.reference, told.counts, found),
    )


def _fact(judged: Judged, before: Label | None) -> events.Event:
    found = judged.verdict
    kind = events.Kind.DRIFT_ALARM if found.label in ALARMS else events.Kind.DRIFT
    sentence = f"Version {judged.version}: {found.sentence}" + (f" {judged.comparison}" if judged.comparison else "")
    data: dict[str, object] = {
        "version": judged.version,
        "label": found.label.value,
        "before": before.value if before is not None else None,
        "columns": list(found.columns),
        "rows": found.rows,
        "harm": round(found.harm, 3),
    }
    return events.Event("", judged.model, judged.at, kind, sentence, data=data)
