"""The server's tables, step by step (Alembic); :func:`upgrade` brings a database to the newest."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Engine

#: any number that others on the same PostgreSQL are not likely to choose
_LOCK = 0x67726F756E64


def upgrade(engine: Engine) -> None:
    """Make what is missing; a database that is up to date is left as it is."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # servers that start at once: one after the other, as SQLite's are
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
