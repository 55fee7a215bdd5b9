"""The outbox of notifications in the store's database. Implements `controlplane.notifications.outbox.Outbox`, as `memory_outbox` does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from controlplane.notifications.outbox import Letter, Owed
from rollout import events

from . import sql
from .schema import cursors, letters
from .schema import events as events_table

NOT_KNOWN = "the receiver is not configured any more"

_JOINED = sa.select(letters, events_table).join(events_table, events_table.c.seq == letters.c.seq)


class SqlOutbox:
    """Uses the threads and the connections of the store, which its maker closes."""

    def __init__(self, store: sql.SqlStore) -> None:
        self._store = store

    async def collect(self, receiver: str, wanted: Callable[[events.Event], bool], now: datetime, *, limit: int) -> int:
        def work(connection: Connection) -> int:
            mine = cursors.c.receiver == receiver
            seen = connection.execute(sa.select(cursors.c.seq).where(mine)).scalar_one_or_none()
            if seen is None:
                newest = connection.execute(sa.select(sa.func.max(events_table.c.seq))).scalar_one()
                connection.execute(sa.insert(cursors).values(receiver=receiver, seq=newest or 0))
                return 0
            query = sa.select(events_table).where(events_table.c.seq > seen).order_by(events_table.c.seq).limit(limit)
            found = [sql.event(row) for row in connection.execute(query)]
            if not found:
                return 0
            at = _text(now)
            row = {"receiver": receiver, "dead": False, "due_at": at, "since": at, "attempts": 0, "error": ""}
            if made := [{**row, "seq": stored.seq} for stored in found if wanted(stored.event)]:
                connection.execute(sa.insert(letters), made)
            connection.execute(sa.update(cursors).where(mine).values(seq=found[-1].seq))
            return len(found)

        # most looks find nothing, and the loop's own writes wait behind each write
        return await self._store.write(work) if await self._store.read(lambda c: _behind(c, receiver)) else 0

    async def first(self, receiver: str) -> Letter | None:
        waiting = letters.c.receiver == receiver, letters.c.dead == sa.false()
        query = _JOINED.where(*waiting).order_by(letters.c.due_at, letters.c.id).limit(1)
        row = await self._store.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else _letter(row)

    async def sent(self, letter_id: int) -> None:
        await self._store.write(lambda c: c.execute(sa.delete(letters).where(letters.c.id == letter_id)))

    async def put_off(self, letter_id: int, due_at: datetime, error: str) -> None:
        await self._change(letter_id, due_at=_text(due_at), error=error)

    async def bury(self, letter_id: int, now: datetime, error: str) -> None:
        await self._change(letter_id, dead=True, since=_text(now), error=error)

    async def _change(self, letter_id: int, **values: object) -> None:
        change = sa.update(letters).where(letters.c.id == letter_id).values(attempts=letters.c.attempts + 1, **values)
        await self._store.write(lambda c: c.execute(change))

    async def dead(self, *, receiver: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[Letter]:
        query = _JOINED.where(letters.c.dead == sa.true()).order_by(letters.c.id.desc()).limit(limit)
        if receiver is not None:
            query = query.where(letters.c.receiver == receiver)
        if before is not None:
            query = query.where(letters.c.id < before)
        return [_letter(row) for row in await self._store.read(lambda c: c.execute(query).all())]

    async def revive(self, now: datetime, *, letter_id: int | None = None, receiver: str | None = None) -> int:
        at = _text(now)
        change = sa.update(letters).where(letters.c.dead == sa.true()).values(dead=False, due_at=at, since=at, attempts=0)
        if letter_id is not None:
            change = change.where(letters.c.id == letter_id)
        if receiver is not None:
            change = change.where(letters.c.receiver == receiver)
        return await self._store.write(lambda c: c.execute(change).rowcount)

    async def owed(self) -> Mapping[str, Owed]:
        known = letters.c
        query = sa.select(known.receiver, known.dead, sa.func.count().label("many")).group_by(known.receiver, known.dead)
        found: dict[str, dict[bool, int]] = {}
        for row in await self._store.read(lambda c: c.execute(query).all()):
            found.setdefault(row.receiver, {})[row.dead] = row.many
        return {receiver: Owed(many.get(False, 0), many.get(True, 0)) for receiver, many in found.items()}

    async def retire(self, known: Collection[str], now: datetime) -> None:
        strange = letters.c.receiver.not_in(known), letters.c.dead == sa.false()

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(cursors).where(cursors.c.receiver.not_in(known)))
            connection.execute(sa.update(letters).where(*strange).values(dead=True, since=_text(now), error=NOT_KNOWN))

        await self._store.write(work)

    async def forget(self, before: datetime) -> int:
        old = sa.delete(letters).where(letters.c.dead == sa.true(), letters.c.since < _text(before))
        return await self._store.write(lambda c: c.execute(old).rowcount)


def _behind(connection: Connection, receiver: str) -> bool:
    """There is something that the receiver's cursor has not seen, or it has none."""
    seen = connection.execute(sa.select(cursors.c.seq).where(cursors.c.receiver == receiver)).scalar_one_or_none()
    newest = connection.execute(sa.select(sa.func.max(events_table.c.seq))).scalar_one()
    return seen is None or (newest or 0) > seen


def _text(at: datetime) -> str:
    """Sorts as times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=row.id,
        receiver=row.receiver,
        stored=sql.event(row),
        due_at=datetime.fromisoformat(row.due_at),
        since=datetime.fromisoformat(row.since),
        attempts=row.attempts,
        error=row.error,
        dead=row.dead,
    )
