"""What an operator may choose about the gateway: addresses, limits and times, each with its unit and its reason.

Made once by the composition root or a test; the pure compilers read it, nobody changes it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from rollout import model


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the data plane; the same for every gateway that connects.

    host, port: where Envoy listens for clients. host must be an IP address, Envoy resolves none here.
    request_timeout_s: the longest a client waits for an answer, retries included; then 504.
    connect_timeout_s: how long a replica may take to accept a connection before another try.
    retries: further tries of a request that never reached a replica.
    upstream_idle_s: an unused connection to a replica is closed after this; below the 5 s after which plain uvicorn closes
        it itself, since a request sent into a closing connection fails.
    client_idle_s: an unused client connection is closed after this.
    body_limit_bytes: a larger request body is answered 413.
    max_connections, max_requests: circuit breaker per version; beyond it 503 at once instead of a queue without end.
    linger_s: a cluster stays so long after its last route is gone, for requests that chose it and are still being uploaded.
    drain_s: how long Envoy lets connections finish when a listener changes or the process is told to stop.
    access_log_share_pct: of the requests that went well, so many are in the access log; the others all are.
    trace_sampling_pct: of the requests whose caller does not say whether they are traced, so many are.
    trace_headers: sent with spans to whoever takes them, such as the experiment for MLflow.
    trace_callers: whether callers may bring a trace of their own, and so decide that it is kept; not for strangers.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    request_timeout_s: float = 30.0
    connect_timeout_s: float = 1.0
    retries: int = 3
    upstream_idle_s: float = 3.0
    client_idle_s: float = 300.0
    body_limit_bytes: int = 8 * 1024 * 1024
    max_connections: int = 1024
    max_requests: int = 4096
    linger_s: float = 10.0
    drain_s: float = 5.0
    access_log_share_pct: float = 1.0
    trace_sampling_pct: float = 1.0
    trace_headers: tuple[tuple[str, str], ...] = ()
    trace_callers: bool = True

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.host)
        except ValueError as error:
            raise model.Invalid("host", f"host must be an IP address such as 127.0.0.1, not {self.host!r}") from error
        if not 1 <= self.port <= 65535:
            raise model.Invalid("port", f"port must be 1 to 65535, not {self.port}")
        for name in ("request_timeout_s", "connect_timeout_s", "upstream_idle_s", "client_idle_s", "drain_s"):
            if not 0 < getattr(self, name) <= 86400:
                raise model.Invalid(name, f"{name} must be above 0 and at most 86400 seconds")
        for name in ("body_limit_bytes", "max_connections", "max_requests"):
            if not 1 <= getattr(self, name) <= 2**31:
                raise model.Invalid(name, f"{name} must be 1 to 2147483648")
        for name, most, unit in (
            ("linger_s", 86400, " seconds"),
            ("access_log_share_pct", 100, ""),
            ("trace_sampling_pct", 100, ""),
            ("retries", 10, ""),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise model.Invalid(name, f"{name} must be 0 to {most}{unit}, not {getattr(self, name)}")
