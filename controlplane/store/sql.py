"""The store in SQL: SQLite in one file today, PostgreSQL with the same code later.

Implements `rollout.ports.Store`. SQLAlchemy blocks, so it runs in threads of its own: one that writes, a few that read,
so a read never waits behind a write; only glances at single rows of SQLite are taken right here. Revisions are compared in the UPDATE itself, so what is promised holds with several
writers too. Must never decide anything about a rollout.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine, Row

from rollout import events, model, ports

from . import bodies, database
from .schema import events as events_table
from .schema import idempotency as keys_table
from .schema import models, rollouts
from .schema import readings as readings_table

T = TypeVar("T")

READERS = 4
WAITING = 1000  # calls under way at once; more would only grow the queue
FORGOTTEN_AT_ONCE = 5000  # readings; more would keep the writer from its work
ANSWER_S = 10.0  # longer than a commit on any disk that works
GLANCE_S = 0.02  # longer than SQLite keeps a reader waiting, except while it recovers


class SqlStore:
    """Made by `open`, ended by `close`."""

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0) -> None:
        self._url = url
        self._write_engine = database.engine(url, connections=1, writes=True, busy_timeout_s=busy_timeout_s)
        self._read_engine = database.engine(url, connections=READERS, writes=False, busy_timeout_s=busy_timeout_s)
        near = database.engine(url, connections=1, writes=False, busy_timeout_s=GLANCE_S)
        self._near = near if near.dialect.name == "sqlite" else None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._under_way = 0
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, busy_timeout_s: float = 5.0) -> Self:
        """Open the database, making or upgrading its tables. Raises Unavailable, or Refused for a newer database."""
        store = cls(url, busy_timeout_s=busy_timeout_s)
        try:
            await store.write(database.upgrade)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Finish what is under way and let go of the file."""
        self._closed = True

        def end() -> None:
            self._writer.shutdown()
            self._readers.shutdown()
            if self._near is not None:
                self._near.dispose()
            self._read_engine.dispose()
            self._write_engine.dispose()

        await asyncio.to_thread(end)

    async def records(self) -> Sequence[model.ModelRecord]:
        rows = await self.read(lambda c: c.execute(sa.select(models).order_by(models.c.name)).all())
        return [_record(row) for row in rows]

    async def record(self, model_name: str) -> model.ModelRecord | None:
        query = sa.select(models).where(models.c.name == model_name)
        row = await self._glance(lambda c: c.execute(query).one_or_none())
        return None if row is None else _record(row)

    async def rollout(self, rollout_id: str) -> model.Rollout:
        query = sa.select(rollouts).where(rollouts.c.id == rollout_id)
        row = await self._glance(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise ports.NotFound(database.SYSTEM, f"there is no rollout {rollout_id}")
        return _rollout(row)

    async def open_rollout(self, model_name: str) -> model.Rollout | None:
        row = await self._glance(lambda c: _open_row(c, model_name))
        return None if row is None else _rollout(row)

    async def current(self, model_name: str) -> tuple[model.ModelRecord | None, model.Rollout | None]:
        def rows(connection: Connection) -> tuple[Row[Any] | None, Row[Any] | None]:
            record = connection.execute(sa.select(models).where(models.c.name == model_name)).one_or_none()
            return record, None if record is None else _open_row(connection, model_name)

        record, rollout = await self._glance(rows)
        return None if record is None else _record(record), None if rollout is None else _rollout(rollout)

    async def rollouts(
        self, model_name: str | None = None, *, open_only: bool = False, limit: int = 100, before: str | None = None
    ) -> Sequence[model.Rollout]:
        query = sa.select(rollouts).order_by(rollouts.c.seq.desc()).limit(limit)
        if model_name is not None:
            query = query.where(rollouts.c.model == model_name)
        if open_only:
            query = query.where(rollouts.c.open == sa.true())

        def rows(connection: Connection) -> Sequence[Row[Any]]:
            if before is None:
                return connection.execute(query).all()
            seq = connection.execute(sa.select(rollouts.c.seq).where(rollouts.c.id == before)).scalar_one_or_none()
            if seq is None:
                raise ports.NotFound(database.SYSTEM, f"there is no rollout {before}")
            return connection.execute(query.where(rollouts.c.seq < seq)).all()

        return [_rollout(row) for row in await self.read(rows)]

    async def recall(self, key: str) -> ports.Idempotency | None:
        query = sa.select(keys_table).where(keys_table.c.key == key)
        row = await self._glance(lambda c: c.execute(query).one_or_none())
        return None if row is None else ports.Idempotency(row.key, row.fingerprint, row.rollout_id)

    async def create(
        self, rollout: model.Rollout, facts: Sequence[events.Event], *, idempotency: ports.Idempotency | None = None
    ) -> None:
        name = rollout.spec.model

        def write(connection: Connection) -> None:
            connection.execute(sa.insert(rollouts).values(id=rollout.id, model=name, revision=1, **_columns(rollout)))
            if connection.execute(sa.select(models.c.name).where(models.c.name == name)).one_or_none() is None:
                connection.execute(
                    sa.insert(models).values(name=name, revision=1, body=bodies.dump_record(model.ModelRecord(name)))
                )
            append(connection, facts, idempotency)

        try:
            await self.write(write)
        except exc.IntegrityError as error:
            row = await self.read(lambda c: _open_row(c, name))
            if row is not None:
                raise ports.AlreadyOpen(row.id) from error
            raise ports.Stale(f"the rollout id {rollout.id} or the idempotency key is taken") from error

    async def save(
        self,
        rollout: model.Rollout | None,
        record: model.ModelRecord | None,
        facts: Sequence[events.Event],
        *,
        idempotency: ports.Idempotency | None = None,
        reading: model.Reading | None = None,
    ) -> None:
        def write(connection: Connection) -> None:
            if rollout is not None:
                _swap_rollout(connection, rollout)
                if reading is not None:
                    at = reading.at.astimezone(UTC).isoformat(timespec="microseconds")
                    row = {"rollout_id": rollout.id, "at": at, "body": bodies.dump_reading(reading)}
                    connection.execute(sa.insert(readings_table).values(row))
            if record is not None:
                _swap_record(connection, record)
            append(connection, facts, idempotency)

        try:
            await self.write(write)
        except exc.IntegrityError as error:
            raise ports.Stale("somebody else saved first") from error

    async def events(
        self, *, rollout_id: str | None = None, model_name: str | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[events.Stored]:
        query = sa.select(events_table).where(events_table.c.seq > after).order_by(events_table.c.seq).limit(limit)
        if rollout_id is not None:
            query = query.where(events_table.c.rollout_id == rollout_id)
        if model_name is not None:
            query = query.where(events_table.c.model == model_name)
        return [event(row) for row in await self.read(lambda c: c.execute(query).all())]

    async def readings(self, rollout_id: str) -> Sequence[model.Reading]:
        known = readings_table.c
        query = sa.select(known.body).where(known.rollout_id == rollout_id).order_by(known.seq)
        return [bodies.load_reading(row.body) for row in await self.read(lambda c: c.execute(query).all())]

    async def forget_readings(self, before: datetime) -> int:
        known = readings_table.c
        going = sa.select(rollouts.c.id).where(rollouts.c.open)
        old = known.at < before.astimezone(UTC).isoformat(timespec="microseconds")
        some = sa.select(known.seq).where(old, known.rollout_id.not_in(going)).limit(FORGOTTEN_AT_ONCE)
        delete = sa.delete(readings_table).where(known.seq.in_(some))
        return await self.write(lambda c: c.execute(delete).rowcount)

    async def _glance(self, work: Callable[[Connection], T]) -> T:
        """A row or two. SQLite reads them in 0.2 ms from memory, and a thread costs ten times that while Python is busy; an
        abort must not wait so often. What cannot be read at once is left to the readers, who may wait and say why."""
        if self._near is not None and not self._closed:
            with contextlib.suppress(exc.SQLAlchemyError), self._near.begin() as connection:
                return work(connection)
        return await self.read(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """For this folder's other modules too: `work` runs in a thread, in a transaction that cannot write."""
        return await self._run(self._readers, self._read_engine, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """As `read`, in the one thread that writes; all of it is stored, or nothing."""
        return await self._run(self._writer, self._write_engine, work)

    async def _run(self, pool: ThreadPoolExecutor, engine: Engine, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with engine.begin() as connection:
                return work(connection)

        if self._closed:
            raise ports.Unavailable(database.SYSTEM, "the control plane is stopping")
        if self._under_way >= WAITING:
            raise ports.Unavailable(database.SYSTEM, f"{WAITING} calls are waiting for the database already")
        self._under_way += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.get_running_loop().run_in_executor(pool, transaction)
        except exc.IntegrityError:
            raise
        except exc.SQLAlchemyError as error:
            raise database.in_words(error, self._url) from error
        except TimeoutError as error:
            raise ports.Unavailable(
                database.SYSTEM, f"the database did not answer within {ANSWER_S:.0f} s; a write may still take effect"
            ) from error
        finally:
            self._under_way -= 1


def _open_row(connection: Connection, model_name: str) -> Row[Any] | None:
    query = sa.select(rollouts).where(rollouts.c.model == model_name, rollouts.c.open == sa.true())
    return connection.execute(query).one_or_none()


def _columns(rollout: model.Rollout) -> dict[str, object]:
    return {"phase": rollout.status.phase.value, "open": rollout.open, "body": bodies.dump_rollout(rollout)}


def _swap_rollout(connection: Connection, rollout: model.Rollout) -> None:
    swapped = connection.execute(
        sa.update(rollouts)
        .where(rollouts.c.id == rollout.id, rollouts.c.revision == rollout.revision)
        .values(revision=rollout.revision + 1, **_columns(rollout))
    )
    if swapped.rowcount != 1:
        raise ports.Stale(f"rollout {rollout.id} is not at revision {rollout.revision} any more")


def _swap_record(connection: Connection, record: model.ModelRecord) -> None:
    body = bodies.dump_record(record)
    if record.revision == 0:  # new; a row of that name fails the insert and so the transaction
        connection.execute(sa.insert(models).values(name=record.model, revision=1, body=body))
        return
    swapped = connection.execute(
        sa.update(models)
        .where(models.c.name == record.model, models.c.revision == record.revision)
        .values(revision=record.revision + 1, body=body)
    )
    if swapped.rowcount != 1:
        raise ports.Stale(f"the record of {record.model} is not at revision {record.revision} any more")


def append(connection: Connection, facts: Sequence[events.Event], idempotency: ports.Idempotency | None = None) -> None:
    """Into the history. For this folder's other modules too."""
    if idempotency is not None:
        connection.execute(
            sa.insert(keys_table).values(
                key=idempotency.key, fingerprint=idempotency.fingerprint, rollout_id=idempotency.rollout_id
            )
        )
    if facts:
        connection.execute(
            sa.insert(events_table),
            [
                {
                    "rollout_id": fact.rollout_id,
                    "model": fact.model,
                    "at": fact.at.isoformat(),
                    "kind": fact.kind.value,
                    "actor": fact.actor,
                    "sentence": fact.sentence,
                    "data": bodies.dump_data(fact.data),
                }
                for fact in facts
            ],
        )


def _rollout(row: Row[Any]) -> model.Rollout:
    return replace(bodies.load_rollout(row.body), revision=row.revision)


def _record(row: Row[Any]) -> model.ModelRecord:
    return replace(bodies.load_record(row.body), revision=row.revision)


def event(row: Row[Any]) -> events.Stored:
    return events.Stored(
        row.seq,
        events.Event(
            rollout_id=row.rollout_id,
            model=row.model,
            at=datetime.fromisoformat(row.at),
            kind=events.Kind(row.kind),
            sentence=row.sentence,
            actor=row.actor,
            data=bodies.load_data(row.data),
        ),
    )
