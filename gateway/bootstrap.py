"""PURE. Envoy's bootstrap: who it is, where its control plane listens, and its own admin interface. All else comes over ADS.

Called by whoever starts a gateway (the launcher in `cli/`, an image). Holds no secrets.
"""

from __future__ import annotations

import json
from typing import Any

from . import tracing
from .clusters import split_address
from .listener import STATS_PREFIX

CONTROL_PLANE = "control_plane"
# What is worth counting. Envoy keeps 75 numbers per cluster, and each reading walks over all: 16 ms with 200 models, now 4.
_PER_CLUSTER = (
    rf"cluster\.({CONTROL_PLANE}|{tracing.CLUSTER}|.+/v[0-9]+)\."
    r"(upstream_rq_(total|active|pending_active|pending_overflow|timeout|time|retry|retry_success|retry_overflow"
    r"|rx_reset|tx_reset|cancelled|[1-5]xx|[1-5][0-9][0-9])|upstream_cx_(total|active|connect_fail|connect_timeout|overflow|connect_ms)"
    r"|membership_(total|healthy)|outlier_detection\.ejections_(active|enforced_total)"
    r"|circuit_breakers\.default\.(rq_open|cx_open)|lb_healthy_panic)"
)
# Every number of a version's cluster says whose it is. Group 1 is cut from the name (dots in a model's name included), group 2 is the tag.
_TAGS = [
    {"tag_name": "model", "regex": r"^cluster\.((.+)/v[0-9]+\.)"},
    {"tag_name": "model_version", "regex": r"^cluster\.(.+/v([0-9]+)\.)"},
]
# Milliseconds, for models that answer in one. Envoy's request times are whole ones: what took less than 1 ms counts as 0.
_BUCKETS = [
    {
        "match": {"suffix": "upstream_rq_time"},
        "buckets": [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2500, 5000, 10000],
    },
    {"match": {"suffix": "_ms"}, "buckets": [1, 5, 25, 100, 500, 2500, 10000]},
]
_STATS: list[dict[str, Any]] = [
    {"prefix": f"{STATS_PREFIX}."},
    *(
        {"prefix": f"{room}."}
        for room in ("http", "listener", "listener_manager", "cluster_manager", "control_plane", "server", "tracing")
    ),
    {"safe_regex": {"regex": _PER_CLUSTER}},
]
# Latencies reach the admin interface with a flush; 800 histograms of 200 models cost the main thread 5 ms each time. Not flushed by
# each reading (`stats_flush_on_admin`): it would answer before its flush is done, and Envoy counts the time to eviction in flushes.
FLUSH_S = 0.25
# Envoy's own log, as lines like those of the access log. It has no zone but the machine's: start Envoy with TZ=UTC (`process.ENVIRONMENT`).
_LOG_LINE = {"time": "%Y-%m-%dT%T.%eZ", "level": "%l", "service": tracing.SERVICE, "logger": "envoy.%n", "message": "%j"}
_EVICTION_S = 6 * 3600  # counters untouched for this long are dropped, so ever-new epochs do not fill the memory


def render(
    node_id: str,
    *,
    ads: str,
    admin: str,
    admin_listen: str | None = None,
    access_log_path: str | None = None,
    otlp: str | None = None,
    eviction_s: int = _EVICTION_S,
) -> str:
    """Bootstrap JSON. Addresses are host:port. `admin`: where the control plane and Prometheus reach the admin interface; `admin_listen`: on
    which IP address it listens, if that is another one. It can stop Envoy, so let nobody else reach it. `otlp`: where spans go, such as
    http://127.0.0.1:4318; without it there are no traces."""
    told = {"admin": admin, "access_log": access_log_path, "otlp": otlp}
    metadata = {key: value for key, value in told.items() if value}
    runtime = {"layered_runtime": {"layers": [{"name": "slipway", "static_layer": tracing.RUNTIME}]}} if otlp else {}
    source: dict[str, Any] = {"resource_api_version": "V3", "ads": {}}
    config = {
        "node": {"id": node_id, "cluster": "slipway", "metadata": metadata},
        "admin": {"address": _address(admin_listen or admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": CONTROL_PLANE,
                            # back within a second or so after the control plane is
                            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}},
                        }
                    }
                ],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": [_control_plane(ads), *([tracing.cluster(otlp)] if otlp else [])]},
        **runtime,
        "application_log_config": {"log_format": {"json_format": _LOG_LINE}},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": _STATS}},
            "stats_tags": _TAGS,
            "histogram_bucket_settings": _BUCKETS,
        },
        "stats_flush_interval": f"{FLUSH_S:.3f}s",
        "stats_eviction_interval": f"{eviction_s}s",
        # counters of a version come into being with its first request, not 400 at a time
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
    }
    return json.dumps(config, indent=1)


def _control_plane(ads: str) -> dict[str, Any]:
    """DNS, so that a name such as `controlplane` works too. Pings find a frozen control plane; traffic goes on without it."""
    return {
        "name": CONTROL_PLANE,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": CONTROL_PLANE,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(ads)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
                },
            }
        },
    }


def _address(address: str) -> dict[str, Any]:
    host, port = split_address(address)
    return {"socket_address": {"address": host, "port_value": port}}
