"""Whose an object is; what is there already is the server's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Add the column."""
    op.add_column("objects", sa.Column("owner", sa.String(255), nullable=False, server_default=""))


def downgrade() -> None:
    """Take it away: everything is everybody's again."""
    op.drop_column("objects", "owner")
