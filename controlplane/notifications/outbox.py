"""What is owed to the receivers: a port, implemented by `controlplane.store` in SQL and in memory.

Letters are derived from the history by a cursor per receiver, so what happened is never forgotten to be told, and a letter is in the
store before it is sent for the first time. It leaves the store once the receiver has confirmed it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rollout import events


@dataclass(frozen=True, slots=True)
class Letter:
    """One event for one receiver. `since`: when it was first owed, or sent again by a person; of a dead one when it was given up.
    `error`: why the last attempt failed, in words without secrets."""

    id: int
    receiver: str
    stored: events.Stored
    due_at: datetime
    since: datetime
    attempts: int = 0
    error: str = ""
    dead: bool = False

    @property
    def key(self) -> str:
        """The same for every attempt, so that a receiver knows a letter that comes twice."""
        event = self.stored.event
        return f"{event.rollout_id or event.model}-{self.stored.seq}-{self.receiver}"


@dataclass(frozen=True, slots=True)
class Owed:
    """How many letters wait for a receiver, and how many were given up."""

    waiting: int = 0
    dead: int = 0


class Outbox(Protocol):
    """Every call is one transaction. Raises rollout.ports.Unavailable when the store is away."""

    async def collect(self, receiver: str, wanted: Callable[[events.Event], bool], now: datetime, *, limit: int) -> int:
        """Look through the next events of the history and write a letter for each wanted one, due now. How many events were looked
        at: as many as `limit` means that there may be more. A receiver that was never heard of starts with what happens from now on."""
        ...

    async def first(self, receiver: str) -> Letter | None:
        """The letter that is due first."""
        ...

    async def sent(self, letter_id: int) -> None:
        """The receiver confirmed it: forget it. Unknown is no error."""
        ...

    async def put_off(self, letter_id: int, due_at: datetime, error: str) -> None:
        """An attempt failed, another one follows."""
        ...

    async def bury(self, letter_id: int, now: datetime, error: str) -> None:
        """An attempt failed, and none follows until a person asks for it."""
        ...

    async def dead(self, *, receiver: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[Letter]:
        """Newest first; `before` is a letter's id to page on."""
        ...

    async def revive(self, now: datetime, *, letter_id: int | None = None, receiver: str | None = None) -> int:
        """Dead letters are due again, all of them or those named. How many."""
        ...

    async def owed(self) -> Mapping[str, Owed]:
        """By receiver."""
        ...

    async def retire(self, known: Collection[str], now: datetime) -> None:
        """Receivers that are not among the known: their letters are given up, and should they come back they start anew."""
        ...

    async def forget(self, before: datetime) -> int:
        """Drop letters that were given up earlier than this. How many."""
        ...
