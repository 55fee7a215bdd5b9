"""Drift's values to compressed JSON and back, for the body columns. Called by `sql_drift` and `memory_drift` alone."""

from __future__ import annotations

import zlib
from typing import Annotated

import orjson
import pydantic

from controlplane.drift.ledger import Cursor, Judged
from rollout import ports

BODY_VERSION = 1


class _JudgedBody(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")  # the mean of a column of categories is none

    v: Annotated[int, pydantic.Field(ge=1, le=BODY_VERSION)] = BODY_VERSION
    judged: Judged


def dump_judged(judged: Judged) -> bytes:
    return zlib.compress(_JudgedBody(judged=judged).model_dump_json().encode())


def load_judged(body: bytes) -> Judged:
    """Raises Refused for what a newer slipway wrote."""
    try:
        return _JudgedBody.model_validate_json(zlib.decompress(body)).judged
    except pydantic.ValidationError as error:
        raise ports.Refused("store", f"a stored verdict on drift cannot be read: {error.errors()[0]['msg']}") from error


def dump_counts(counts: tuple[int, ...]) -> bytes:
    return zlib.compress(orjson.dumps(counts))


def load_counts(body: bytes) -> tuple[int, ...]:
    return tuple(orjson.loads(zlib.decompress(body)))


def dump_cursor(cursor: Cursor) -> bytes:
    return zlib.compress(orjson.dumps([[*key, counts] for key, counts in cursor.items()]))


def load_cursor(body: bytes) -> Cursor:
    return {(replica, process): tuple(counts) for replica, process, counts in orjson.loads(zlib.decompress(body))}
