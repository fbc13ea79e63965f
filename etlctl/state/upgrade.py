"""Bring the state store to the revision this version needs. Alembic is imported only when there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from etlctl.errors import StateError
from etlctl.state.schema import VERSION_TABLE, metadata
from etlctl.state.store import Store

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001",)
"""All revisions, oldest first; a test holds them against the migration scripts."""

HEAD = REVISIONS[-1]

_LOCK = 7_305_508_011_922_117
"""Advisory lock on PostgreSQL: one upgrade at a time."""


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the store, None when it has none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def ensure_head(store: Store) -> None:
    """Make sure the store is at the newest revision: SQLite is upgraded on the spot, PostgreSQL only on request.

    Raises:
        StateError: A PostgreSQL store is behind, or any store is newer than this etlctl.
    """
    with store.read() as connection:
        revision = current_revision(connection)
    if revision == HEAD:
        return
    _refuse_newer(store, revision)
    if store.is_sqlite:
        upgrade(store)
        return
    found = f"is at revision {revision}" if revision else "has no tables yet"
    raise StateError(
        f"the state store {store.where} {found}; this etlctl needs revision {HEAD}", help="run: etlctl db upgrade"
    )


def upgrade(store: Store) -> tuple[str | None, str]:
    """Upgrade the store to the newest revision in one transaction.

    Returns:
        The revision before and the one after.

    Raises:
        StateError: The store is newer than this etlctl.
    """
    with store.write() as connection:
        if not store.is_sqlite:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        # Another process may have done it while this one waited for the lock.
        revision = current_revision(connection)
        _refuse_newer(store, revision)
        if revision is None and store.is_sqlite:
            _create(connection)
        elif revision != HEAD:
            migrate(connection, HEAD)
    return revision, HEAD


def migrate(connection: Connection, revision: str) -> None:
    """Run the migration scripts up to a revision, in the transaction of the connection."""
    from alembic import command  # noqa: PLC0415

    command.upgrade(migration_config(connection), revision)


def migration_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; the scripts are inside the package, so there is no ``alembic.ini``."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    scripts = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _create(connection: Connection) -> None:
    """Create a new store at the newest revision, without the cost of importing Alembic."""
    metadata.create_all(connection)
    connection.execute(
        text(
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"), {"revision": HEAD})  # noqa: S608


def _refuse_newer(store: Store, revision: str | None) -> None:
    if revision is not None and revision not in REVISIONS:
        raise StateError(
            f"the state store {store.where} is at revision {revision}, which this etlctl (up to {HEAD}) does not know: "
            "a newer version wrote it",
            help="upgrade etlctl: pip install --upgrade etlctl",
        )
