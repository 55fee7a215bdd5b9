"""PURE. Traces of requests: whether one is kept is decided here, once; behind the gateway everybody follows its decision.

Called by `listener.py` and `bootstrap.py`. Envoy sends its spans itself, as OTLP over HTTP, to a cluster of its own. It keeps a bounded number of
them and drops the rest when nobody takes them (`tracing.opentelemetry.spans_dropped`; what was sent and not taken: `cluster.telemetry.upstream_rq_5xx`). No request waits for it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

# ruff: noqa: F401 - importing an extension makes its type known to ParseDict
from envoy.config.trace.v3 import opentelemetry_pb2
from envoy.extensions.tracers.opentelemetry.samplers.v3 import parent_based_sampler_pb2, trace_id_ratio_based_sampler_pb2

from rollout import model

from .clusters import seconds, split_address
from .settings import Settings

CLUSTER = "telemetry"
SERVICE = "slipway-gateway"
TRACE_HEADER = "x-trace-id"  # on every answer, if there are traces; the access log has it too, and a sampled one is found by it
TRACES_PATH = "/v1/traces"  # OTLP's own, below the endpoint
POST_S = 5.0
WAITING_SPANS = 2048  # of each worker; about 1 MB
# A post costs MLflow a tenth of a second whatever is in it, so few and large ones.
RUNTIME = {"tracing": {"opentelemetry": {"min_flush_spans": 256, "flush_interval_ms": 1000}}}


def split_endpoint(endpoint: str) -> tuple[str, int, str]:
    """Host, port and the address to post to, of an endpoint such as http://127.0.0.1:4318. Raises Invalid."""
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise model.Invalid(
            "otlp",
            f"an OTLP endpoint is http://host:port, not {endpoint!r}; for https put an OpenTelemetry collector beside it",
        )
    host, port = split_address(parts.netloc if parts.netloc.rpartition(":")[2].isdigit() else f"{parts.netloc}:80")
    return host, port, endpoint.rstrip("/") + TRACES_PATH


def cluster(endpoint: str) -> dict[str, Any]:
    """Where spans go, for the bootstrap. Few connections and no line: what cannot be sent is dropped."""
    host, port, _ = split_endpoint(endpoint)
    return {
        "name": CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "circuit_breakers": {
            "thresholds": [{"max_connections": 4, "max_pending_requests": 16, "max_requests": 16, "max_retries": 0}]
        },
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}]}
            ],
        },
    }


def tracing(settings: Settings, endpoint: str) -> dict[str, Any]:
    """For the connection manager. One span of each request that is kept; another one for the replica's part would cost every request, kept or not,
    as much as all the rest of this together, and the replica tells its part itself."""
    _, _, url = split_endpoint(endpoint)
    return {
        # by the sampler below, and not by x-client-trace-id or the request id, which clients choose
        "clientSampling": {"value": 0},
        "randomSampling": {"value": 100},
        "spawnUpstreamSpan": False,
        "operation": "%REQ(:METHOD)% %ROUTE_NAME%",  # a kind of route and a model; each look into metadata costs every request a microsecond
        "customTags": [
            {"tag": "model", "value": "%METADATA(ROUTE:slipway:model)%"},
            {"tag": "model_version", "value": "%METADATA(CLUSTER:slipway:version)%"},
        ],
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "serviceName": SERVICE,
                "maxCacheSize": WAITING_SPANS,
                "httpService": {
                    "httpUri": {"uri": url, "cluster": CLUSTER, "timeout": seconds(POST_S)},
                    "requestHeadersToAdd": [{"header": {"key": key, "value": value}} for key, value in settings.trace_headers],
                },
                "sampler": _sampler(settings.trace_sampling_pct),
            },
        },
    }


def _sampler(pct: float) -> dict[str, Any]:
    """A caller's own decision is kept; otherwise chance decides, the same for everybody who sees the trace id."""
    kind = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3"
    ratio = {
        "name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "typedConfig": {
            "@type": f"{kind}.TraceIdRatioBasedSamplerConfig",
            "samplingPercentage": {"numerator": round(pct * 10_000), "denominator": "MILLION"},
        },
    }
    return {
        "name": "envoy.tracers.opentelemetry.samplers.parent_based",
        "typedConfig": {"@type": f"{kind}.ParentBasedSamplerConfig", "wrappedSampler": ratio},
    }
