"""What Prometheus scrapes, in OpenMetrics if it asks for it. Answers from memory: the store, the registry and the gateways may all be down."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from controlplane.metrics import exposition

from .callers import Services

router = APIRouter(tags=["metrics"])


@router.get("/metrics", include_in_schema=False)
async def metrics(services: Services, request: Request) -> Response:
    openmetrics = "application/openmetrics-text" in request.headers.get("accept", "")
    make = services.recorder.exposition(openmetrics=openmetrics)
    body = await asyncio.to_thread(make)
    media = exposition.OPENMETRICS if openmetrics else exposition.PLAIN
    return Response(body, headers={"content-type": media})
