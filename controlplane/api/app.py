"""Puts the API together. Called once by `controlplane.main` with the services; no work at import."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI

from . import alerts, drift, drift_reports, errors, health, metrics, models, notifications, replays, rollouts, targets, verbs
from .calls import Calls
from .guards import Guards
from .links import PREFIX
from .metering import Metering
from .services import Services

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

DESCRIPTION = """
slipway takes a registered model version, starts it, ramps traffic onto it while a statistical judge watches, and either makes
it the champion or takes it off again.

Every change is **recorded and answered with 202**; the loop obeys it, within milliseconds. Follow it with `watch`.
Send an `Idempotency-Key` with a POST, and a lost answer can be asked for again. Errors are RFC 9457 problem details.

    curl -X POST localhost:8700/api/v1/rollouts -H 'Content-Type: application/json' -d '{"model": "flight-delay", "version": 4}'
"""

TAGS = [
    {"name": "rollouts", "description": "Attempts to make a version the champion."},
    {"name": "models", "description": "What is registered, what is served, and how the traffic is split."},
    {"name": "drift", "description": "Whether what is served still sees, and answers, what it was trained on."},
    {"name": "metrics", "description": "For Prometheus and Alertmanager; the numbers themselves are at /metrics."},
    {"name": "notifications", "description": "Who is told of rollouts, and what could not be delivered."},
    {"name": "health", "description": "For supervisors and load balancers."},
]


def create_app(services: Services, lifespan: Lifespan | None = None) -> FastAPI:
    app = FastAPI(
        title="slipway",
        version=services.version,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        generate_unique_id_function=lambda route: f"{route.tags[0]}_{route.name}",
    )
    app.state.services = services
    app.add_middleware(Guards, max_body_bytes=services.max_body_bytes)
    app.add_middleware(Metering, answered=services.recorder.answered)
    app.add_middleware(Calls)
    errors.install(app)
    app.include_router(models.router, prefix=PREFIX)
    app.include_router(drift.router, prefix=PREFIX)
    app.include_router(drift_reports.router, prefix=PREFIX)
    app.include_router(rollouts.router, prefix=PREFIX)
    app.include_router(verbs.router, prefix=PREFIX)
    app.include_router(replays.router, prefix=PREFIX)
    app.include_router(targets.router, prefix=PREFIX)
    app.include_router(alerts.router, prefix=PREFIX)
    app.include_router(notifications.router, prefix=PREFIX)
    app.include_router(health.router, prefix=PREFIX)
    app.include_router(health.router, include_in_schema=False)  # where supervisors look for it
    app.include_router(metrics.router)
    _problems_are_problems(app)
    return app


def _problems_are_problems(app: FastAPI) -> None:
    """FastAPI documents every model as application/json; say what is really sent."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        for path in schema["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    body = content.get("application/json", {})
                    if body.get("schema", {}).get("$ref", "").endswith("/Problem"):
                        response["content"] = {errors.ProblemResponse.media_type: body}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for changing the schema
