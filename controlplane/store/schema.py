"""The tables as queries see them. Their making is in migrations/; a test holds the two together."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, String, Table, Text, func, true

METADATA = MetaData()

models = Table(
    "models",
    METADATA,
    Column("name", String(250), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

rollouts = Table(
    "rollouts",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),  # the order in which they were made
    Column("id", String(100), nullable=False, unique=True),
    Column("model", String(250), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("open", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", DateTime, nullable=False, server_default=func.now()),
    Column("updated_at", DateTime, nullable=False, server_default=func.now(), onupdate=func.now()),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)
# at most one open rollout per model, whoever writes
ONE_OPEN = Index(
    "one_open_rollout_per_model",
    rollouts.c.model,
    unique=True,
    sqlite_where=rollouts.c.open == true(),
    postgresql_where=rollouts.c.open == true(),
)
Index("rollouts_of_model", rollouts.c.model, rollouts.c.seq)

events = Table(
    "events",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("rollout_id", String(100), nullable=False),
    Column("model", String(250), nullable=False),
    Column("at", String(40), nullable=False),  # ISO 8601 with zone, as the event says
    Column("kind", String(20), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("data", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("events_of_rollout", events.c.rollout_id, events.c.seq)
Index("events_of_model", events.c.model, events.c.seq)

readings = Table(
    "readings",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("rollout_id", String(100), nullable=False),
    Column("at", String(40), nullable=False),  # UTC, ISO 8601: sorts as it is
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("readings_of_rollout", readings.c.rollout_id, readings.c.seq)
Index("readings_by_age", readings.c.at)

idempotency = Table(
    "idempotency",
    METADATA,
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("rollout_id", String(100), nullable=False),
    Column("created_at", DateTime, nullable=False, server_default=func.now()),
)

# Notifications: how far the history was looked through for each receiver, and what it is still owed or never got.
cursors = Table(
    "notification_cursors",
    METADATA,
    Column("receiver", String(40), primary_key=True),
    Column("seq", Integer, nullable=False),
)

letters = Table(
    "letters",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("receiver", String(40), nullable=False),
    Column("seq", Integer, nullable=False),  # of the event it tells
    Column("dead", Boolean, nullable=False),
    Column("due_at", String(40), nullable=False),  # UTC, ISO 8601: sorts as it is
    Column("since", String(40), nullable=False),  # when it was owed first, or again; of a dead one: when it was given up
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("letters_by_turn", letters.c.receiver, letters.c.dead, letters.c.due_at, letters.c.id)
Index("letters_by_age", letters.c.dead, letters.c.since)

# Drift: what replicas counted, how far it was read, and what was judged.
drift_slices = Table(
    "drift_slices",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("model", String(250), nullable=False),
    Column("version", Integer, nullable=False),
    Column("profile", String(64), nullable=False),
    Column("start_at", String(40), nullable=False),  # UTC, ISO 8601: sorts as it is
    Column("end_at", String(40), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("drift_slices_by_end", drift_slices.c.model, drift_slices.c.version, drift_slices.c.profile, drift_slices.c.end_at)
Index("drift_slices_by_age", drift_slices.c.end_at)

drift_cursors = Table(
    "drift_cursors",
    METADATA,
    Column("model", String(250), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("profile", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

drift_verdicts = Table(
    "drift_verdicts",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("model", String(250), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", String(40), nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("drift_verdicts_of_version", drift_verdicts.c.model, drift_verdicts.c.version, drift_verdicts.c.seq)
Index("drift_verdicts_by_age", drift_verdicts.c.at)

# What the champions answered in the last hour, for the judge's A/A self-check.
champion_past = Table(
    "champion_past",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("model", String(250), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", String(40), nullable=False),  # UTC, ISO 8601: sorts as it is
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("champion_past_of_model", champion_past.c.model, champion_past.c.version, champion_past.c.at)
