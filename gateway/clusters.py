"""PURE. One Envoy cluster per model version, and the addresses of its replicas.

Called by `snapshot.py`. A cluster depends on its name and the settings alone, never on replicas or weights, so Envoy keeps its
warm connections whatever a rollout does, and a gateway that reconnects may be given back a cluster by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401 - its import makes the type known to ParseDict
from google.protobuf import json_format

from rollout import model

from .settings import Settings


def cluster_name(model_name: str, version: int) -> str:
    return f"{model_name}/v{version}"


def cluster(name: str, settings: Settings) -> cluster_pb2.Cluster:
    """Outlier detection looks at connections and gateway errors only: an HTTP 500 is the model's answer, for the judge to count.

    A lone replica is never taken out (max_ejection_percent 50, and the panic threshold routes to all when fewer than half are left).
    """
    model_name, _, version = name.rpartition("/v")
    return json_format.ParseDict(
        {
            "name": name,
            "type": "EDS",
            # a cluster whose endpoints never come holds up later clusters for so long, not for Envoy's 15 s
            "edsClusterConfig": {"edsConfig": {"ads": {}, "resourceApiVersion": "V3", "initialFetchTimeout": "3s"}},
            "connectTimeout": seconds(settings.connect_timeout_s),
            "lbPolicy": "LEAST_REQUEST",  # it ignores the hash of sticky callers, so replicas share the load evenly
            "commonLbConfig": {"healthyPanicThreshold": {"value": 50}},
            "circuitBreakers": {
                "thresholds": [
                    {
                        "maxConnections": settings.max_connections,
                        "maxPendingRequests": settings.max_requests,
                        "maxRequests": settings.max_requests,
                        "maxRetries": settings.max_requests,  # retries only follow failed connects, they amplify nothing
                    }
                ]
            },
            "outlierDetection": {
                "splitExternalLocalOriginErrors": True,
                "consecutiveLocalOriginFailure": 2,
                "enforcingConsecutiveLocalOriginFailure": 100,
                "consecutiveGatewayFailure": 5,
                "enforcingConsecutiveGatewayFailure": 100,
                "enforcingConsecutive5xx": 0,
                "enforcingSuccessRate": 0,
                "enforcingLocalOriginSuccessRate": 0,
                "interval": "1s",
                "baseEjectionTime": "1s",
                "maxEjectionTime": "10s",
                "maxEjectionPercent": 50,
            },
            "typedExtensionProtocolOptions": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "commonHttpProtocolOptions": {"idleTimeout": seconds(settings.upstream_idle_s)},
                    "explicitHttpConfig": {"httpProtocolOptions": {}},
                }
            },
            "metadata": {"filterMetadata": {"slipway": {"model": model_name, "version": version}}},
        },
        cluster_pb2.Cluster(),
    )


def endpoints(name: str, addresses: Iterable[str]) -> endpoint_pb2.ClusterLoadAssignment:
    """Whether a host is an address that Envoy can use is left to Envoy; its words come back with the NACK."""
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
        for host, port in map(split_address, addresses)
    ]
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[{"lb_endpoints": hosts}])


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of `host:port` or `[v6]:port`. Raises Invalid."""
    host, _, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise model.Invalid("endpoints", f"an endpoint is host:port with a port from 1 to 65535, not {address!r}")
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def seconds(value: float) -> str:
    """A protobuf duration in JSON."""
    return f"{timedelta(seconds=value).total_seconds():.6f}s"
