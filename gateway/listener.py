"""PURE. The listener that clients speak to: HTTP rules, limits, error documents, the judge's counters and the access log.

Called by `session.py` once per gateway node, since each node names its own access log file. Knows nothing of models.
"""

from __future__ import annotations

from typing import Any

# ruff: noqa: F401 - importing an extension makes its type known to ParseDict
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from google.protobuf import json_format
from xds.type.v3 import typed_struct_pb2

from . import access_log, tracing
from .access_log import EPOCH, KIND, MODEL, VERSION
from .clusters import seconds
from .settings import Settings

NAME = "ingress"
STATS_PREFIX = "slipway"  # of what is counted for the judge, read back by counts.py

# Broken off after the first byte, or never answered for reasons on the replica's side: errors, whatever the code says.
# The client's own disconnect (DC) is not among them.
_UPSTREAM_FLAGS = ["UF", "UH", "UT", "UC", "UR", "LR", "UO", "UPE", "UMSDR", "URX", "NC"]


def listener(settings: Settings, access_log_path: str | None, otlp: str | None = None) -> listener_pb2.Listener:
    """access_log_path: a file of that gateway. otlp: where it sends spans; the cluster is in its bootstrap. None: neither."""
    manager = _connection_manager(settings, access_log_path, otlp)
    return json_format.ParseDict(
        {
            "name": NAME,
            "address": {"socketAddress": {"address": settings.host, "portValue": settings.port}},
            "enableReusePort": False,  # or a forgotten Envoy would silently take half of the traffic; so its port is taken
            "perConnectionBufferLimitBytes": 1024 * 1024,
            "filterChains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager}]}],
        },
        listener_pb2.Listener(),
    )


def _connection_manager(settings: Settings, access_log_path: str | None, otlp: str | None) -> dict[str, Any]:
    ads = {"ads": {}, "resourceApiVersion": "V3"}
    return {
        "@type": _type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "statPrefix": NAME,
        "scopedRoutes": {
            "name": "models",
            "scopeKeyBuilder": {
                "fragments": [{"headerValueExtractor": {"name": ":path", "elementSeparator": "/", "index": 1}}]
            },
            "rdsConfigSource": ads,
            "scopedRds": {"scopedRdsConfigSource": ads},
        },
        "httpFilters": [
            {
                "name": "envoy.filters.http.buffer",
                "typedConfig": {
                    "@type": _type("filters.http.buffer.v3.Buffer"),
                    "maxRequestBytes": settings.body_limit_bytes,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typedConfig": {"@type": _type("filters.http.router.v3.Router")},
            },
        ],
        # x-request-id: the client's if it sent one, else a new one; on every answer
        "generateRequestId": True,
        "preserveExternalRequestId": True,
        "alwaysSetRequestIdInResponse": True,
        "requestIdExtension": {
            "typedConfig": {
                "@type": _type("request_id.uuid.v3.UuidRequestIdConfig"),
                "packTraceReason": False,
                "useRequestIdForTraceSampling": False,  # clients choose it
            }
        },
        **({"tracing": tracing.tracing(settings, otlp)} if otlp else {}),
        # no client is trusted to steer Envoy by x-envoy-* headers
        "useRemoteAddress": True,
        "earlyHeaderMutationExtensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typedConfig": {
                    "@type": _type("http.early_header_mutation.header_mutation.v3.HeaderMutation"),
                    "mutations": _distrusted(settings),
                },
            }
        ],
        "serverName": "slipway",  # stands in for the replica's own server header
        "normalizePath": True,
        "mergeSlashes": True,
        "pathWithEscapedSlashesAction": "REJECT_REQUEST",
        "commonHttpProtocolOptions": {"idleTimeout": seconds(settings.client_idle_s)},
        "requestHeadersTimeout": "10s",
        "requestTimeout": seconds(settings.request_timeout_s),  # to receive the whole request: 408
        "streamIdleTimeout": seconds(settings.request_timeout_s * 2),  # the route's own timeout speaks first
        "drainTimeout": seconds(settings.drain_s),
        "localReplyConfig": _error_documents(),
        "accessLog": [
            *_counters(),
            *(access_log.to_file(access_log_path, settings.access_log_share_pct) if access_log_path else []),
        ],
    }


