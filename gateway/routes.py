"""PURE. The routes of one model: its split, its pinned versions, the testers' override, and what is said to everybody else.

Called by `snapshot.py`. Each route carries metadata (model, kind, epoch) that the access log and the judge's counters print, so an
outcome is counted under the epoch its request arrived under, however late it ends: Envoy keeps a request's route for life.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_pb2, scoped_route_pb2

from rollout import model

from . import tracing
from .clusters import cluster_name
from .settings import Settings

KEY_HEADER = "x-slipway-key"  # callers who send it stay on one side of the split
VERSION_HEADER = "x-slipway-version"  # testers who send it get this version or a 404
EPOCH_HEADER = "x-slipway-epoch"  # tells a replica that a request came along the split, and under which epoch: it counts its answers by that
VERBS = ("predict", "invocations")
READY_TIMEOUT_S = 5.0

# kinds of routes, as counted and logged
SPLIT, PINNED, OVERRIDE, READY, NONE = "split", "pinned", "override", "ready", "none"


def route_configuration(routing: model.Routing, settings: Settings) -> route_pb2.RouteConfiguration:
    name, versions = routing.model, [version for version, _ in routing.endpoints]
    compiler = _Compiler(routing, settings)
    routes = []
    for verb in VERBS:
        path = f"/{name}/{verb}"
        routes += [compiler.route(OVERRIDE, path, version, _equals(VERSION_HEADER, str(version))) for version in versions]
        absent = f"The version named in {VERSION_HEADER} is not in service; {_in_service(versions)}."
        routes.append(compiler.not_found(_match(path, "POST", {"name": VERSION_HEADER, "present_match": True}), absent))
        routes.append(compiler.route(SPLIT, path))
    routes.append(compiler.route(READY, f"/{name}/ready"))
    for version in versions:
        routes += [compiler.route(PINNED, f"/{name}/v{version}/{verb}", version) for verb in VERBS]
        routes.append(compiler.route(READY, f"/{name}/v{version}/ready", version))
    usage = (
        f"{name} answers POST /{name}/predict and /{name}/invocations, the same below /{name}/v<version>, "
        f"and GET .../ready; {_in_service(versions)}."
    )
    routes.append(compiler.not_found({"prefix": "/"}, usage))
    host = {
        "name": name,
        "domains": ["*"],
        "routes": routes,
        "retry_policy": _retry_policy(settings),
        "response_headers_to_add": [_header("x-model", name), _header(tracing.TRACE_HEADER, "%TRACE_ID%")],
        "response_headers_to_remove": ["x-envoy-upstream-service-time", "x-envoy-overloaded"],
    }
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def scope(model_name: str) -> scoped_route_pb2.ScopedRouteConfiguration:
    """Binds the first path segment to the model's own route configuration: one model's change touches no other, and a request
    finds its routes by one hash lookup however many models there are."""
    return scoped_route_pb2.ScopedRouteConfiguration(
        name=model_name, route_configuration_name=model_name, key={"fragments": [{"string_key": model_name}]}
    )


def _in_service(versions: list[int]) -> str:
    return f"in service: {', '.join(f'v{version}' for version in versions)}"


class _Compiler:
    """Makes the single routes of one routing."""

    def __init__(self, routing: model.Routing, settings: Settings) -> None:
        self._routing = routing
        self._settings = settings

    def route(self, kind: str, path: str, version: int | None = None, *headers: dict[str, Any]) -> dict[str, Any]:
        """To one version, or along the split when none is named."""
        ready = kind == READY
        timeout_s = READY_TIMEOUT_S if ready else self._settings.request_timeout_s
        action: dict[str, Any] = {
            # on an exact path it replaces the path and keeps the query
            "prefix_rewrite": "/readyz" if ready else path[path.rindex("/") :],
            "timeout": {"nanos": round(timeout_s % 1 * 1e9), "seconds": int(timeout_s)},
        }
        if version is None:
            action["weighted_clusters"] = _weights(self._routing)
            action["hash_policy"] = [_hash_policy(self._routing.model)]
        else:
            action["cluster"] = cluster_name(self._routing.model, version)
        along = kind == SPLIT
        return {
            "name": f"{kind}/{self._routing.model}",
            "match": _match(path, "GET" if ready else "POST", *headers),
            "route": action,
            "metadata": self._metadata(kind),
            "request_headers_to_add": [_header(EPOCH_HEADER, str(self._routing.epoch))] if along else [],
            "request_headers_to_remove": [] if along else [EPOCH_HEADER],
            "response_headers_to_add": [] if version is None else [_header("x-model-version", str(version))],
        }

    def not_found(self, match: dict[str, Any], sentence: str) -> dict[str, Any]:
        """The listener's local reply wraps the sentence into a problem document."""
        return {
            "name": f"{NONE}/{self._routing.model}",
            "match": match,
            "direct_response": {"status": 404, "body": {"inline_string": sentence}},
            "metadata": self._metadata(NONE),
        }

    def _metadata(self, kind: str) -> dict[str, Any]:
        epoch = str(self._routing.epoch) if kind == SPLIT else "0"
        fields = {"model": self._routing.model, "kind": kind, "epoch": epoch}
        return {"filter_metadata": {"slipway": {"fields": {key: {"string_value": value} for key, value in fields.items()}}}}


def _match(path: str, method: str, *headers: dict[str, Any]) -> dict[str, Any]:
    return {"path": path, "headers": [*headers, _equals(":method", method)]}


def _equals(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}


def _retry_policy(settings: Settings) -> dict[str, Any]:
    """Only what never reached a replica is tried again, on another replica if there is one; an answer is never asked for twice."""
    predicate = {
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {
            "type_url": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
        },
    }
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": {"value": settings.retries},
        "retry_back_off": {"base_interval": {"nanos": 5_000_000}, "max_interval": {"nanos": 50_000_000}},
        "retry_host_predicate": [predicate],
        "host_selection_retry_max_attempts": 3,
    }


def _weights(routing: model.Routing) -> dict[str, Any]:
    """Versions ascending, always. The hash picks a point on the line that the weights divide; with two versions one always owns
    its left end and the other its right end, so whichever side grows keeps every caller it had."""
    return {
        "clusters": [
            {
                "name": cluster_name(routing.model, version),
                "weight": {"value": weight_pct},
                "response_headers_to_add": [_header("x-model-version", str(version))],
            }
            for version, weight_pct in routing.split.weights
        ],
        "use_hash_policy": {"value": True},
    }


def _hash_policy(model_name: str) -> dict[str, Any]:
    """Salted with the model's name, or the same unlucky callers would be first in the canary of every model."""
    return {
        "header": {
            "header_name": KEY_HEADER,
            "regex_rewrite": {"pattern": {"regex": "^(.*)$"}, "substitution": f"{model_name}/\\1"},
        }
    }


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
