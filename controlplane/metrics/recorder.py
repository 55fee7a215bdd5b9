"""Hears from the loop and the API what happened, and tells Prometheus when it asks.

Made by the composition root. Everything is kept in memory and costs microseconds where it happens; the text is made from a frozen
copy, so it may be made in another thread while the loop goes on. Must never ask the outside anything: a scrape must work on the worst day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from monitoring import names
from rollout import model

from . import exposition, families
from .causes import ENDINGS, Cause, cause
from .families import Look
from .marks import Marks
from .totals import Totals

NOTIFIED = ("sent", "put_off", "dead")  # how an attempt to notify somebody ends


@dataclass(frozen=True, slots=True)
class Replica:
    """Where a replica in service can be scraped."""

    model: str
    version: int
    address: str


class Recorder:
    """`clock` tells what is written down, `monotonic` (seconds) measures ages. gateways: how many are connected. shares: the observed
    split of a model in percent. drift: gauges of the versions' drift. All methods but `spans_lost` belong to the event loop's thread."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        version: str = "",
        gateways: Callable[[], int] = int,
        shares: Callable[[str], Mapping[int, float]] = lambda _: {},
        drift: Callable[[], Iterable[families.Row]] = tuple,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._version = version
        self._gateways = gateways
        self._shares = shares
        self._drift = drift
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = _counter(names.HTTP_REQUESTS, self._registry)
        self._request_s = _histogram(names.HTTP_DURATION, self._registry)
        self._pass_s = _histogram(names.PASS_DURATION, self._registry)
        self._pass_failures = _counter(names.PASS_FAILURES, self._registry)
        self._rollouts = _counter(names.ROLLOUTS, self._registry)
        self._rollout_s = _histogram(names.ROLLOUT_DURATION, self._registry)
        self._detection_s = _histogram(names.DETECTION, self._registry)
        self._execution_s = _histogram(names.EXECUTION, self._registry)
        self._alerts = _counter(names.ALERTS, self._registry)
        self._notifications = _counter(names.NOTIFICATIONS, self._registry)
        for outcome in NOTIFIED:  # a counter that appears with its first event has no increase to show
            self._notifications.labels(outcome)
        spans_lost = _counter(names.SPANS_LOST, self._registry)
        self._spans_lost = {reason: spans_lost.labels(reason) for reason in ("queue", "refused")}
        self._drift_failures = _counter(names.DRIFT_FAILURES, self._registry)
        self._drift_reports = _counter(names.DRIFT_REPORTS, self._registry)
        self._drift_s = _histogram(names.DRIFT_DURATION, self._registry)
        self._looks: dict[str, Look] = {}
        self._totals: dict[str, Totals] = {}
        self._passed_at: dict[str, float] = {}
        self._ended: dict[str, model.Rollout] = {}
        self._marks = Marks()
        self._first_traffic: dict[str, datetime] = {}  # of open rollouts, by id; lost with the process

    # --- what happened

    def answered(self, method: str, route: str, code: int, took_s: float, trace_id: str | None) -> None:
        """The API began to answer. `route` is a template or names.UNMATCHED."""
        self._requests.labels(method, route, str(code)).inc()
        self._request_s.labels(method, route).observe(took_s, {"trace_id": trace_id} if trace_id else None)

    def alerted(self, decision: str) -> None:
        """The webhook decided on an alert; `decision` is one of a closed set."""
        self._alerts.labels(decision).inc()

    def notified(self, outcome: str) -> None:
        """A receiver was written to; `outcome` is one of NOTIFIED."""
        self._notifications.labels(outcome).inc()

    def spans_lost(self, spans: int, reason: str) -> None:
        """From any thread."""
        self._spans_lost[reason].inc(spans)

    def drift_failed(self, model_name: str) -> None:
        """A look at a model's drift failed."""
        self._drift_failures.labels(model_name).inc()

    def drift_reported(self, model_name: str, outcome: str) -> None:
        """A report in depth ended."""
        self._drift_reports.labels(model_name, outcome).inc()

    def drift_took(self, took_s: float) -> None:
        """A look at the drift of all versions ended."""
        self._drift_s.observe(took_s)

    def passed(self, model_name: str, took_s: float, *, failed: bool, trace_id: str | None = None) -> None:
        """trace_id: of the pass, if it is kept."""
        failures = self._pass_failures.labels(model_name)
        self._pass_s.observe(took_s, {"trace_id": trace_id} if trace_id else None)
        if failed:
            failures.inc()
        else:
            self._passed_at[model_name] = self._monotonic()

    def looked(self, record: model.ModelRecord, rollout: model.Rollout | None, observed: model.Observed) -> None:
        """Called by each pass with what is stored now and what it saw. What it did not see is as it was at the last look."""
        name = record.model
        known = self._looks.get(name) or Look(record)
        totals = self._totals.setdefault(name, Totals())
        if not isinstance(observed.samples, model.Unknown):
            totals.feed(observed.samples)
        unseen = isinstance(observed.deployments, model.Unknown)
        look = Look(
            record=record,
            rollout=rollout,
            gateway=known.gateway if isinstance(observed.gateway, model.Unknown) else observed.gateway,
            deployments=known.deployments if isinstance(observed.deployments, model.Unknown) else observed.deployments,
            shares=known.shares if unseen else self._shares(name),
            totals=known.totals,
        )
        totals.keep(look.versions)
        self._looks[name] = Look(look.record, look.rollout, look.gateway, look.deployments, look.shares, totals.now())

    def saved(self, before: model.Rollout, after: model.Rollout, trace_id: str | None = None) -> None:
        """A pass stored another state of the rollout. trace_id: of that pass, if it is kept."""
        self._marks.saved(before, after)
        spec, was, now = after.spec, before.status, after.status
        if was.phase is now.phase and was.had_traffic == now.had_traffic:
            return
        exemplar = {"rollout": after.id} | ({"trace_id": trace_id} if trace_id else {})
        why = cause(after)
        for outcome, reason in ENDINGS:  # a counter that appears with its first event has no increase to show
            self._rollouts.labels(spec.model, spec.strategy.value, outcome.value, reason.value)
        if now.had_traffic and not was.had_traffic:
            self._first_traffic[after.id] = now.step_since or self._clock()
        if now.phase is model.Phase.ROLLING_BACK and was.phase is not now.phase and why is Cause.JUDGED:
            since = self._first_traffic.get(after.id)
            if since is not None and now.decided_at is not None:
                self._detection_s.observe(_seconds(since, now.decided_at), exemplar)
        if after.open or now.ended_at is None:
            return
        self._rollouts.labels(spec.model, spec.strategy.value, now.phase.value, why.value).inc()
        self._rollout_s.labels(now.phase.value).observe(_seconds(after.created_at, now.ended_at), exemplar)
        if now.phase is model.Phase.ROLLED_BACK:
            asked = after.requests.abort or after.requests.undo
            since = asked.at if asked is not None else now.decided_at
            if since is not None:
                self._execution_s.observe(_seconds(since, now.ended_at), exemplar)
        self._first_traffic.pop(after.id, None)
        self._ended[spec.model] = after

    def remember(self, rollouts: Iterable[model.Rollout]) -> None:
        """At the start: the last rollout of each model, as the store has it."""
        for rollout in rollouts:
            if not rollout.open:
                self._ended[rollout.spec.model] = rollout

    # --- who asks

    def exposition(self, *, openmetrics: bool) -> Callable[[], bytes]:
        """Freezes what is known now; the function that is returned makes the text, in any thread."""
        now, monotonic = self._clock(), self._monotonic()
        looks, ended, passed_at = list(self._looks.values()), list(self._ended.values()), dict(self._passed_at)
        gateways, marks, drift = self._gateways(), self._marks.shown(now), list(self._drift())

        def rows() -> Iterable[families.Row]:
            yield names.BUILD_INFO, 1, (self._version,)
            yield names.CLOCK, now.timestamp(), ()
            yield names.GATEWAYS, gateways, ()
            yield from drift
            for name, at in passed_at.items():
                yield names.PASS_AGE, max(0.0, monotonic - at), (name,)
            for row in (
                *(row for look in looks for row in families.rows(look)),
                *(row for one in ended for row in families.ended(one, now)),
            ):
                marks.pop((row[0], row[2]), None)
                yield row
            for (metric, labels), entered in marks.items():
                yield metric, entered.timestamp(), labels

        return lambda: exposition.text(self._registry, rows(), looks, openmetrics=openmetrics)

    def replicas(self) -> list[Replica]:
        """Of every version in service, as the loop last saw them."""
        return [
            Replica(name, deployment.version, address)
            for name, look in sorted(self._looks.items())
            for deployment in look.deployments
            for address in deployment.endpoints
        ]


def _seconds(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds())


def _counter(metric: names.Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: names.Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
