"""The gateway port in memory, for tests of everything above it. Passes the same contract suite as the real adapter.

A test plays the gateways: it connects and disconnects them, chooses how they answer what is published, and counts requests.
"""

from __future__ import annotations

from collections.abc import Callable

from judge import bins
from judge.samples import Arm, Sample
from rollout import model, ports

from . import snapshot
from .adapter import SYSTEM, summary


class MemoryGateway:
    """One gateway named `memory` is connected at first and confirms everything at once."""

    def __init__(self, on_change: Callable[[str], None] = lambda _: None) -> None:
        self._on_change = on_change
        self._published: dict[str, model.Routing] = {}
        self._nodes: dict[str, dict[str, model.Routing]] = {"memory": {}}  # node -> model -> what it runs
        self._refusals: dict[tuple[str, str], str] = {}  # (node, model) -> its words
        self._answers: dict[str | None, tuple[model.Ack, str]] = {None: (model.Ack.YES, "")}
        self._counts: dict[tuple[str, int, int, str], Arm] = {}
        self._life = 1
        self._blind = ""

    # --- the port

    async def publish(self, routing: model.Routing) -> None:
        if self._published.get(routing.model) == routing:
            return
        try:
            snapshot.check_routing(routing)
        except model.Invalid as error:
            raise ports.Refused(SYSTEM, str(error)) from error
        self._published[routing.model] = routing
        self._answer(routing.model)

    async def withdraw(self, model_name: str) -> None:
        if self._published.pop(model_name, None) is not None:
            for runs in self._nodes.values():
                runs.pop(model_name, None)
            self._on_change(model_name)

    async def state(self, model_name: str) -> model.GatewayState:
        published = self._published.get(model_name)
        nodes = [self._node(node, model_name, published) for node in sorted(self._nodes)]
        running = [runs.get(model_name) for runs in self._nodes.values()]
        known = [routing for routing in running if routing is not None]
        acked = min(known, key=lambda routing: routing.epoch) if known and len(known) == len(running) else None
        return model.GatewayState(summary(nodes), tuple(nodes), published, acked)

    async def samples(self, model_name: str) -> tuple[Sample, ...]:
        if not self._nodes:
            raise ports.Unavailable(SYSTEM, "no gateway is connected")
        if self._blind:
            raise ports.Unavailable(SYSTEM, self._blind)
        gateway = f"{min(self._nodes)}@{self._life}"
        return tuple(
            Sample(gateway, epoch, version, arm.requests, arm.errors, replica, arm.latency)
            for (name, epoch, version, replica), arm in sorted(self._counts.items(), key=lambda item: item[0])
            if name == model_name
        )

    # --- what a test decides

    def answer(self, ack: model.Ack, words: str = "", *, model_name: str | None = None) -> None:
        """How gateways answer from now on, for one model or all: YES, NOT_YET (silence) or REFUSED. Also what is published already."""
        self._answers[model_name] = (ack, words)
        for name in [model_name] if model_name is not None else list(self._published):
            self._answer(name)

    def connect(self, node: str = "memory") -> None:
        self._nodes.setdefault(node, {})
        for name in self._published:
            self._answer(name)

    def disconnect(self, node: str = "memory") -> None:
        self._nodes.pop(node, None)
        for name in self._published:
            self._on_change(name)

    def restart(self) -> None:
        """The gateway processes die and come back: counts begin at zero under a new identity."""
        self._life += 1
        self._counts.clear()

    def count(
        self,
        model_name: str,
        version: int,
        requests: int,
        errors: int = 0,
        *,
        epoch: int | None = None,
        replica: str = "",
        latency_us: float = 0.0,
    ) -> None:
        """So many more requests went through the split; under the running epoch unless another one is named. Those that did not
        fail took latency_us each (0: nobody looked)."""
        if epoch is None:
            epoch = next(runs[model_name] for runs in self._nodes.values() if model_name in runs).epoch
        served = requests - errors
        latency = ((int(bins.index_of(latency_us)), served),) if latency_us > 0.0 and served else ()
        key = (model_name, epoch, version, replica)
        self._counts[key] = self._counts.get(key, Arm()) + Arm(requests, errors, latency)

    def blind(self, reason: str) -> None:
        """The counts cannot be read, for this reason; an empty one makes them readable again."""
        self._blind = reason

    def _answer(self, name: str) -> None:
        ack, words = self._answers.get(name, self._answers[None])
        for node, runs in self._nodes.items():
            self._refusals.pop((node, name), None)
            if ack is model.Ack.YES and name in self._published:
                runs[name] = self._published[name]
            if ack is model.Ack.REFUSED:
                self._refusals[node, name] = words
        self._on_change(name)

    def _node(self, node: str, name: str, published: model.Routing | None) -> model.GatewayNode:
        if published is not None and (node, name) in self._refusals:
            return model.GatewayNode(node, model.Ack.REFUSED, self._refusals[node, name])
        runs = self._nodes[node].get(name) == published
        return model.GatewayNode(node, model.Ack.YES if runs else model.Ack.NOT_YET)
