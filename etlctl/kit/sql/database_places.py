"""The table that a URL and a name stand for, whichever way leads there: SQLite's or PostgreSQL's own, or SQLAlchemy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from etlctl.errors import FatalError
from etlctl.kit.sql.destination import Lease
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.tokens import Token
from etlctl.kit.sql.transfer import Transfer
from etlctl.kit.sql.urls import POSTGRESQL, Address


class Contents(Protocol):
    """What a table holds now."""

    @property
    def exists(self) -> bool:
        """It is there."""

    @property
    def name(self) -> str:
        """As the database spells it."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Names and declared types, in order."""

    @property
    def key(self) -> tuple[str, ...]:
        """What finds a row."""

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, in an order that is the same while nothing changes."""


class TablePlace(Protocol):
    """A table in some database."""

    def held(self, stream: str) -> Token | None:
        """Return the token of a stream, without changing anything."""

    def unfinished(self, stream: str) -> Sequence[Token]:
        """Return the tokens of unfinished runs of a stream and of its single destinations."""

    def forget(self, streams: Collection[str], fence: int) -> None:
        """Remove what unfinished runs of some streams have prepared."""

    def transfer(self, job: Job, lease: Lease, *, staged: bool) -> Transfer:
        """Open the way into the table for a run."""

    def copied(self, folder: Path) -> Path:
        """Copy the database into a folder; return the copy."""

    def contents(self, key: Sequence[str]) -> Contents:
        """Return what the table holds; a row is found by the key, else by the table's own."""


def table_place(address: Address, schema: str | None, table: str) -> TablePlace:
    """Return the table of a name in a database.

    Raises:
        FatalError: A SQLite file has no schemas.
    """
    if address.file is None:
        return (PostgresTable if address.kind == POSTGRESQL else ServerTable)(address, schema, table)
    if schema is not None:
        raise FatalError(f"{address} is a SQLite file, which has no schemas", help="leave out schema")
    return FileTable(address.file, table)


class ServerTable:
    """A table that SQLAlchemy reaches.

    Args:
        address: The database.
        schema: The schema; None for that of the connection.
        table: Name of the table.
    """

    # SQLAlchemy is slow to import, so everything that does is imported when it is needed.

    def __init__(self, address: Address, schema: str | None, table: str) -> None:
        self._address = address
        self._schema = schema
        self._table = table

    def held(self, stream: str) -> Token | None:
        """Return the token of a stream, without changing anything."""
        from etlctl.kit.sql.database_transfer import held_token  # noqa: PLC0415

        return held_token(self._address, self._schema, stream)

    def unfinished(self, stream: str) -> Sequence[Token]:
        """Return the tokens of unfinished runs of a stream and of its single destinations."""
        from etlctl.kit.sql.database_transfer import unfinished_tokens  # noqa: PLC0415

        return unfinished_tokens(self._address, self._schema, stream)

    def forget(self, streams: Collection[str], fence: int) -> None:
        """Remove what unfinished runs of some streams have prepared."""
        from etlctl.kit.sql.database_transfer import forget_unfinished  # noqa: PLC0415

        forget_unfinished(self._address, self._schema, streams, fence)

    def transfer(self, job: Job, lease: Lease, *, staged: bool) -> Transfer:
        """Open the way into the table for a run."""
        from etlctl.kit.sql.database_server import Server  # noqa: PLC0415
        from etlctl.kit.sql.database_transfer import DatabaseTransfer  # noqa: PLC0415

        return DatabaseTransfer(Server(self._address, self._schema), job, lease, staged=staged)

    def copied(self, folder: Path) -> Path:  # noqa: ARG002
        """Copy the database into a folder; return the copy.

        Raises:
            FatalError: A server cannot be copied.
        """
        raise FatalError(
            f"{self._address} is on a server, and cannot be copied into a folder to try a run on it",
            help="see what would be loaded with: etlctl preview; or run into a database for trials",
        )

    def contents(self, key: Sequence[str]) -> Contents:
        """Return what the table holds; a row is found by the key, else by the table's own."""
        from etlctl.kit.sql.database_contents import table_contents  # noqa: PLC0415

        return table_contents(self._address, self._schema, self._table, key)


