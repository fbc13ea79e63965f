"""Bring the state store to the revision this version needs.

SQLAlchemy and Alembic are imported only when there is something to migrate.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etlctl.errors import StateError
from etlctl.state import statements
from etlctl.state.connection import PlainConnection
from etlctl.state.new_store import NEW_STORE
from etlctl.state.store import Store

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""All revisions, oldest first; a test holds them against the migration scripts."""

HEAD = REVISIONS[-1]

_LOCK = 7_305_508_011_922_117
"""Advisory lock on PostgreSQL: one upgrade at a time."""


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the store, None when it has none yet."""
    from etlctl.state.database import TextConnection  # noqa: PLC0415

    return _revision(TextConnection(connection), is_sqlite=connection.dialect.name == "sqlite")


def _revision(connection: PlainConnection, *, is_sqlite: bool) -> str | None:
    known = statements.HAS_VERSION_SQLITE if is_sqlite else statements.HAS_VERSION_POSTGRES
    found = connection.fetch(statements.VERSION) if connection.fetch(known) else []
    return found[0]["version_num"] if found else None


def ensure_head(store: Store) -> None:
    """Make sure the store is at the newest revision: SQLite is upgraded on the spot, PostgreSQL only on request.

    Raises:
        StateError: A PostgreSQL store is behind, or any store is newer than this etlctl.
    """
    with store.transaction(writing=False) as connection:
        revision = _revision(connection, is_sqlite=store.is_sqlite)
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
    if store.is_sqlite and _created(store):
        return None, HEAD
    with store.write() as connection:
        if not store.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        # Another process may have done it while this one waited for the lock.
        revision = current_revision(connection)
        _refuse_newer(store, revision)
        if revision != HEAD:
            migrate(connection, HEAD)
    return revision, HEAD


def _created(store: Store) -> bool:
    """Make the tables of a new SQLite store, without Alembic; tells whether it was new."""
    with store.transaction() as connection:
        if _revision(connection, is_sqlite=True) is not None:
            return False
        for statement in NEW_STORE:
            connection.run(statement)
        connection.run(statements.ADD_VERSION, {"version_num": HEAD})
    return True


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


def _refuse_newer(store: Store, revision: str | None) -> None:
    if revision is not None and revision not in REVISIONS:
        raise StateError(
            f"the state store {store.where} is at revision {revision}, which this etlctl (up to {HEAD}) does not know: "
            "a newer version wrote it",
            help="upgrade etlctl: pip install --upgrade etlctl",
        )
