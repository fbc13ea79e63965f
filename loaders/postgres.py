"""Loads records into a table of PostgreSQL, each batch together with its commit token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from etlctl.kit.sql.destination import Lease
from etlctl.kit.sql.drift import DriftPolicy, SchemaEvolution
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, method_named
from etlctl.kit.sql.urls import POSTGRESQL, Address, DatabasePlace, place_of, read_url
from etlctl.sdk import CommitToken, Delivery, Example, FatalError, Loader, WriteContext, Writer
from etlctl.sdk.dry_writer import DryWriter
from etlctl.sdk.stored import Stored

if TYPE_CHECKING:
    from etlctl.kit.sql.postgres_contents import ScratchDatabase
    from etlctl.kit.sql.postgres_database import PostgresDatabase

_RESERVED = "_etlctl_"


class Postgres(Loader):
    """Writes records to a table of PostgreSQL.

    Each batch is copied in (COPY) in one transaction with its commit token (in the table ``_etlctl_commits`` of the
    same schema): whatever happens, a resumed run neither loses nor repeats a record; when the connection is lost over a
    commit, the token tells whether it came to pass. In ``processing_mode: full``, and whenever records are replaced,
    they wait in a table beside the target and are published in one transaction. ``replace`` keeps everything that
    belongs to the table (rights, indexes, views, numbering), and readers see the old rows until they see the new ones.
    Rows that an upsert or update would leave as they are, are not written. Values are kept exactly or the record is
    rejected. A record that the server refuses goes to the dead letters with the server's message, and the rest of its
    batch is loaded.
    """

    table: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    """Name of the table, upper and lower case as it was made."""
    schema_: str | None = Field(default=None, min_length=1, alias="schema")
    """The schema the table is in; without it the first one of the user's search path, usually ``public``."""
    connection_string: str | None = Field(default=None, min_length=1)
    """The database as a URL: ``postgresql://user:password@host:5432/shop``. Or give ``database`` or ``url``."""
    database: DatabasePlace | None = None
    """The database as ``{url: "postgresql://…"}``."""
    url: str | None = Field(default=None, min_length=1)
    """The database as a URL."""
    write_method: (
        Literal[
            "insert", "append", "upsert", "replace", "overwrite", "update", "delete", "truncate_and_load",
        ]
        | None
    ) = None  # fmt: skip
    """``insert`` (the default; also ``append``) adds rows. ``upsert`` adds them, or changes the record's columns where its key is there. ``update`` and ``delete`` find rows by key. ``replace`` (also ``overwrite``) puts the run's records in place of all rows; so does ``truncate_and_load``, in a table that must exist, with TRUNCATE: quicker, but readers wait meanwhile."""  # noqa: E501
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

    extra: ClassVar[str | None] = "postgres"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Change or add rows by key, and add columns when new fields appear",
            'database: {url: "postgresql://etl:secret@db.example.com/shop"}\nschema: public\ntable: orders\n'
            "write_method: upsert\n"
            "primary_key: [order_id]\nschema_evolution: evolve",
        ),
        Example(
            "Replace all rows at once, and make the table when it does not exist",
            'connection_string: "postgresql://etl:secret@db.example.com:5432/reports"\ntable: totals\n'
            "write_method: replace\ncreate_table: true",
        ),
    )

    _scratch: ScratchDatabase | None = PrivateAttr(default=None)
    _real: tuple[str | None] = PrivateAttr(default=(None,))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        location = place_of(self.connection_string, self.database, self.url)
        if "${" not in location and read_url(location, Path()).kind != POSTGRESQL:
            raise ValueError("this is no database of PostgreSQL; write postgresql://…, or use type: database")
        if self.table.lower().startswith(_RESERVED):
            raise ValueError(f"table: {self.table!r}: names that begin with {_RESERVED} are not yours to load")
        if self.write_method and self.write_mode and method_named(self.write_method) != method_named(self.write_mode):
            raise ValueError(
                f"write_method: {self.write_method} and write_mode: {self.write_mode} contradict each other; keep one"
            )
        if self.method.keyed and not self.key:
            raise ValueError(f"write_method: {self.method} needs primary_key: the fields that find a row")
        if len(set(self.key)) < len(self.key) or not all(self.key):
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

    def address(self, base_dir: Path) -> Address:
        """Return the server and the database.

        Raises:
            MissingExtraError: The driver is not installed.
        """
        address = read_url(place_of(self.connection_string, self.database, self.url), base_dir)
        address.require_driver("type: postgres")
        return address

    def identity(self, base_dir: Path) -> tuple[str, ...]:
        """Return the database, the schema and the table."""
        address = read_url(place_of(self.connection_string, self.database, self.url), base_dir)
        return (*address.identity, self.schema_ or "", self.table)

    def delivery(self) -> Delivery:
        """Rows and commit token are one transaction, whatever the write method."""
        return Delivery.exactly_once

    def additive(self) -> Self:
        """Return the loader that adds: replacing becomes inserting, or upserting when there is a key."""
        if not self.method.replaces:
            return self
        method = "upsert" if self.key else "insert"
        return self.model_copy(update={"write_method": method, "write_mode": None})

    async def held(self, ctx: WriteContext) -> CommitToken | None:
        """Return the token of the stream."""
        from etlctl.kit.sql.postgres_transfer import held_token  # noqa: PLC0415

        token = await ctx.run_cpu(held_token, self.address(ctx.base_dir), self.schema_, ctx.stream)
        return None if token is None else CommitToken(**asdict(token))

    async def unfinished(self, ctx: WriteContext) -> Sequence[CommitToken]:
        """Return the tokens of the contract's unfinished runs in the schema, whichever table they are of."""
        if self._scratch is not None:
            return ()
        from etlctl.kit.sql.postgres_transfer import unfinished_tokens  # noqa: PLC0415

        tokens = await ctx.run_cpu(unfinished_tokens, self.address(ctx.base_dir), self.schema_, ctx.stream)
        return [CommitToken(**asdict(token)) for token in tokens]

    async def forget(self, ctx: WriteContext, streams: Collection[str]) -> None:
        """Drop the tables in which records of these streams wait."""
        from etlctl.kit.sql.postgres_transfer import forget_unfinished  # noqa: PLC0415

        await ctx.run_cpu(forget_unfinished, self.address(ctx.base_dir), self.schema_, streams, ctx.fence)

    async def open(self, ctx: WriteContext) -> Writer:
        """Connect, claim the destination for the run, and get the table ready.

        Raises:
            FatalError: The server does not let us in, or the table does not go with the options.
            RetryableError: The server does not answer, or another session holds what is needed.
            CheckpointError: What the run had committed is gone.
        """
        if ctx.dry_run:
            return DryWriter()
        return await ctx.run_cpu(self._open, ctx)

    def _open(self, ctx: WriteContext) -> Writer:
        from etlctl.kit.sql.postgres_transfer import PostgresTransfer  # noqa: PLC0415
        from etlctl.sdk.transferring import TransferWriter  # noqa: PLC0415

        job = Job(
            self.table,
            self.method,
            self.key,
            self.create_table,
            DriftPolicy.of(self.schema_evolution),
            ctx.fields,
            ctx.warn,
            ctx.drift,
            ctx.resume,
        )
        lease = Lease(ctx.stream, ctx.run_id, ctx.fence, ctx.resume)
        database = self._connected(ctx)
        return TransferWriter(PostgresTransfer(database, job, lease, staged=ctx.publish_once), ctx)

    def _connected(self, ctx: WriteContext) -> PostgresDatabase:
        from etlctl.kit.sql.postgres_contents import is_scratch  # noqa: PLC0415
        from etlctl.kit.sql.postgres_database import PostgresDatabase  # noqa: PLC0415

        if self._scratch is not None:
            return self._scratch
        if is_scratch(self.schema_):  # that of another process: it must not come near the real table
            raise FatalError(
                "the copy of a PostgreSQL table for trials belongs to one process",
                help="etlctl plan and preview work; to prove the contract, load into type: sqlite meanwhile",
            )
        return PostgresDatabase(self.address(ctx.base_dir), self.schema_)

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:  # noqa: ARG002
        """Return this loader on a copy of the table that only its own session sees; nothing is left in the database.

        Raises:
            FatalError: The table cannot be read.
        """
        from etlctl.kit.sql.postgres_contents import copied_table  # noqa: PLC0415

        (real,) = self._real if self._scratch is not None else (self.schema_,)
        session = copied_table(self.address(ctx.base_dir), real, self.table, self._scratch)
        return self.model_copy(update={"schema_": session.schema}).remade(_scratch=session, _real=(real,))

    async def contents(self, ctx: WriteContext) -> Counter[str]:
        """Return how often each row is in the table, as JSON of its columns; none when there is no table.

        Raises:
            FatalError: The database cannot be read.
        """
        return await ctx.run_cpu(self._contents, ctx)

    def _contents(self, ctx: WriteContext) -> Counter[str]:
        from etlctl.kit.sql.postgres_contents import counted_rows  # noqa: PLC0415

        with self._reading(ctx) as database:
            return counted_rows(database, self.table)

    @contextmanager
    def _reading(self, ctx: WriteContext) -> Iterator[PostgresDatabase]:
        database = self._connected(ctx)
        with nullcontext(database) if database is self._scratch else closing(database):
            yield database

    async def stored(self, ctx: WriteContext) -> Stored:
        """Return what the table holds; a record is found by the contract's key, else by the table's.

        Raises:
            FatalError: The database cannot be read.
        """
        return await ctx.run_cpu(self._stored, ctx)

    def _stored(self, ctx: WriteContext) -> Stored:
        from etlctl.kit.sql.postgres_contents import primary_key, rows_of  # noqa: PLC0415
        from etlctl.kit.sql.postgres_table import read_table  # noqa: PLC0415

        def records() -> Iterator[Mapping[str, Any]]:
            with self._reading(ctx) as database:
                yield from rows_of(database, self.table)

        with self._reading(ctx) as database, database.told():
            table = read_table(database, self.table)
            if table is None:
                return Stored(exists=False, records=records, key=self.key)
            key = self.key or tuple(primary_key(database, table))
            columns = {column.name: column.declared for column in table.columns}
        return Stored(exists=True, records=records, key=key, columns=columns)