class PostgresTable(ServerTable):
    """A table in PostgreSQL, loaded as ``type: postgres`` does."""

    def held(self, stream: str) -> Token | None:
        """Return the token of a stream, without changing anything."""
        from etlctl.kit.sql.postgres_transfer import held_token  # noqa: PLC0415

        return held_token(self._address, self._schema, stream)

    def unfinished(self, stream: str) -> Sequence[Token]:
        """Return the tokens of unfinished runs of a stream and of its single destinations."""
        from etlctl.kit.sql.postgres_transfer import unfinished_tokens  # noqa: PLC0415

        return unfinished_tokens(self._address, self._schema, stream)

    def forget(self, streams: Collection[str], fence: int) -> None:
        """Remove what unfinished runs of some streams have prepared."""
        from etlctl.kit.sql.postgres_transfer import forget_unfinished  # noqa: PLC0415

        forget_unfinished(self._address, self._schema, streams, fence)

    def transfer(self, job: Job, lease: Lease, *, staged: bool) -> Transfer:
        """Open the way into the table for a run."""
        self._address.require_driver("type: database")
        from etlctl.kit.sql.postgres_database import PostgresDatabase  # noqa: PLC0415
        from etlctl.kit.sql.postgres_transfer import PostgresTransfer  # noqa: PLC0415

        return PostgresTransfer(PostgresDatabase(self._address, self._schema), job, lease, staged=staged)


class FileTable:
    """A table in a SQLite file, loaded as ``type: sqlite`` does.

    Args:
        file: The file.
        table: Name of the table.
    """

    def __init__(self, file: Path, table: str) -> None:
        self._file = file
        self._table = table

    def held(self, stream: str) -> Token | None:
        """Return the token of a stream, without changing anything."""
        from etlctl.kit.sql.sqlite_transfer import held_token  # noqa: PLC0415

        return held_token(self._file, stream)

    def unfinished(self, stream: str) -> Sequence[Token]:
        """Return the tokens of unfinished runs of a stream and of its single destinations."""
        from etlctl.kit.sql.sqlite_transfer import unfinished_tokens  # noqa: PLC0415

        return unfinished_tokens(self._file, stream)

    def forget(self, streams: Collection[str], fence: int) -> None:
        """Remove what unfinished runs of some streams have prepared."""
        from etlctl.kit.sql.sqlite_transfer import forget_unfinished  # noqa: PLC0415

        forget_unfinished(self._file, streams, fence)

    def transfer(self, job: Job, lease: Lease, *, staged: bool) -> Transfer:
        """Open the way into the table for a run."""
        from etlctl.kit.sql.sqlite_database import Database  # noqa: PLC0415
        from etlctl.kit.sql.sqlite_transfer import SqliteTransfer  # noqa: PLC0415

        if not job.makes_table and not self._file.exists():
            raise FatalError(
                f"there is no database {self._file} (for table {self._table!r})",
                help="correct the path" + (", or let it be made with create_table: true" if job.may_make_table else ""),
            )
        return SqliteTransfer(Database(self._file, create=job.makes_table), job, lease, staged=staged)

    def copied(self, folder: Path) -> Path:
        """Copy the database into a folder; return the copy."""
        from etlctl.kit.sql.sqlite_contents import copied_database  # noqa: PLC0415

        return copied_database(self._file, folder)

    def contents(self, key: Sequence[str]) -> Contents:
        """Return what the table holds; a row is found by the key, else by the table's own."""
        from etlctl.kit.sql.sqlite_contents import table_contents  # noqa: PLC0415

        return table_contents(self._file, self._table, key)
