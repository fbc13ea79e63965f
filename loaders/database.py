"""Loads records into a table of MySQL, MariaDB or any other SQL database, each batch together with its commit token."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.kit.sql.destination import Lease
from etlctl.kit.sql.drift import DriftPolicy, SchemaEvolution
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, method_named
from etlctl.kit.sql.urls import MYSQL, POSTGRESQL, SQLITE, Address, DatabasePlace, place_of, read_url
from etlctl.sdk import CommitToken, Delivery, Example, Loader, WriteContext, Writer
from etlctl.sdk.dry_writer import DryWriter
from etlctl.sdk.stored import SqliteTable, Stored

if TYPE_CHECKING:
    from etlctl.kit.sql.database_places import TablePlace

_RESERVED = "_etlctl_"
_TRANSACTIONAL = {MYSQL, POSTGRESQL, SQLITE, "cockroachdb", "mssql", "duckdb"}


class Database(Loader):
    """Writes records to a table of MySQL, MariaDB, PostgreSQL, SQLite or another database that SQLAlchemy knows.

    Each batch and its commit token (in the table ``_etlctl_commits``) are one transaction: whatever happens, a resumed
    run neither loses nor repeats a record. That takes a database with transactions; MySQL tables must be InnoDB. In
    ``processing_mode: full``, and whenever records are replaced, they wait in a table beside the target. A replace in
    MySQL swaps the two by one ``RENAME TABLE``, so that readers see all of the old or all of the new. Tables and
    columns that a run makes stay when it fails: MySQL cannot undo them. Sessions are strict, in UTC and ``utf8mb4``.
    Values are kept exactly or the record is rejected, as is one that the database refuses; the rest of its batch is
    loaded. URLs of PostgreSQL and SQLite go the way of ``type: postgres`` and ``type: sqlite``; in databases that
    etlctl has no SQL of its own for, upserts, updates and deletes go record by record inside the transaction.
    """

    table: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    """Name of the table."""
    schema_name: str | None = Field(default=None, min_length=1, alias="schema")
    """The schema the table is in, in MySQL another database of the server; without it that of the connection."""
    connection_string: str | None = Field(default=None, min_length=1)
    """The database as a URL: ``mysql://user:password@host:3306/shop``. Or give ``database`` or ``url``."""
    database: DatabasePlace | None = None
    """The database as ``{url: "mysql://…"}``."""
    url: str | None = Field(default=None, min_length=1)
    """The database as a URL."""
    write_method: (
        Literal[
            "insert", "append", "upsert", "replace", "overwrite", "update", "delete", "truncate_and_load",
        ]
        | None
    ) = None  # fmt: skip
    """``insert`` (the default; also ``append``) adds rows. ``upsert`` adds them, or changes the record's columns where its key is there. ``update`` and ``delete`` find rows by key. ``replace`` (also ``overwrite``) puts the run's records in place of all rows; so does ``truncate_and_load``, in a table that must exist."""  # noqa: E501
    write_mode: (
        Literal[
            "insert", "append", "upsert", "replace", "overwrite", "update", "delete", "truncate_and_load",
        ]
        | None
    ) = None  # fmt: skip
    """Another name for ``write_method``."""
    primary_key: str | list[str] | None = None
    """Fields that find a row, for ``upsert``, ``update`` and ``delete``; the primary key of a table that is made."""
    create_table: bool = False
    """Make the table when it does not exist: from the contract's schema, and further fields of the first batch."""
    schema_evolution: Literal["evolve", "freeze", "drop_value", "drop_row"] | SchemaEvolution = "freeze"
    """What a field without a column does: ``freeze`` stops the run, ``evolve`` adds the column, ``drop_value`` leaves the field out, ``drop_row`` rejects the record. A null is no field. Or ``{new_fields: …, changed_types: …, fields: {price: freeze}}``. What was found is in ``etlctl runs drift``."""  # noqa: E501

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Change or add rows of MySQL or MariaDB by key",
            'database: {url: "mysql://etl:secret@db.example.com/shop"}\ntable: prices\nwrite_method: upsert\n'
            "primary_key: [shop, sku]",
        ),
        Example(
            "Replace all rows at once, and make the table when it does not exist",
            'connection_string: "mariadb://etl:secret@db.example.com:3306/reports"\ntable: totals\n'
            "write_method: replace\ncreate_table: true\nschema_evolution: evolve",
        ),
        Example(
            "Add rows to a table of a SQLite file",
            'url: "sqlite:///out/people.db"\ntable: people\ncreate_table: true',
            given=[{"name": "Ann", "age": 41}, {"name": "Bob", "age": None}],
        ),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._location()
        if self.table.lower().startswith(_RESERVED):
            raise ValueError(f"table: {self.table!r}: names that begin with {_RESERVED} are not yours to load")
        if self.write_method and self.write_mode and method_named(self.write_method) != method_named(self.write_mode):
            raise ValueError(
                f"write_method: {self.write_method} and write_mode: {self.write_mode} contradict each other; keep one"
            )
        if self.method.keyed and not self.key:
            raise ValueError(f"write_method: {self.method} needs primary_key: the fields that find a row")
        if len({name.lower() for name in self.key}) < len(self.key) or not all(self.key):
            raise ValueError(f"primary_key: {list(self.key)} names a field twice, or an empty one")
        return self

    @property
    def method(self) -> Method:
        """What a record does to the table."""
        return method_named(self.write_method or self.write_mode)

    @property
    def key(self) -> tuple[str, ...]:
        """Fields that find a row."""
        if self.primary_key is None:
            return ()
        return (self.primary_key,) if isinstance(self.primary_key, str) else tuple(self.primary_key)

    def key_fields(self) -> tuple[str, ...]:
        """Return the fields that find a row; what other methods say of a table that is there is not looked at."""
        return self.key if self.method.keyed or self.create_table else ()

    def _location(self) -> str:
        return place_of(self.connection_string, self.database, self.url)

    def address(self, base_dir: Path) -> Address:
        """Return the database."""
        return read_url(self._location(), base_dir)

    def _place(self, ctx: WriteContext) -> TablePlace:
        from etlctl.kit.sql.database_places import table_place  # noqa: PLC0415

        return table_place(self.address(ctx.base_dir), self.schema_name, self.table)

    def identity(self, base_dir: Path) -> tuple[str, ...]:
        """Return the database, the schema and the table."""
        address = self.address(base_dir)
        schema = self.schema_name or (address.database if address.kind == MYSQL else "")
        return (*address.identity, schema, self.table.lower() if address.kind == SQLITE else self.table)

    async def held(self, ctx: WriteContext) -> CommitToken | None:
        """Return the token of the stream."""
        token = await ctx.run_cpu(self._place(ctx).held, ctx.stream)
        return None if token is None else CommitToken(**asdict(token))

    async def unfinished(self, ctx: WriteContext) -> Sequence[CommitToken]:
        """Return the tokens of the contract's unfinished runs in the schema, whichever table they are of."""
        tokens = await ctx.run_cpu(self._place(ctx).unfinished, ctx.stream)
        return [CommitToken(**asdict(token)) for token in tokens]

    async def forget(self, ctx: WriteContext, streams: Collection[str]) -> None:
        """Drop the tables in which records of these streams wait."""
        await ctx.run_cpu(self._place(ctx).forget, streams, ctx.fence)

    def delivery(self) -> Delivery:
        """Rows and commit token are one transaction, where the database is known to have transactions."""
        kind = read_url(self._location(), Path()).kind if "${" not in self._location() else MYSQL
        if kind in _TRANSACTIONAL:
            return Delivery.exactly_once
        return Delivery.idempotent_with_key if self.method.keyed else Delivery.at_least_once

    def additive(self) -> Self:
        """Return the loader that adds: replacing becomes inserting, or upserting when there is a key."""
        if not self.method.replaces:
            return self
        method = "upsert" if self.key else "insert"
        return self.model_copy(update={"write_method": method, "write_mode": None})

    async def open(self, ctx: WriteContext) -> Writer:
        """Connect, claim the destination for the run, and get the table ready.

        Raises:
            FatalError: The database or the table cannot be written, or the table does not go with the options.
            RetryableError: The database does not answer, or another session holds what is needed.
            CheckpointError: What the run had committed is gone.
        """
        if ctx.dry_run:
            return DryWriter()
        return await ctx.run_cpu(self._open, ctx)

    def _open(self, ctx: WriteContext) -> Writer:
        from etlctl.sdk.transferring import TransferWriter  # noqa: PLC0415

        policy = DriftPolicy.of(self.schema_evolution)
        job = Job(
            self.table, self.method, self.key, self.create_table, policy, ctx.fields, ctx.warn, ctx.drift, ctx.resume
        )
        lease = Lease(ctx.stream, ctx.run_id, ctx.fence, ctx.resume)
        return TransferWriter(self._place(ctx).transfer(job, lease, staged=ctx.publish_once), ctx)

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:
        """Return this loader on a copy of a SQLite database in a folder.

        Raises:
            FatalError: The database is on a server, or cannot be read.
        """
        copy = self._place(ctx).copied(folder)
        return self.model_copy(
            update={"url": f"sqlite:///{copy.absolute()}", "database": None, "connection_string": None}
        )

    async def contents(self, ctx: WriteContext) -> Counter[str]:
        """Return how often each row is in the table, as JSON of its columns; none when there is no table.

        Raises:
            FatalError: The database cannot be read.
        """
        found = await ctx.run_cpu(self._place(ctx).contents, ())
        return await ctx.run_cpu(Counter, map(_canonical, found.rows()))

    async def stored(self, ctx: WriteContext) -> Stored:
        """Return what the table holds; a record is found by the contract's key, else by the table's.

        Raises:
            FatalError: The database cannot be read.
        """
        found = await ctx.run_cpu(self._place(ctx).contents, self.key)
        file = self.address(ctx.base_dir).file
        table = None if file is None else SqliteTable(file, found.name)
        return Stored(found.exists, found.rows, found.key, found.columns, table)


def _canonical(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_bytes)


def _bytes(value: bytes) -> dict[str, str]:
    return {"base64": b64encode(value).decode("ascii")}
