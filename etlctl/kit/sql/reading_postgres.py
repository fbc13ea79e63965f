"""Reading PostgreSQL: one COPY of one snapshot, in blocks that Polars parses to exact types."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, Rejection
from etlctl.errors import FatalError, SourceUnavailable
from etlctl.kit.sql.methods import quoted
from etlctl.kit.sql.reading import (
    FIRST_BYTES,
    Ask,
    KeyPart,
    Plan,
    TableFacts,
    check_columns,
    order_warning,
    postgres_speech,
    query_plan,
    table_plan,
    twice,
)
from etlctl.kit.sql.reading_context import ReadingContext
from etlctl.kit.sql.reading_place import Place
from etlctl.kit.sql.reading_query import Query
from etlctl.kit.sql.reading_window import postgres_window
from etlctl.kit.sql.server_errors import connect_error, statement_error
from etlctl.kit.sql.urls import Address

if TYPE_CHECKING:
    import psycopg

    from etlctl.kit.sql.reading_copy import CopyBlock, CopyForm

_CONNECT_SECONDS = 10
# For the transaction only: behind a pooler the session is not ours.
_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'iso_8601'; "
    "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL synchronize_seqscans = off"
)
_TABLE = """\
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_catalog.array_position(i.indkey::int2[], a.attnum)
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""


class PostgresReader:
    """Reads a query or a table of a PostgreSQL database.

    Args:
        address: The database.
        ask: What to read.
        ctx: The run's context.
    """

    def __init__(self, address: Address, ask: Ask, ctx: ReadingContext) -> None:
        self._address = address
        self._ask = ask
        self._ctx = ctx
        self._speech = postgres_speech(quoted)
        self._connection: psycopg.Connection[Any] | None = None

    def cancel(self) -> None:
        """Cancel the statement that runs."""
        import psycopg  # noqa: PLC0415

        connection = self._connection
        if connection is not None and not connection.closed:
            try:
                connection.cancel_safe(timeout=5)
            except psycopg.Error:
                return  # it has ended, or the server is gone: either way there is nothing to wait for

    def batches(self, place: Place | None) -> Iterator[Batch]:
        """Yield frames, or rows where JSON is parsed, from a place on."""
        connection = self._connect()
        self._connection = connection
        try:
            with self._told():
                plan = self._plan(connection)
                names = [part.name for part in plan.key]
                (place or Place(0)).check(names, self._ask.name)
                if place is None and (warning := order_warning(self._ask, plan)):
                    self._ctx.warn(warning)
                form, plan = self._describe(connection, plan)
                yield from self._copy(connection, plan, form, place or Place(0))
        finally:
            self._connection = None
            connection.close()

    def _connect(self) -> psycopg.Connection[Any]:
        self._address.require_driver("reading PostgreSQL")
        import psycopg  # noqa: PLC0415

        asked: dict[str, Any] = {} if "connect_timeout" in self._address.url else {"connect_timeout": _CONNECT_SECONDS}
        try:
            connection = psycopg.connect(
                self._address.conninfo,
                application_name="etlctl",
                client_encoding="utf8",
                prepare_threshold=None,
                **asked,
            )
        except psycopg.Error as error:
            raise connect_error(error, self._address, final=SourceUnavailable) from error
        try:
            with self._told():
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                timeout = int((self._ask.timeout or 0) * 1000)
                connection.execute(f"{_SETTINGS}; SET LOCAL statement_timeout = {timeout}")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        import psycopg  # noqa: PLC0415

        try:
            yield
        except psycopg.Error as error:
            doing = f"reading {self._ask.name}"
            raise statement_error(error, self._address, doing) from error

    def _plan(self, connection: psycopg.Connection[Any]) -> Plan:
        if self._ask.table is None:
            return query_plan(self._ask, self._speech, self._key_part)
        facts = self._facts(connection)
        window = postgres_window(self._ctx.window, facts, self._speech)
        return table_plan(self._ask, facts, self._speech, lambda name, _: self._part(name, facts), window)

    def _key_part(self, name: str, _own: bool) -> KeyPart:
        return KeyPart(name, self._speech.quote(name))

    def _part(self, name: str, facts: TableFacts) -> KeyPart:
        return KeyPart(name, self._speech.quote(name), nullable=name not in facts.required)

    def _facts(self, connection: psycopg.Connection[Any]) -> TableFacts:
        ask, quote = self._ask, self._speech.quote
        place = f"{quote(ask.schema)}.{quote(ask.table or '')}" if ask.schema else quote(ask.table or "")
        rows = connection.execute(_TABLE, [place]).fetchall()
        if not rows:
            dotted = (ask.table or "").partition(".")
            hint = f"schema: {dotted[0]} and table: {dotted[2]}" if dotted[1] and not ask.schema else None
            raise FatalError(
                f"{self._address}: there is no {ask.name}, or it is not for this user to see",
                help=f"did you mean {hint}?" if hint else "names are taken exactly, upper and lower case too",
            )
        key = [name for name, _, _, place in sorted(rows, key=lambda row: row[3] or 0) if place is not None]
        return TableFacts(
            {name: kind for name, kind, _, _ in rows}, frozenset(row[0] for row in rows if row[2]), tuple(key)
        )

    def _describe(self, connection: psycopg.Connection[Any], plan: Plan) -> tuple[CopyForm, Plan]:
        """Return how the columns of the result are read, and the plan with its key typed."""
        from etlctl.kit.sql.reading_copy import CopyForm  # noqa: PLC0415

        query, params = plan.statement(None)
        text = f"SELECT * FROM (\n{_text(query)}\n) etlctl_rows LIMIT 0"
        with _client_cursor(connection) as cursor:
            cursor.execute(text, params)
            columns = [(column.name, *_type_of(cursor, index)) for index, column in enumerate(cursor.description or ())]
        check_columns([name for name, _, _ in columns], plan, self._ask)
        kinds = self._type_names(connection, columns)
        key = tuple(  # a position holds texts; each is compared as what it is
            KeyPart(part.name, part.order, part.nullable, _cast(kinds[part.name])) for part in plan.key
        )
        typed = [(name, oid, modifier, kinds[name]) for name, oid, modifier in columns]
        plan = _with_key(plan, key)
        return CopyForm(typed, plan, connection, parse_json=self._ask.parse_json), plan

    def _type_names(
        self, connection: psycopg.Connection[Any], columns: Sequence[tuple[str, int, int]]
    ) -> dict[str, str]:
        rows = connection.execute(
            "SELECT pg_catalog.format_type(oid, modifier) FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY "
            "AS kinds(oid, modifier, place) ORDER BY place",
            [[oid for _, oid, _ in columns], [modifier for _, _, modifier in columns]],
        ).fetchall()
        return {name: kind for (name, _, _), (kind,) in zip(columns, rows, strict=True)}

    def _copy(self, connection: psycopg.Connection[Any], plan: Plan, form: CopyForm, place: Place) -> Iterator[Batch]:
        query, params = plan.statement(place.last)
        if not plan.key:
            connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # the same order the next time
        read, last = place.rows, place.last
        with (
            _client_cursor(connection) as cursor,
            cursor.copy(f"COPY (\n{_text(query)}\n) TO STDOUT (FORMAT csv)", params) as copy,
        ):
            rows = iter(copy)
            if not plan.key and read:
                self._check_skipped(sum(1 for _ in islice(rows, read)), read)
            for data in _blocks(rows, self._ctx.chunk_bytes):
                block = form.read(data)
                if not plan.unique and form.key and (key := form.repeated(block, last)):
                    raise twice(self._ask.name, form.key, key, conceals=self._ctx.conceals)
                last = block.last if plan.key else None
                yield self._batch(block, Place(read + block.rows, tuple(form.key), last), read)
                read += block.rows
        if not read:
            yield Batch.of_frame(form.read(b"").frame, Place(0).to_json())

    def _check_skipped(self, skipped: int, rows: int) -> None:
        if skipped < rows:
            raise FatalError(
                f"{self._ask.name} gives only {skipped:,} rows, and {rows:,} had been read when the run stopped",
                help="rows were removed meanwhile; begin anew with: etlctl run … --restart (and give key: […])",
            )

    def _batch(self, block: CopyBlock, place: Place, before: int) -> Batch:
        rejected = [
            Rejection(
                index=index,
                stage="extract",
                step=self._ctx.step,
                rule="database.value",
                message=f"field {field!r} is the {kind} {value}, which no column can hold",
                raw=raw,
                field=field,
                location=f"{self._ask.name}, row {before + index + 1:,}",
            )
            for index, field, kind, value, raw in block.refused
        ]
        if block.records is not None:
            return Batch.of_rows(block.records, place.to_json(), rejected=rejected)
        return Batch.of_frame(block.frame, place.to_json(), rejected=rejected)


