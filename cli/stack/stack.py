"""The local stack as one object: `Stack(config).start()` ... `.stop()`, or `with Stack(config).running():`.

Called by `slipway up`, the demo and tests. Owns the order: everything starts at once; on the way down the control plane stops first
(it would replace what we stop), then the gateway takes no more requests, then replicas, then MLflow.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from . import children, leftovers, ports, record
from .config import Config
from .journal import Journal
from .supervisor import Change, State, Supervisor

WATCHERS = (children.PROMETHEUS, children.ALERTMANAGER)
STOP_ORDER = (children.CONTROLPLANE, children.ENVOY, leftovers.REPLICAS, children.MLFLOW, *WATCHERS)


class Stack:
    """`tell` hears of every change, from whichever thread notices it. Start once, stop as often as you like."""

    def __init__(self, config: Config, tell: Callable[[Change], None] = lambda _: None) -> None:
        self.config = config
        self.addresses = config.addresses()
        self.missing: frozenset[str] = frozenset()  # parts that are not needed and did not come up
        self._tell = tell
        self._supervisor = Supervisor((), self._changed)
        self._held = contextlib.ExitStack()
        self._recording = threading.Lock()
        self._journal = Journal(config.log("launcher"))

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Returns when every part answers. Raises AlreadyUp, PortTaken, or StartFailed with everything stopped again."""
        self._held.enter_context(record.held(self.config.state_dir))
        try:
            leftovers.stop_children(self.config.state_dir, self.config.grace_s)
            ports.check_free(self.config.ports, self.config.unused)
            self._supervisor = Supervisor(children.build(self.config), self._changed)
            self._supervisor.start(cancelled)
            self.missing = self._supervisor.missing()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Everything, in order, replicas included, each within its grace."""
        for name in STOP_ORDER:
            if name == leftovers.REPLICAS:
                stopped = leftovers.stop_replicas(self.config.state_dir, self.config.grace_s)
                if stopped:
                    self._say(Change(name, State.STOPPED, f"stopped {stopped} of them"))
            else:
                self._supervisor.stop(name, self.config.grace_s)
        self._supervisor.close()
        self._journal.close()
        record.remove(self.config.state_dir)
        self._held.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[Stack]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """For fault tests: a signal to one part's whole process group. SIGKILL and it comes back after its back-off;
        SIGSTOP and SIGCONT freeze and thaw it."""
        self._supervisor.signal(name, number)

    def wait_ready(self, name: str, timeout_s: float = 60.0) -> bool:
        """After a kill: True once the part answers again."""
        return self._supervisor.wait_ready(name, timeout_s)

    def pids(self) -> dict[str, int]:
        return self._supervisor.pids()

    def _changed(self, change: Change) -> None:
        if change.state in (State.STARTING, State.WAITING):
            self._record()
        self._say(change)

    def _say(self, change: Change) -> None:
        self._journal.write(change)
        self._tell(change)

    def _record(self) -> None:
        """On disk before anybody is told, so that `slipway down` finds a child even if this process is killed next."""
        with self._recording:
            launcher = record.identify(os.getpid())
            assert launcher is not None, "this process runs"
            found = {name: process for name, pid in self.pids().items() if (process := record.identify(pid)) is not None}
            record.write(self.config.state_dir, record.Record(launcher, self.addresses, found))
