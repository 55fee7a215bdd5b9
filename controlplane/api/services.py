"""What the API needs of the rest of the control plane, as plain values put together once by `controlplane.main`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controlplane import broadcast
from controlplane.clock import SteadyClock
from controlplane.drift import watcher
from controlplane.drift.ledger import Ledger
from controlplane.drift.reports import Reporter
from controlplane.history import History
from controlplane.metrics.recorder import Recorder
from controlplane.notifications.notifier import Notifier
from judge.samples import Counts
from rollout import ports


@dataclass(frozen=True, slots=True)
class ObservedVersion:
    """What one version got of the traffic in the window."""

    version: int
    requests: int
    errors: int
    share_pct: float


@dataclass(frozen=True, slots=True)
class ObservedSplit:
    """The traffic of the last seconds as the gateways counted it. `reason` says why it is unknown; None: it is known."""

    window_s: float = 0.0
    requests_per_s: float | None = None
    versions: tuple[ObservedVersion, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """The ports, and the few functions by which the API touches the running loop.

    wake: tells the loop to look at this model now. failures: models whose last pass broke unexpectedly, with the error. traffic: what was counted lately, from memory, without waiting.
    latency: how long a version's answers took, of all that are still counted; from memory too.
    history: what the champions went through lately; None: nobody kept it.
    recorder: hears of every request, and tells Prometheus. gateways: the connected ones and their admin addresses.
    notifier: writes to the receivers of notifications; None: there are none, and nothing is owed to anybody.
    drift: of a model's versions in service, from memory. ledger: its history; None: there is none. reports: in depth; None: none are made.
    alert_token: what callers of the webhook must know; empty: it is switched off. alert_dry_run: alerts only leave a note.
    changes: told after every save of the API; the loop tells it after its own. max_body_bytes: larger bodies get a 413.
    """

    store: ports.Store
    registry: ports.Registry
    gateway: ports.Gateway
    runtime: ports.Runtime
    wake: Callable[[str], None]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    traffic: Callable[[str], ObservedSplit]
    latency: Callable[[str, int], Counts]
    changes: broadcast.Broadcast
    version: str
    history: History | None = None
    failures: Callable[[], Mapping[str, str]] = dict
    recorder: Recorder = field(default_factory=lambda: Recorder(clock=SteadyClock()))
    gateways: Callable[[], Mapping[str, str]] = dict
    max_body_bytes: int = 1024 * 1024
    heartbeat_s: float = 15.0
    notifier: Notifier | None = None
    drift: Callable[[str], tuple[watcher.Look, ...]] = lambda _: ()
    ledger: Ledger | None = None
    reports: Reporter | None = None
    alert_token: str = ""
    alert_dry_run: bool = False
