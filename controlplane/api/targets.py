"""Whom Prometheus shall scrape: HTTP service discovery, asked every few seconds. Answers from memory, so a scrape plan survives a bad day."""

from __future__ import annotations

from enum import StrEnum

import pydantic
from fastapi import APIRouter

from monitoring import names

from .callers import Services
from .errors import documented

router = APIRouter(tags=["metrics"])


class Kind(StrEnum):
    GATEWAYS = "gateways"
    REPLICAS = "replicas"


class TargetGroup(pydantic.BaseModel):
    """As Prometheus wants it: https://prometheus.io/docs/prometheus/latest/http_sd/"""

    targets: tuple[str, ...]
    labels: dict[str, str]


@router.get("/targets/{kind}", summary="Targets for Prometheus", responses=documented(422))
async def targets(services: Services, kind: Kind) -> tuple[TargetGroup, ...]:
    """Every connected gateway (its admin address), or every replica that may take traffic. They come and go with each answer."""
    if kind is Kind.GATEWAYS:
        return tuple(
            TargetGroup(targets=(address,), labels={"gateway": node})
            for node, address in sorted(services.gateways().items())
            if address
        )
    return tuple(
        TargetGroup(targets=(replica.address,), labels={names.MODEL: replica.model, names.VERSION: str(replica.version)})
        for replica in services.recorder.replicas()
    )
