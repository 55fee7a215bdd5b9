"""Opens the database: engines with their pragmas, migrations up to head, and errors in words.

Called by `sql` alone, always from one of its threads: everything here blocks. Must never touch a database that a newer
slipway has written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.runtime.migration
import alembic.script
import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine

from rollout import ports

SYSTEM = "store"
MIGRATIONS = Path(__file__).parent / "migrations"

# what SQLite's result codes mean for the person on call
_WORDS = {
    "SQLITE_READONLY": "the database is read-only; make its directory writable for the control plane",
    "SQLITE_FULL": "the disk is full; free some space, nothing was written",
    "SQLITE_BUSY": "another process keeps the database locked",
    "SQLITE_LOCKED": "another connection keeps the database locked",
    "SQLITE_CANTOPEN": "the database file cannot be opened; does its directory exist and may this user write there?",
    "SQLITE_IOERR": "reading or writing the disk failed",
    "SQLITE_CORRUPT": "the database file is damaged; restore a backup",
    "SQLITE_NOTADB": "the file is not a database",
}


def engine(url: str, *, connections: int, writes: bool, busy_timeout_s: float) -> Engine:
    """An engine of exactly so many connections. Writers take their lock when they begin, so that they never have to
    give up half-way; readers cannot write at all."""
    made = sqlalchemy.create_engine(url, pool_size=connections, max_overflow=0, pool_timeout=busy_timeout_s)
    if made.dialect.name != "sqlite":
        return made

    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, see below
        for pragma in (
            f"busy_timeout = {round(busy_timeout_s * 1000)}",
            "journal_mode = WAL",  # readers and the writer never wait for each other
            # FULL: a commit survives a power cut. It costs 0.6 ms at p99 here; NORMAL would lose the last commits then,
            # though not in a kill -9.
            "synchronous = FULL",
            # Copying the log into the database makes one commit 5 ms slower, whatever the log holds: 16 MB of it, not 4.
            "wal_autocheckpoint = 4000",
            "query_only = " + ("OFF" if writes else "ON"),
        ):
            connection.execute(f"PRAGMA {pragma}")

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(made, "connect", connected)
    event.listen(made, "begin", begun)
    return made


def upgrade(connection: Connection) -> None:
    """Bring the tables to what this code knows. Raises Refused for a database that a newer slipway has written."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = alembic.script.ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]
    now = alembic.runtime.migration.MigrationContext.configure(connection).get_current_revision()
    if now is not None and now not in known:
        raise ports.Refused(
            SYSTEM,
            f"the database was written by a newer slipway (schema {now}, this one knows up to {known[0]}); "
            "run that version, or restore a backup from before the upgrade",
        )
    if now != known[0]:
        alembic.command.upgrade(config, "head")


def in_words(error: exc.SQLAlchemyError, url: str) -> ports.Unavailable:
    """What went wrong, for people. The database may come back: every one of these is `Unavailable`."""
    name = getattr(getattr(error, "orig", None), "sqlite_errorname", "")
    words = next((words for code, words in _WORDS.items() if name.startswith(code)), None)
    if words is None:
        words = str(getattr(error, "orig", None) or error)
    where = sqlalchemy.make_url(url)
    return ports.Unavailable(SYSTEM, f"{words} ({where.database or where.host})")
