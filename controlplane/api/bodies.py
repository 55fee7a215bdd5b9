"""What comes in to start a rollout or to change its course, field by field. Read by the routes; decides nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import pydantic
from pydantic import ConfigDict, Field

from judge import policy as policies
from judge import presets
from rollout import model as domain

from .schemas import MAX_VERSION, Body


def _step(value: object) -> object:
    """A bare number is a step of that weight."""
    return {"weight_pct": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _policy(value: object) -> object:
    """A preset by name, or with changes: `fast`, `{"preset": "fast", "alpha": 0.02}`."""
    name = value if isinstance(value, str) else value.get("preset") if isinstance(value, dict) else None
    if name is None:
        return value
    if name not in presets.PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(presets.PRESETS)}")
    return _changed(asdict(presets.PRESETS[name]), value if isinstance(value, dict) else {})


def _changed(known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The preset's values with these in place of theirs, guard by guard."""
    changed = dict(known)
    for key, value in changes.items():
        if key != "preset":
            both = isinstance(value, dict) and isinstance(known.get(key), dict)
            changed[key] = _changed(known[key], value) if both else value
    return changed


Policy = Annotated[
    policies.Policy, pydantic.BeforeValidator(_policy, json_schema_input_type=str | policies.Policy | dict[str, Any])
]
Step = Annotated[domain.Step, pydantic.BeforeValidator(_step, json_schema_input_type=int | domain.Step)]
Text = Annotated[str, Field(max_length=2000)]


class RolloutBody(Body):
    """A rollout to start (or, with /plan, only to look at)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "flight-delay", "version": 4},
                {
                    "model": "flight-delay",
                    "version": 4,
                    "strategy": "canary",
                    "steps": [1, {"weight_pct": 10, "requests": 500, "min_s": 60}, 50, 100],
                    "policy": {"alpha": 0.01, "on_blind": "roll_back", "error_rate": {"margin_ratio": 1.5}},
                    "note": "trained on spring data",
                },
            ]
        }
    )

    model: Annotated[str, Field(max_length=250, description="A registered model in MLflow.")]
    version: Annotated[int, Field(ge=1, le=MAX_VERSION, description="The version that is to become the champion.")]
    strategy: Annotated[domain.Strategy, Field(description="`canary` (in steps) or `blue-green` (at once).")] = (
        domain.Strategy.CANARY
    )
    steps: Annotated[
        tuple[Step, ...] | None,
        Field(
            max_length=50,
            description="Of a canary: weights in percent, or objects `{weight_pct, requests, min_s}`; they rise and end at 100. "
            "Left out: 1, 5, 20, 50, 100 with 100 requests each.",
        ),
    ] = None
    auto: Annotated[
        domain.Ramp | None,
        Field(
            description="Of a canary instead of steps: the share follows the evidence, within a budget of bad answers. `{}` takes all "
            "defaults: 20 bad answers at most within 4 s, hold at 50 %, bake there for 60 s."
        ),
    ] = None
    policy: Annotated[
        Policy,
        Field(
            description="What is guarded and how strictly; what is left out keeps its default. Or a preset by name (`cautious`, "
            "`standard`, `fast`), also with changes: `{preset: fast, alpha: 0.02}`."
        ),
    ] = policies.Policy()
    replicas: Annotated[int, Field(description="How many servers of the version to run, 1 to 64.")] = 1
    start_deadline_s: Annotated[float, Field(description="Seconds to be ready for traffic, or the rollout fails.")] = 180.0
    probation_s: Annotated[
        float, Field(description="Seconds after the promotion in which the old champion stays warm for an undo.")
    ] = 600.0
    note: Annotated[Text, Field(description="Why, for the history.")] = ""


class ReasonBody(Body):
    """Why something is asked for. The whole body may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "errors on the dashboard"}]})

    reason: Annotated[Text, Field(description="Kept in the history.")] = ""
