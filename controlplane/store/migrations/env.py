"""Alembic's entry: runs migrations on the connection that `controlplane.store.database` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
