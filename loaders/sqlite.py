"""Loads records into a table of a SQLite database, each batch together with its commit token."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etlctl.kit.sql.destination import Lease
from etlctl.kit.sql.drift import DriftPolicy, SchemaEvolution
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, method_named, quoted
from etlctl.kit.sql.sqlite_contents import copied_database, table_contents
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_table import read_table
from etlctl.kit.sql.sqlite_transfer import SqliteTransfer, forget_unfinished, held_token, unfinished_tokens
from etlctl.sdk import (
    CommitToken,
    Delivery,
    Example,
    FatalError,
    Loader,
    WriteContext,
    Writer,
)
from etlctl.sdk.dry_writer import DryWriter
from etlctl.sdk.stored import SqliteTable, Stored
from etlctl.sdk.transferring import TransferWriter

_URL = "sqlite:///"
_RESERVED = ("sqlite_", "_etlctl_")


class Place(BaseModel):
    """Where a database is: its file or its URL."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    path: str | None = Field(default=None, min_length=1)
    """The file, relative to the contract's folder; ``~`` is the home folder."""
    url: str | None = Field(default=None, min_length=1)
    """``sqlite:///people.db`` for a relative path, ``sqlite:////data/people.db`` for an absolute one."""


class Sqlite(Loader):
    """Writes records to a table of a SQLite database.

    Each batch and its commit token (in the table ``_etlctl_commits``) are one transaction: whatever happens, a resumed
    run neither loses nor repeats a record. In ``processing_mode: full``, and whenever records are replaced, they wait
    in a table beside the target and are published in one transaction. Values are kept exactly or the record is
    rejected: decimals, dates and times (ISO 8601), lists and objects (JSON) are text, booleans 0 and 1. A record that a
    constraint refuses goes to the dead letters and the rest of its batch is loaded. Foreign keys are not enforced, as
    is SQLite's own default.
    """

    table: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    """Name of the table."""
    path: str | None = Field(default=None, min_length=1)
    """The database file, relative to the contract's folder; ``~`` is the home folder. Or give ``database`` or ``connection_string``."""  # noqa: E501
    database: Place | None = None
    """The database as ``{path: …}`` or ``{url: "sqlite:///people.db"}``."""
    connection_string: str | None = Field(default=None, min_length=1)
    """The database as a URL, ``sqlite:///people.db``, or as a path."""
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
            "Add rows to a table, which is made when it does not exist",
            "path: out/people.db\ntable: people\ncreate_table: true",
            given=[{"name": "Ann", "age": 41}, {"name": "Bob", "age": None}],
        ),
        Example(
            "Change or add rows by key",
            "path: out/shop.db\ntable: prices\nwrite_method: upsert\nprimary_key: [shop, sku]\ncreate_table: true",
            given=[
                {"shop": 1, "sku": "a", "price": 9.5},
                {"shop": 1, "sku": "b", "price": 3.0},
                {"shop": 1, "sku": "a", "price": 9.0},
            ],
        ),
        Example(
            "Replace all rows at once, and add columns when new fields appear",
            'database: {url: "sqlite:///out/report.db"}\ntable: totals\nwrite_method: replace\ncreate_table: true\n'
            "schema_evolution: evolve",
            given=[{"month": "2024-01", "total": 12}, {"month": "2024-02", "total": 15, "note": "leap year"}],
        ),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [name for name in ("path", "database", "connection_string") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(
                f"say once where the database is: path, database or connection_string; {found} (path: people.db)"
            )
        problem = _location_problem(self._location())
        if problem is not None:
            raise ValueError(problem)
        if self.table.lower().startswith(_RESERVED):
            raise ValueError(
                f"table: {self.table!r}: names that begin with {' or '.join(_RESERVED)} are not yours to load"
            )
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
        """Return what the contract says of where the database is."""
        if self.database is not None:
            if (self.database.path is None) == (self.database.url is None):
                raise ValueError("database: give either path or url")
            return self.database.path or self.database.url or ""
        return self.path or self.connection_string or ""

    def file(self, ctx: WriteContext) -> Path:
        """Return the database file."""
        return ctx.path(_file_name(self._location()))

    def identity(self, base_dir: Path) -> tuple[str, ...]:
        """Return the database and the table: names of tables know no upper and lower case."""
        path = base_dir / Path(_file_name(self._location())).expanduser()
        return str(path.resolve()), self.table.lower()

    async def held(self, ctx: WriteContext) -> CommitToken | None:
        """Return the token of the stream."""
        token = await ctx.run_cpu(held_token, self.file(ctx), ctx.stream)
        return None if token is None else CommitToken(**asdict(token))

    async def unfinished(self, ctx: WriteContext) -> Sequence[CommitToken]:
        """Return the tokens of the contract's unfinished runs in the database, whichever table they are of."""
        tokens = await ctx.run_cpu(unfinished_tokens, self.file(ctx), ctx.stream)
        return [CommitToken(**asdict(token)) for token in tokens]

    async def forget(self, ctx: WriteContext, streams: Collection[str]) -> None:
        """Drop the tables in which records of these streams wait."""
        await ctx.run_cpu(forget_unfinished, self.file(ctx), streams, ctx.fence)

    def delivery(self) -> Delivery:
        """Rows and commit token are one transaction, whatever the write method."""
        return Delivery.exactly_once

    def additive(self) -> Self:
        """Return the loader that adds: replacing becomes inserting, or upserting when there is a key."""
        if not self.method.replaces:
            return self
        method = "upsert" if self.key else "insert"
        return self.model_copy(update={"write_method": method, "write_mode": None})

    async def open(self, ctx: WriteContext) -> Writer:
        """Open the database, claim it for the run, and get the table ready.

        Raises:
            FatalError: The file or the table cannot be written, or the table does not go with the options.
            RetryableError: Another process is writing the database.
            CheckpointError: What the run had committed is gone.
        """
        if ctx.dry_run:
            return DryWriter()
        return await ctx.run_cpu(self._open, ctx)

    def _open(self, ctx: WriteContext) -> Writer:
        path = self.file(ctx)
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
        if not job.makes_table and not path.exists():
            raise FatalError(
                f"there is no database {path} (for table {self.table!r})",
                help="correct the path" + (", or let it be made with create_table: true" if job.may_make_table else ""),
            )
        database = Database(path, create=job.makes_table)
        lease = Lease(ctx.stream, ctx.run_id, ctx.fence, ctx.resume)
        return TransferWriter(SqliteTransfer(database, job, lease, staged=ctx.publish_once), ctx)

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:
        """Return this loader on a copy of the database in a folder, without etlctl's own tables.

        Raises:
            FatalError: The database cannot be read.
        """
        copy = copied_database(self.file(ctx), folder)
        return self.model_copy(update={"path": str(copy.absolute()), "database": None, "connection_string": None})

    async def contents(self, ctx: WriteContext) -> Counter[str]:
        """Return how often each row is in the table, as JSON of its columns; none when there is no table.

        Raises:
            FatalError: The database cannot be read.
        """
        return await ctx.run_cpu(self._contents, ctx)

    async def stored(self, ctx: WriteContext) -> Stored:
        """Return what the table holds; a record is found by the contract's key, else by the table's.

        Raises:
            FatalError: The database cannot be read.
        """
        found = await ctx.run_cpu(table_contents, self.file(ctx), self.table, self.key)
        return Stored(found.exists, found.rows, found.key, found.columns, SqliteTable(found.file, found.name))

    def _contents(self, ctx: WriteContext) -> Counter[str]:
        path = self.file(ctx)
        if not path.exists():
            return Counter()
        with closing(Database(path, create=False)) as database, database.told():
            table = read_table(database, self.table)
            if table is None:
                return Counter()
            cursor = database.execute(f"SELECT * FROM {quoted(table.name)}")  # noqa: S608
            names = [column[0] for column in cursor.description]
            return Counter(_canonical(dict(zip(names, row, strict=True))) for row in cursor)


def _file_name(location: str) -> str:
    """Return the path in a URL or in what is a path already."""
    return location.removeprefix(_URL) if location.startswith(_URL) else location


def _location_problem(location: str) -> str | None:
    """Return what is wrong with where the database is said to be, or None."""
    if location.startswith("${"):
        return None
    name = _file_name(location)
    if "://" in name or (location.startswith("sqlite:") and not location.startswith(_URL)):
        return f"{location!r} is no SQLite database: write sqlite:///people.db, or a path"
    if not name or name == ":memory:" or (location.startswith(_URL) and name.startswith(":memory:")):
        return f"{location!r} is a database in memory, gone when the run ends; give a file: sqlite:///people.db"
    if location.startswith(_URL) and "?" in name:
        return f"{location!r}: parameters behind ? are not supported; leave them out"
    return None


def _canonical(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_bytes)


def _bytes(value: bytes) -> dict[str, str]:
    return {"base64": b64encode(value).decode("ascii")}
