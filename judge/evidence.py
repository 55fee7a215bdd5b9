"""The judge's state (being written)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    version: int = 1
