"""Domain values to JSON text and back, for the body columns.

The columns beside a body are only for finding and comparing rows; the body is the value. Bodies carry their own version,
so that a row written by a newer slipway is refused and never misread. Called by `sql` and `memory` alone.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Mapping
from typing import Annotated, TypeVar, cast

import pydantic
import pydantic_core

from judge import evidence
from rollout import model, ports

BODY_VERSION = 1

_Version = Annotated[int, pydantic.Field(ge=1, le=BODY_VERSION)]


class _Envelope(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")  # evidence may be infinite, JSON has no word for it

    v: _Version = BODY_VERSION


class _RolloutBody(_Envelope):
    rollout: model.Rollout


class _RecordBody(_Envelope):
    record: model.ModelRecord


class _ReadingBody(_Envelope):
    reading: model.Reading


Body = TypeVar("Body", bound=_Envelope)


def dump_rollout(rollout: model.Rollout) -> str:
    return _RolloutBody(rollout=rollout).model_dump_json()


def load_rollout(text: str) -> model.Rollout:
    """Evidence in the shape of an earlier judge is left out, rather than the rollout: it begins anew (see `rollout.judging`)."""
    try:
        return _load(_RolloutBody, text).rollout
    except ports.Refused:
        without = _without_old_evidence(text)
        if without is None:
            raise
        return _load(_RolloutBody, without).rollout


def _without_old_evidence(text: str) -> str | None:
    """None: there is none in it."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        body = json.loads(text)
        status = body["rollout"]["status"]
        if status["judge"]["version"] < evidence.VERSION:
            status["judge"] = None
            return json.dumps(body)
    return None


def dump_record(record: model.ModelRecord) -> str:
    return _RecordBody(record=record).model_dump_json()


def load_record(text: str) -> model.ModelRecord:
    return _load(_RecordBody, text).record


def dump_reading(reading: model.Reading) -> bytes:
    """Compressed: names and most digits repeat."""
    return zlib.compress(_ReadingBody(reading=reading).model_dump_json(exclude_defaults=True).encode())


def load_reading(body: bytes) -> model.Reading:
    return _load(_ReadingBody, zlib.decompress(body).decode()).reading


def dump_data(data: Mapping[str, object]) -> str:
    return pydantic_core.to_json(data, inf_nan_mode="strings").decode()


def load_data(text: str) -> Mapping[str, object]:
    return cast("Mapping[str, object]", json.loads(text))


def _load(kind: type[Body], text: str) -> Body:
    try:
        return kind.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["loc"] == ("v",):
            message = (
                f"a row was written by a newer slipway (body version {first['input']}, this one reads up to {BODY_VERSION})"
            )
        else:
            message = f"a stored row cannot be read: {where}: {first['msg']}"
        raise ports.Refused("store", message) from error
