"""The champions' past in the store's database. Implements `controlplane.history.Past`, as `memory_past` does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from controlplane.history import Page

from . import past_bodies, sql
from .schema import champion_past


class SqlPast:
    """Uses the threads and the connections of the store, which its maker closes."""

    def __init__(self, store: sql.SqlStore) -> None:
        self._store = store

    async def add(self, page: Page, *, since: datetime) -> None:
        known = champion_past.c
        row = {"model": page.model, "version": page.version, "at": _text(page.at), "body": past_bodies.dump(page.readings)}
        over = sa.or_(known.at < _text(since), known.version != page.version)

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(champion_past).where(known.model == page.model, over))
            connection.execute(sa.insert(champion_past).values(row))

        await self._store.write(work)

    async def pages(self, model: str, version: int, *, since: datetime) -> Sequence[Page]:
        known = champion_past.c
        mine = (known.model == model, known.version == version, known.at >= _text(since))
        query = sa.select(known.at, known.body).where(*mine).order_by(known.seq)
        rows = await self._store.read(lambda c: c.execute(query).all())
        return [Page(model, version, datetime.fromisoformat(row.at), past_bodies.load(row.body)) for row in rows]


def _text(at: datetime) -> str:
    """Sorts as times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