def _blocks(rows: Iterator[Any], size: int) -> Iterator[bytes]:
    """Join rows to blocks of about ``size`` bytes, the first one smaller; few rows at a time when they are large."""
    count, wanted = max(1, min(64, size >> 8)), min(FIRST_BYTES, size)
    while True:
        buffer, taken = io.BytesIO(), 0
        while (length := buffer.tell()) < wanted:
            buffer.writelines(islice(rows, count))
            if buffer.tell() == length:
                break
            taken += count
            count = max(1, min(20_000, (wanted - buffer.tell()) * taken // buffer.tell() + 1, 4 * count))
        if not buffer.tell():
            return
        yield buffer.getvalue()
        wanted = size


def _text(query: Query) -> str:
    """Write a query for psycopg, which takes a percent sign for a bind."""
    return query.text(lambda name: f"%({name})s", lambda piece: piece.replace("%", "%%"))


def _client_cursor(connection: psycopg.Connection[Any]) -> Any:
    """Return a cursor that puts values into the statement as literals: COPY takes no others."""
    import psycopg  # noqa: PLC0415

    return psycopg.ClientCursor(connection)


def _type_of(cursor: Any, index: int) -> tuple[int, int]:
    result = cursor.pgresult
    return result.ftype(index), result.fmod(index)


def _cast(kind: str) -> Any:
    return lambda bind: f"CAST({bind} AS {kind})"


def _with_key(plan: Plan, key: tuple[KeyPart, ...]) -> Plan:
    values: Mapping[str, Any] = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    return Plan(**{**values, "key": key})
