"""Reports in depth of the versions in service: on schedule, when drift alarms, and when somebody asks. One at a time, in a process of its own.

Made by the composition root; a task apart from the watcher and from rollouts, which never wait for it. What was made lies in MLflow and is
read back from there after a restart; what could not be kept is remembered in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controlplane.metrics.families import Row
from controlplane.metrics.recorder import Replica
from monitoring import names
from monitoring.reports import making
from monitoring.reports.making import Bounds, Order, Report
from monitoring.reports.outcome import End, Trigger
from rollout import ports

from .ledger import Judged

QUEUE = 16  # orders that wait
REMEMBERED = 100  # reports that MLflow did not take
KNOWN = 500  # reports that were read from MLflow
TICK_S = 30.0
SYSTEM = "reports"

log = logging.getLogger(__name__)

Whose = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Pending:
    """step: what it does now; empty: it waits."""

    order: Order
    step: str


class Reporter:
    """root: of the prediction log; empty: there is none, and no reports. every_s: between two scheduled reports of a version; 0: none.
    window: of a scheduled report. reported: is told of each model and how its report ended."""

    def __init__(
        self,
        *,
        shelf: making.Shelf,
        root: str,
        in_service: Callable[[], Sequence[Replica]],
        clock: Callable[[], datetime],
        every_s: float,
        window: timedelta,
        bounds: Bounds,
        reported: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._shelf = shelf
        self._root = root
        self._in_service = in_service
        self._clock = clock
        self._every = timedelta(seconds=every_s)
        self._window = window
        self._bounds = bounds
        self._waiting: list[Order] = []
        self._now: Pending | None = None
        self._latest: dict[Whose, Report] = {}
        self._tried_at: dict[Whose, datetime] = {}
        self._unkept: OrderedDict[tuple[Whose, str], Report] = OrderedDict()
        self._known: OrderedDict[tuple[Whose, str], Report] = OrderedDict()
        self._reported = reported
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._root:
            self._task = asyncio.create_task(self._run(), name="drift reports")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # --- who asks

    def ask(self, model_name: str, version: int, start: datetime, end: datetime, trigger: Trigger) -> Order:
        """Put one into the queue. Raises Refused if there is no prediction log, Unavailable if too many wait."""
        if not self._root:
            raise ports.Refused(SYSTEM, "there is no prediction log to make a report of; set SLIPWAY_PREDICTION_LOG")
        if trigger is not Trigger.HAND:
            for order in self._waiting:
                if (order.model, order.version, order.trigger) == (model_name, version, trigger):
                    return order
        if len(self._waiting) >= QUEUE:
            raise ports.Unavailable(SYSTEM, f"{QUEUE} reports are waiting already; try again later")
        order = Order(model_name, version, start, end, trigger, self._clock())
        self._waiting.append(order)
        self._wake.set()
        return order

    def alarmed(self, judged: Judged) -> None:
        """Streaming drift found harm or broken data: look at the same window in depth."""
        if not self._root or judged.start is None or judged.end is None:
            return
        try:
            self.ask(judged.model, judged.version, judged.start, judged.end, Trigger.ALARM)
        except ports.PortError as error:
            log.warning("no drift report on the alarm: %s", error, extra={"model": judged.model, "version": judged.version})

    def pending(self, model_name: str, version: int) -> tuple[Pending, ...]:
        """Under way first, then those that wait."""
        all_of_them = [*([self._now] if self._now is not None else []), *(Pending(order, "") for order in self._waiting)]
        return tuple(each for each in all_of_them if (each.order.model, each.order.version) == (model_name, version))

    async def listed(self, model_name: str, version: int, limit: int) -> Sequence[Report]:
        """Newest first. Raises PortError."""
        ids = list(await self._shelf.listed(model_name, version))[:limit]
        found = [self._unkept[key] for key in self._unkept if key[0] == (model_name, version)]
        for report_id in ids:
            with contextlib.suppress(ports.Refused):  # deleted meanwhile, or half written
                found.append(await self._read(model_name, version, report_id))
        return sorted(found, key=lambda report: report.order.id, reverse=True)[:limit]

    async def report(self, model_name: str, version: int, report_id: str) -> Report:
        """Raises NotFound if there is none."""
        unkept = self._unkept.get(((model_name, version), report_id))
        return unkept or await self._read(model_name, version, report_id)

    async def _read(self, model_name: str, version: int, report_id: str) -> Report:
        """A report never changes: each is fetched once."""
        key = ((model_name, version), report_id)
        if key not in self._known:
            self._known[key] = await making.read(self._shelf, model_name, version, report_id)
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return self._known[key]

    async def file(self, model_name: str, version: int, report_id: str, name: str) -> bytes:
        return await self._shelf.file(model_name, version, report_id, name)

    async def newest(self, model_name: str, version: int) -> str:
        """The id of the newest one that is done. Raises NotFound if there is none."""
        for report in await self.listed(model_name, version, self._bounds.kept):
            if report.result.end is End.DONE and report.files:
                return report.order.id
        raise ports.NotFound(SYSTEM, f"version {version} of {model_name} has no report yet")

    def rows(self) -> Iterator[Row]:
        """Numbers of the newest reports of versions in service."""
        for (model_name, version), report in list(self._latest.items()):
            labels = (model_name, str(version))
            yield names.DRIFT_REPORT_TIME, report.order.at.timestamp(), labels
            for score in report.result.scores:
                yield names.DRIFT_REPORT_SCORE, score.score, (*labels, score.column, score.method)
            yield names.DRIFT_REPORT_DRIFTED, sum(score.drifted for score in report.result.scores), labels
            yield names.DRIFT_REPORT_BROKEN, len({check.column for check in report.result.checks}), labels

    # --- the work

    async def _run(self) -> None:
        while True:
            try:
                await self.once()
            except Exception:  # a defect in one report must not end all others
                log.exception("drift reports: the pass failed")
            self._wake.clear()
            if not self._waiting:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), TICK_S)

    async def once(self) -> None:
        """What is due into the queue, then the first of the queue."""
        await self._schedule()
        if not self._waiting:
            return
        order = self._waiting.pop(0)
        whose = (order.model, order.version)

        def step(name: str) -> None:
            self._now = Pending(order, name)

        step("starting")
        try:
            report = await making.make(self._shelf, self._root, order, self._bounds, seconds=time.monotonic, step=step)
        finally:
            self._now = None
        self._reported(order.model, report.result.end.value)
        if report.unkept:
            self._unkept[whose, order.id] = report
            while len(self._unkept) > REMEMBERED:
                self._unkept.popitem(last=False)
        if report.result.end is End.DONE:
            self._latest[whose] = report
        words = report.result.reason or report.unkept
        level = logging.INFO if report.result.end is End.DONE and not words else logging.WARNING
        extra = {"model": order.model, "version": order.version, "report": order.id, "took_s": round(report.took_s, 1)}
        log.log(level, "drift report: %s%s", report.result.end.value, f": {words}" if words else "", extra=extra)

    async def _schedule(self) -> None:
        now = self._clock()
        here = {(each.model, each.version) for each in self._in_service()}
        for gone in self._tried_at.keys() - here:
            self._tried_at.pop(gone)
            self._latest.pop(gone, None)
        for whose in sorted(here):
            if whose not in self._tried_at:
                self._tried_at[whose] = await self._last(whose, now)
            if self._every and abs(now - self._tried_at[whose]) >= self._every:
                self._tried_at[whose] = now
                with contextlib.suppress(ports.PortError):  # the queue is full: at the next turn
                    self.ask(*whose, now - self._window, now, Trigger.SCHEDULE)

    async def _last(self, whose: Whose, now: datetime) -> datetime:
        """When a version that comes into service counts as reported: its newest report, else now."""
        try:
            for report in await self.listed(*whose, self._bounds.kept):
                if report.result.end is End.DONE:
                    self._latest[whose] = report
                    return report.order.at
        except ports.PortError as error:
            log.info("earlier drift reports are unknown: %s", error, extra={"model": whose[0], "version": whose[1]})
        return now