def _distrusted(settings: Settings) -> list[dict[str, Any]]:
    """Headers of clients that are taken off before anybody reads them."""
    traces = () if settings.trace_callers else ({"remove": "traceparent"}, {"remove": "tracestate"})
    return [{"removeOnMatch": {"keyMatcher": {"prefix": "x-envoy-"}}}, *traces]


def _error_documents() -> dict[str, Any]:
    """Everything that Envoy itself answers is an RFC 9457 problem document."""

    def document(title: str, detail: str) -> dict[str, Any]:
        fields = {
            "type": "about:blank",
            "title": title,
            "status": "%RESPONSE_CODE%",
            "detail": detail,
            "request_id": "%REQ(X-REQUEST-ID)%",
        }
        return {"jsonFormat": fields, "contentType": "application/problem+json"}

    def on_code(code: int, title: str, detail: str) -> dict[str, Any]:
        comparison = {"op": "EQ", "value": {"defaultValue": code, "runtimeKey": "slipway.unused"}}
        return {"filter": {"statusCodeFilter": {"comparison": comparison}}, "bodyFormatOverride": document(title, detail)}

    no_model = {
        "filter": {"responseFlagFilter": {"flags": ["NR"]}},
        "bodyFormatOverride": document("Not Found", "No such model is in service here."),
    }
    return {
        "mappers": [
            no_model,
            on_code(404, "Not Found", "%LOCAL_REPLY_BODY%"),
            on_code(408, "Request Timeout", "The request did not arrive completely in time."),
            on_code(413, "Content Too Large", "The request body is larger than this gateway allows."),
            on_code(503, "Service Unavailable", "No replica of this version took the request (%RESPONSE_CODE_DETAILS%)."),
            on_code(504, "Gateway Timeout", "The model did not answer in time."),
        ],
        "bodyFormat": document("Request failed", "%RESPONSE_CODE_DETAILS%"),
    }


def _counters() -> list[dict[str, Any]]:
    """What is counted when a request ends; `counts.py` reads it. Of each model, version, kind of route, epoch and replica:

    requests: always. errors: if it failed. latency: microseconds, if a replica answered it, and it is no error. abandoned:
    milliseconds until the client hung up, which is the least that the answer would have taken (Envoy has no finer end of those);
    a version so slow that clients give up would have no slow requests otherwise.
    """
    tags = [
        {"name": "model", "value_format": MODEL},
        {"name": "version", "value_format": VERSION},
        {"name": "kind", "value_format": KIND},
        {"name": "epoch", "value_format": EPOCH},
        {"name": "replica", "value_format": "%UPSTREAM_HOST%"},  # empty if none was found
    ]

    def counter(name: str) -> dict[str, Any]:
        return _stats({"counters": [{"stat": {"name": name, "tags": tags}, "value_fixed": 1}]})

    def histogram(name: str, unit: str, value: str) -> dict[str, Any]:
        return _stats({"histograms": [{"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}]})

    failed = [_code("GE", 500), {"responseFlagFilter": {"flags": _UPSTREAM_FLAGS}}]
    hung_up = [_code("LE", 499), {"responseFlagFilter": {"flags": ["DC"]}}]
    return [
        counter("requests"),
        {**counter("errors"), "filter": {"orFilter": {"filters": failed}}},
        {**histogram("latency", "Microseconds", access_log.DURATION_US), "filter": _answered()},
        {**histogram("abandoned", "Milliseconds", "%DURATION%"), "filter": {"andFilter": {"filters": hung_up}}},
    ]


def _stats(what: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.stats",
        # as a typed struct, since xds-protos does not know `stats_scope` yet; Envoy 1.40 does
        "typedConfig": {
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "typeUrl": _type("access_loggers.stats.v3.Config"),
            "value": {"stats_scope": {"prefix": STATS_PREFIX, "sharing_name": STATS_PREFIX, "enable_eviction": True}, **what},
        },
    }


def _code(comparison: str, code: int) -> dict[str, Any]:
    value = {"defaultValue": code, "runtimeKey": "slipway.unused"}
    return {"statusCodeFilter": {"comparison": {"op": comparison, "value": value}}}


def _answered() -> dict[str, Any]:
    """Completely, by a replica. What broke off has other details and no duration: Envoy would log an error for each of them."""
    return {
        "extensionFilter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typedConfig": {
                "@type": _type("access_loggers.filters.cel.v3.ExpressionFilter"),
                "expression": "response.code < 500 && response.code_details == 'via_upstream'",
            },
        }
    }


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"
