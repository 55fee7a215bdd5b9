"""Who calls, and whether the call was made before: the headers that every request for a change may carry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, cast

import pydantic
from fastapi import Depends, Header, Request

from rollout import ports

from . import services as parts


def _services(request: Request) -> parts.Services:
    return cast("parts.Services", request.app.state.services)


Services = Annotated[parts.Services, Depends(_services)]


@dataclass(frozen=True, slots=True)
class Call:
    """One request for a change. `path` and the body make the fingerprint that a repeated key is compared with."""

    path: str
    actor: str
    key: str | None

    def idempotency(self, body: pydantic.BaseModel, rollout_id: str = "") -> ports.Idempotency | None:
        if self.key is None:
            return None
        fingerprint = hashlib.sha256(f"{self.path}\n{body.model_dump_json()}".encode()).hexdigest()
        return ports.Idempotency(self.key, fingerprint, rollout_id)


def _call(
    request: Request,
    x_slipway_actor: Annotated[
        str, Header(description="Who asks, for the history.", max_length=100, pattern=r"^[ -~]+$")
    ] = "anonymous",
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Any string that is new for each new wish. Sent again with the same body it answers without a "
            "second effect, so that a lost answer can be asked for again.",
            max_length=200,
            pattern=r"^[ -~]+$",
        ),
    ] = None,
) -> Call:
    return Call(request.url.path, x_slipway_actor, idempotency_key)


Caller = Annotated[Call, Depends(_call)]
