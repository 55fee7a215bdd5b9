"""Which TCP ports the local stack listens on, and whether they are free. Loopback only.

Called by `slipway up`, the demo and tests. Checks before anything is started, so that a taken port is one clear sentence and not
a stack trace in some child's log file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import socket
from dataclasses import dataclass

HOST = "127.0.0.1"
LOWEST, EPHEMERAL = 10_000, 32_768  # from the second one on Linux gives ports to outgoing connections
TRIES = 100


class PortTaken(Exception):
    """Somebody else listens on a port that the stack needs."""


class BadPort(ValueError):
    """A port number is out of range, or given twice."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The fields are also the names of the options: `ingress` is changed by `--ingress-port` or SLIPWAY_INGRESS_PORT."""

    api: int = 8700  # the control plane's REST API
    xds: int = 8701  # where Envoy fetches its configuration from the control plane
    ingress: int = 8080  # where clients send their prediction requests
    envoy_admin: int = 8702  # Envoy's own counters and health
    mlflow: int = 5000  # MLflow's web interface and API
    prometheus: int = 8703  # Prometheus' web interface and API, where it is installed
    alertmanager: int = 8704  # Alertmanager's, where it is installed

    def __post_init__(self) -> None:
        by_number: dict[int, str] = {}
        for name, port in self.items():
            if not 1 <= port <= 65535:
                raise BadPort(f"{option(name)} must be 1 to 65535, not {port}")
            if port in by_number:
                raise BadPort(f"port {port} is given twice: {option(by_number[port])} and {option(name)} must differ")
            by_number[port] = name

    def items(self) -> tuple[tuple[str, int], ...]:
        return tuple((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))

    def shifted(self, offset: int) -> Ports:
        """Every port raised by the same number, for a second stack beside the first."""
        return Ports(**{name: port + offset for name, port in self.items()})


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}-port"


def random_ports() -> Ports:
    """Ports that were free a moment ago, all different: they are held open until every one of them is known."""
    with contextlib.ExitStack() as held:
        return Ports(**{field.name: _held(held) for field in dataclasses.fields(Ports)})


def free_port() -> int:
    """A port that was free a moment ago."""
    with contextlib.ExitStack() as held:
        return _held(held)


def _held(held: contextlib.ExitStack) -> int:
    """Not one that the system would choose: those are also what it gives to outgoing connections, which may take it before its server does."""
    for _ in range(TRIES):
        listener = held.enter_context(socket.socket())
        port = LOWEST + secrets.randbelow(EPHEMERAL - LOWEST)
        with contextlib.suppress(OSError):
            listener.bind((HOST, port))
            return port
    raise PortTaken(f"none of {TRIES} ports from {LOWEST} to {EPHEMERAL} that were tried is free")


def check_free(ports: Ports, unused: frozenset[str] = frozenset()) -> None:
    """Raises PortTaken, naming every taken port with its holder and the option that changes it. `unused` ones are not looked at."""
    taken = [(name, port) for name, port in ports.items() if name not in unused and not _free(port)]
    if not taken:
        return
    words = [
        f"port {port} for {name.replace('_', ' ')} is taken{_holder(port)} (choose another with {option(name)})"
        for name, port in taken
    ]
    raise PortTaken("; ".join(words) + ". Or move all ports with --port-offset 100, or take --random-ports.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection of an earlier run in TIME_WAIT is no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    """Who listens there, if the system lets us see it."""
    import psutil  # noqa: PLC0415  needed on this rare path only

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return ""
