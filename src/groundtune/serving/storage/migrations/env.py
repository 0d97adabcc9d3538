"""Called by Alembic with a connection that :func:`groundtune.serving.storage.migrations.upgrade` opened."""

from __future__ import annotations

from alembic import context

from groundtune.serving.storage.store import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
