"""Pages of the champions' past to compressed JSON and back. Called by `sql_past` and `memory_past` alone."""

from __future__ import annotations

import zlib
from dataclasses import astuple

import orjson

from judge.samples import Sample
from judge.selfcheck import Reading


def dump(readings: tuple[Reading, ...]) -> bytes:
    return zlib.compress(orjson.dumps([[each.at_s, [astuple(sample) for sample in each.samples]] for each in readings]), 1)


def load(body: bytes) -> tuple[Reading, ...]:
    return tuple(Reading(at_s, tuple(map(_sample, samples))) for at_s, samples in orjson.loads(zlib.decompress(body)))


def _sample(values: list[object]) -> Sample:
    """Back from JSON, which has lists for tuples."""
    return Sample(*(_tupled(value) if isinstance(value, list) else value for value in values))  # type: ignore[arg-type]  # in the order of the fields


def _tupled(pairs: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(pair) for pair in pairs)
