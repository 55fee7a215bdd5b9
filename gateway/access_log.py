"""PURE. The gateway's access log: JSON lines in a file, all of what went wrong and a share of the rest.

Must never name what clients send besides method and path: bodies and headers may hold secrets.
"""

from __future__ import annotations

from typing import Any

# ruff: noqa: F401 - importing an extension makes its type known to ParseDict
from envoy.extensions.access_loggers.file.v3 import file_pb2

from . import tracing

MODEL, KIND, EPOCH = (f"%METADATA(ROUTE:slipway:{key})%" for key in ("model", "kind", "epoch"))
VERSION = "%METADATA(CLUSTER:slipway:version)%"
DURATION_US = "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"
_PATH = "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"

SLOW_MS = 1000  # from here on an answer is logged for its slowness


def to_file(path: str, share_pct: float) -> list[dict[str, Any]]:
    """share_pct: of the requests about which there is nothing special."""
    return [
        {
            "name": "envoy.access_loggers.file",
            **({"filter": _filter(share_pct)} if share_pct < 100 else {}),
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": path,
                "logFormat": {"jsonFormat": _line()},
            },
        }
    ]


def _filter(share_pct: float) -> dict[str, Any]:
    """Any of: refused or failed, broken off, slow, kept as a trace, or drawn by chance."""

    def at_least(value: int, key: str) -> dict[str, Any]:
        return {"comparison": {"op": "GE", "value": {"defaultValue": value, "runtimeKey": f"slipway.{key}"}}}

    drawn = {
        "runtimeKey": "slipway.access_log_share",
        "percentSampled": {"numerator": round(share_pct * 10_000), "denominator": "MILLION"},
        "useIndependentRandomness": True,  # or callers could choose by their request ids
    }
    filters = [
        {"statusCodeFilter": at_least(400, "access_log_code")},
        {"responseFlagFilter": {}},
        {"durationFilter": at_least(SLOW_MS, "access_log_slow_ms")},
        {"headerFilter": {"header": {"name": "traceparent", "stringMatch": {"suffix": "-01"}}}},
        {"runtimeFilter": drawn},
    ]
    return {"orFilter": {"filters": filters}}


def _line() -> dict[str, str]:
    return {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "service": tracing.SERVICE,
        "level": "info",
        "message": f"%REQ(:METHOD)% {_PATH} %RESPONSE_CODE%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "trace_id": "%TRACE_ID%",
        "model": MODEL,
        "model_version": VERSION,
        "kind": KIND,
        "epoch": EPOCH,
        "method": "%REQ(:METHOD)%",
        "path": _PATH,
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_us": DURATION_US,
        "upstream": "%UPSTREAM_HOST%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    }
