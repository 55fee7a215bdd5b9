"""What only the SQL store promises: it outlives the process, upgrades itself, and keeps its history from everybody."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import alembic.autogenerate
import alembic.runtime.migration
import pytest
import sqlalchemy

from controlplane.store import schema, sql
from rollout import commands, events, model, ports

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'slipway.db'}"


def queued(rollout_id: str) -> model.Rollout:
    return commands.new_rollout(model.Spec("delay", 2, champion=1), rollout_id, NOW)


async def filled(folder: Path) -> Path:
    store = await sql.SqlStore.open(url(folder))
    await store.create(queued("r1"), [events.Event("r1", "delay", NOW, events.Kind.CREATED, "Made.")])
    await store.close()
    return folder / "slipway.db"


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    await filled(tmp_path)
    store = await sql.SqlStore.open(url(tmp_path))
    assert await store.rollout("r1") == replace(queued("r1"), revision=1)
    await store.save(await store.rollout("r1"), None, [events.Event("r1", "delay", NOW, events.Kind.PHASE, "On.")])
    assert [each.seq for each in await store.events()] == [1, 2]
    await store.close()


async def test_closing_ends_every_thread(tmp_path: Path) -> None:
    await filled(tmp_path)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("store-")]


async def test_migrations_make_what_the_queries_expect(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{await filled(tmp_path)}")
    with engine.connect() as connection:
        context = alembic.runtime.migration.MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, schema.METADATA) == []
    engine.dispose()


@pytest.mark.parametrize("statement", ["DELETE FROM events", "UPDATE events SET sentence = 'it never happened'"])
async def test_the_history_is_append_only_for_everybody(tmp_path: Path, statement: str) -> None:
    connection = sqlite3.connect(await filled(tmp_path))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


async def test_readers_do_not_wait_for_the_writer_in_wal_mode(tmp_path: Path) -> None:
    connection = sqlite3.connect(await filled(tmp_path))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_a_database_of_a_newer_slipway_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(await filled(tmp_path))
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    before = list(connection.iterdump())
    with pytest.raises(ports.Refused, match=r"newer slipway \(schema 9999, this one knows up to 0005\)"):
        await sql.SqlStore.open(url(tmp_path))
    assert list(connection.iterdump()) == before
    connection.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [("replace(body, '\"v\":1', '\"v\":2')", "newer slipway"), ("'{}'", "rollout: Field required"), ("'x'", "Invalid JSON")],
)
async def test_a_row_that_cannot_be_read_is_refused_in_words(tmp_path: Path, change: str, words: str) -> None:
    connection = sqlite3.connect(await filled(tmp_path))
    connection.execute(f"UPDATE rollouts SET body = {change}")
    connection.commit()
    connection.close()
    store = await sql.SqlStore.open(url(tmp_path))
    with pytest.raises(ports.Refused, match=words):
        await store.rollout("r1")
    await store.close()
