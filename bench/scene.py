"""The stage of `bench_abort` and `bench_fleet`: replicas, control plane and Envoy, each a process, on free ports of loopback."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import upstream
from bench.children import Children
from bench.client import Client
from bench.ledger import Ledger
from cli.stack import ports
from gateway import bootstrap, process

PLANE, ENVOY, UPSTREAM, LOAD = "plane", "envoy", "upstream", "load"


@dataclass(frozen=True, slots=True)
class Scene:
    folder: Path
    children: Children
    ports: ports.Ports
    api: Client
    arrivals: dict[int, Ledger]  # per version

    @property
    def summary(self) -> Path:
        return self.folder / "load.json"

    def load(self, models: list[str], rate: float, seed: int) -> None:
        """Clients on all these models, until `children.stop(LOAD)`."""
        urls = [f"http://127.0.0.1:{self.ports.ingress}/{name}/predict" for name in models]
        self.children.program(LOAD, "load", "--rate", rate, "--seed", seed, "--summary", self.summary, *urls)


@contextmanager
def opened(models: int) -> Iterator[Scene]:
    """Everything up, nothing shipped yet."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name, Children(Path(name)) as children:
        folder, chosen = Path(name), ports.random_ports()
        replicas = {1: chosen.mlflow, 2: ports.random_ports().mlflow}
        arrivals = {version: upstream.ledger(folder, version) for version in replicas}
        pairs = [f"{version}={port}" for version, port in replicas.items()]
        children.program(UPSTREAM, "upstream", "--folder", folder, "--ports", *pairs)
        places = ("--api-port", chosen.api, "--xds-port", chosen.xds, "--ingress-port", chosen.ingress)
        children.program(PLANE, "plane", "--state-dir", folder, "--models", models, "--upstreams", *replicas.values(), *places)
        config, admin = folder / "envoy.json", f"127.0.0.1:{chosen.envoy_admin}"
        log = str(folder / "access.log")
        config.write_text(bootstrap.render("bench", ads=f"127.0.0.1:{chosen.xds}", admin=admin, access_log_path=log))
        children.start(ENVOY, process.argv(config, log_path=folder / "envoy.own.log"))
        children.answers(PLANE, chosen.api, "/readyz")
        children.answers(ENVOY, chosen.envoy_admin, "/ready")
        yield Scene(folder, children, chosen, Client(chosen.api), arrivals)
