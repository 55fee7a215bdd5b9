"""The ledger of drift in the store's database. Implements `controlplane.drift.ledger.Ledger`, as `memory_drift` does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from controlplane.drift.ledger import Cursor, Entry, Judged, Key
from monitoring.drift.windows import Slice
from rollout import events

from . import drift_bodies, sql
from .schema import drift_cursors, drift_slices, drift_verdicts

FORGOTTEN_AT_ONCE = 5000  # rows; more would keep the writer from its work


class SqlLedger:
    """Uses the threads and the connections of the store, which its maker closes."""

    def __init__(self, store: sql.SqlStore) -> None:
        self._store = store

    async def add(self, key: Key, gained: Slice | None, cursor: Cursor) -> None:
        whose = {"model": key.model, "version": key.version, "profile": key.profile}
        row = None
        if gained is not None:
            times = {"start_at": _text(gained.start), "end_at": _text(gained.end)}
            row = {**whose, **times, "rows": gained.rows, "body": drift_bodies.dump_counts(gained.counts)}
        body = drift_bodies.dump_cursor(cursor)

        def work(connection: Connection) -> None:
            if row is not None:
                connection.execute(sa.insert(drift_slices).values(row))
            known = drift_cursors.c
            mine = (known.model == key.model, known.version == key.version, known.profile == key.profile)
            if connection.execute(sa.update(drift_cursors).where(*mine).values(body=body)).rowcount == 0:
                connection.execute(sa.insert(drift_cursors).values(**whose, body=body))

        await self._store.write(work)

    async def slices(self, key: Key, since: datetime) -> Sequence[Slice]:
        known = drift_slices.c
        mine = (known.model == key.model, known.version == key.version, known.profile == key.profile)
        query = sa.select(drift_slices).where(*mine, known.end_at >= _text(since)).order_by(known.seq)
        rows = await self._store.read(lambda c: c.execute(query).all())
        return [
            Slice(
                datetime.fromisoformat(row.start_at),
                datetime.fromisoformat(row.end_at),
                row.rows,
                drift_bodies.load_counts(row.body),
            )
            for row in rows
        ]

    async def cursor(self, key: Key) -> Cursor:
        known = drift_cursors.c
        mine = (known.model == key.model, known.version == key.version, known.profile == key.profile)
        query = sa.select(known.body).where(*mine)
        body = await self._store.read(lambda c: c.execute(query).scalar_one_or_none())
        return {} if body is None else drift_bodies.load_cursor(body)

    async def record(self, judged: Judged, facts: Sequence[events.Event] = ()) -> None:
        row = {"model": judged.model, "version": judged.version, "at": _text(judged.at)}
        body = drift_bodies.dump_judged(judged)

        def work(connection: Connection) -> None:
            connection.execute(sa.insert(drift_verdicts).values(**row, body=body))
            sql.append(connection, facts)

        await self._store.write(work)

    async def history(self, model: str, version: int, *, before: int | None = None, limit: int = 100) -> Sequence[Entry]:
        known = drift_verdicts.c
        query = sa.select(known.seq, known.body).where(known.model == model, known.version == version)
        if before is not None:
            query = query.where(known.seq < before)
        query = query.order_by(known.seq.desc()).limit(limit)
        rows = await self._store.read(lambda c: c.execute(query).all())
        return [Entry(row.seq, drift_bodies.load_judged(row.body)) for row in rows]

    async def retire(self, known: Collection[Key]) -> None:
        kept = {(key.model, key.version, key.profile) for key in known}

        def work(connection: Connection) -> None:
            for table in (drift_slices, drift_cursors):
                mine = (table.c.model, table.c.version, table.c.profile)
                for gone in {tuple(row) for row in connection.execute(sa.select(*mine).distinct())} - kept:
                    where = [column == value for column, value in zip(mine, gone, strict=True)]
                    connection.execute(sa.delete(table).where(*where))

        await self._store.write(work)

    async def forget(self, *, slices: datetime, history: datetime) -> int:
        old = ((drift_slices, drift_slices.c.end_at, slices), (drift_verdicts, drift_verdicts.c.at, history))

        def work(connection: Connection) -> int:
            gone = 0
            for table, column, before in old:
                some = sa.select(table.c.seq).where(column < _text(before)).limit(FORGOTTEN_AT_ONCE)
                gone += connection.execute(sa.delete(table).where(table.c.seq.in_(some))).rowcount
            return gone

        return await self._store.write(work)


def _text(at: datetime) -> str:
    """Sorts as times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
