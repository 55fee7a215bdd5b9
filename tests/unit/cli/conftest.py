"""A rollout as the API shows it, made by the API's own views, so that the pictures are tested against the real schema."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.api import views
from judge import verdict as verdicts
from rollout import model

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

FINDING = verdicts.Finding(
    guard="error_rate",
    label=verdicts.Label.INSUFFICIENT,
    sentence="Version 4 fails 1.9 times as often as version 3 (at least 0.8 times); about 340 more requests will tell.",
    effect=verdicts.Effect(1.9, 0.8, 4.4),
    evidence=0.84,
    threshold=2.0,
    promotion_evidence=-0.2,
    promotion_threshold=1.3,
    p_value=0.14,
    champion_requests=12_044,
    champion_errors=61,
    challenger_requests=318,
    challenger_errors=3,
    more_requests=340,
)

RECORD = model.ModelRecord("flight-delay", champion=3, split=model.Split.of({3: 80, 4: 20}), epoch=2, revision=3)
SPEC = model.Spec("flight-delay", 4, 3, actor="anna", note="trained on spring data")
STATUS = model.Status(
    model.Phase.PROGRESSING,
    NOW - timedelta(minutes=3),
    step=2,
    step_since=NOW - timedelta(minutes=3),
    step_base=120,
    verdict=verdicts.Verdict("error_rate/1", verdicts.Label.INSUFFICIENT, (FINDING,)),
    had_traffic=True,
    message="Step 3 of 5: 198 of 200 requests judged.",
)

Show = Callable[..., Any]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def show() -> Show:
    """JSON of a rollout on its third step; keywords change its status, `spec` and `requests` what was asked for."""

    def build(*, spec: dict[str, Any] | None = None, requests: model.Requests | None = None, **status: Any) -> Any:
        made = model.Rollout(
            "20260301-114200-k3f9",
            NOW - timedelta(minutes=18),
            replace(SPEC, **(spec or {})),
            requests or model.Requests(),
            replace(STATUS, **status),
            revision=7,
        )
        return views.rollout(made, RECORD).model_dump(mode="json")

    return build
