"""What a contract asks a database for, and the one SELECT it becomes, from the beginning or from a position on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.sql.reading_place import Place
from etlctl.kit.sql.reading_query import Query, read_query
from etlctl.kit.sql.urls import POSTGRESQL

FIRST_BYTES = 2 << 20
"""The first chunk is small, so that the next stage has something to do soon."""
_KEY = "etlctl_key_"


@frozen(kw_only=True)
class Ask:
    """What a contract asks a database for: a query, or a table.

    Attributes:
        query: The query with ``:name`` binds, or None.
        table: The table, or None.
        schema: Its schema, or None for the connection's own.
        columns: Columns of the table to read, or None for all.
        where: A condition on the table's rows with ``:name`` binds, or None.
        params: Values of the binds.
        key: Columns that tell rows apart and order them; empty: the table's primary key, if it has one.
        timeout: Seconds a statement may take, or None.
        parse_json: JSON columns become objects and lists instead of text.
    """

    query: str | None = None
    table: str | None = None
    schema: str | None = None
    columns: tuple[str, ...] | None = None
    where: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    timeout: float | None = None
    parse_json: bool = True

    @property
    def name(self) -> str:
        """What is read, for messages."""
        if self.table is None:
            return "the query"
        return f"table {self.schema + '.' if self.schema else ''}{self.table}"


@frozen
class TableFacts:
    """What the database says of a table.

    Attributes:
        columns: Type by name, in the table's order, in the database's words and lower case.
        required: Columns that are never null.
        key: Columns of the primary key, in its order.
        hidden_key: An expression that tells rows apart where there is no key, such as SQLite's ``rowid``.
    """

    columns: Mapping[str, str]
    required: frozenset[str] = frozenset()
    key: tuple[str, ...] = ()
    hidden_key: str | None = None


@frozen
class KeyPart:
    """A column of the key that orders the rows.

    Attributes:
        name: Its name in the result.
        order: The expression that is compared and ordered by.
        nullable: It may be null.
        bind: Writes the bind of a value to compare with, given the bind's text.
    """

    name: str
    order: str
    nullable: bool = True
    bind: Callable[[str], str] = str


@frozen
class Speech:
    """How a system wants its SQL.

    Attributes:
        kind: The system.
        quote: Quotes a name.
        nulls_last: Ascending order has nulls at the end.
        rows_compare: ``(a, b) > (x, y)`` uses an index.
    """

    kind: str
    quote: Callable[[str], str]
    nulls_last: bool = False
    rows_compare: bool = False


class Reader(Protocol):
    """Reads one database on the thread that calls it."""

    def batches(self, place: Place | None) -> Iterator[Batch]:
        """Yield batches from a place on.

        Raises:
            RetryableError: The connection was lost, or the server will answer later.
            FatalError: The database refuses.
        """

    def cancel(self) -> None:
        """End what the server is doing for us, from another thread."""


@frozen(kw_only=True)
class Plan:
    """The SELECT to run.

    Attributes:
        speech: How the system wants it.
        body: The SELECT without conditions, or the contract's own query.
        conditions: What rows must fulfil, each a condition with ``:name`` binds.
        key: Columns that order the rows; empty: rows come as the query gives them, and are counted.
        params: Values of the binds.
        hidden: Columns at the end of the result that are no fields, only part of the key.
        unique: The database guarantees that no two rows have the same key.
        bare: The body is a query of its own that conditions must be put around.
    """

    speech: Speech
    body: str
    conditions: tuple[str, ...] = ()
    key: tuple[KeyPart, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    unique: bool = False
    bare: bool = False

    def statement(self, last: Sequence[Any] | None) -> tuple[Query, dict[str, Any]]:
        """Return the SELECT and the values of its binds.

        Args:
            last: Values of the key after which to begin; None: from the beginning.
        """
        conditions, params = list(self.conditions), dict(self.params)
        if last is not None:
            conditions.append(self._after(last))
            params |= {f"{_KEY}{index}": value for index, value in enumerate(last) if value is not None}
        text = self.body
        if self.bare and (self.key or conditions):
            text = f"SELECT * FROM (\n{_without_end(text, self.speech.kind)}\n) etlctl_rows"
        if conditions:
            text += " WHERE " + " AND ".join(f"({condition}\n)" for condition in conditions)
        if self.key:
            text += " ORDER BY " + ", ".join(part.order for part in self.key)
        return read_query(text, self.speech.kind), params

    def _after(self, last: Sequence[Any]) -> str:
        """Return the condition that a row comes after a key, nulls where the database sorts them."""
        if None not in last and not any(part.nullable for part in self.key) and self.speech.rows_compare:
            names = ", ".join(part.order for part in self.key)
            return f"({names}) > ({', '.join(self._bind(index) for index in range(len(self.key)))})"
        cases, same = [], ""
        for index, (part, value) in enumerate(zip(self.key, last, strict=True)):
            bind = self._bind(index)
            beyond = f"{part.order} > {bind}" if value is not None else f"{part.order} IS NOT NULL"
            if self.speech.nulls_last and part.nullable:
                beyond = f"({beyond} OR {part.order} IS NULL)" if value is not None else "1 = 0"
            cases.append(f"{same}{beyond}")
            same += f"{part.order} = {bind} AND " if value is not None else f"{part.order} IS NULL AND "
        found = " OR ".join(f"({case})" for case in cases)
        first = self.key[0]
        if last[0] is not None and not first.nullable and len(self.key) > 1:
            return f"{first.order} >= {self._bind(0)} AND ({found})"  # what an index can go by
        return found

    def _bind(self, index: int) -> str:
        return self.key[index].bind(f":{_KEY}{index}")


def table_plan(
    ask: Ask,
    facts: TableFacts,
    speech: Speech,
    key_part: Callable[[str, bool], KeyPart],
    window: tuple[str, Sequence[str], Mapping[str, Any]] | None = None,
) -> Plan:
    """Return the plan to read a table.

    Args:
        ask: What the contract asks for.
        facts: What the database says of the table.
        speech: How the system wants its SQL.
        key_part: Makes a part of the key from a column's name and whether the key is the table's own.
        window: Cursor field, conditions and their binds of an incremental run.

    Raises:
        FatalError: A column that is asked for is not there.
    """
    quote = speech.quote
    own = ask.key or facts.key
    for what, names in (("columns", ask.columns or ()), ("key", ask.key)):
        for name in names:
            if name not in facts.columns:
                raise _no_column(ask, name, what, facts)
    unique = bool(facts.key) and set(own) >= set(facts.key)
    lead = (window[0],) if window is not None and window[0] not in own else ()
    order = [*lead, *own] if own else []
    key = [key_part(name, unique) for name in order]
    fields = list(ask.columns or facts.columns)
    wanted = [quote(name) for name in fields]
    hidden = [name for name in order if name not in fields]
    wanted += [quote(name) for name in hidden]
    if not key and facts.hidden_key is not None:
        if lead:
            key.append(key_part(lead[0], False))
        key.append(KeyPart("etlctl_rowid", facts.hidden_key, nullable=False))
        hidden = [*(name for name in lead if name not in fields), "etlctl_rowid"]
        wanted += [*map(quote, hidden[:-1]), f"{facts.hidden_key} AS etlctl_rowid"]
        unique = True
    place = f"{quote(ask.schema)}.{quote(ask.table or '')}" if ask.schema else quote(ask.table or "")
    return Plan(
        speech=speech,
        body=f"SELECT {', '.join(wanted)} FROM {place}",
        conditions=(*([_without_end(ask.where, speech.kind)] if ask.where else ()), *(window[1] if window else ())),
        key=tuple(key),
        params={**ask.params, **(window[2] if window else {})},
        hidden=tuple(hidden),
        unique=unique,
    )


def query_plan(ask: Ask, speech: Speech, key_part: Callable[[str, bool], KeyPart]) -> Plan:
    """Return the plan to read the contract's own query."""
    key = tuple(key_part(name, False) for name in ask.key)
    return Plan(speech=speech, body=ask.query or "", key=key, params=ask.params, bare=True)


def order_warning(ask: Ask, plan: Plan) -> str | None:
    """Return what to say of a reading that can only be resumed by counting rows; None when there is nothing to say."""
    if plan.key:
        return None
    if ask.query is not None and read_query(ask.query, plan.speech.kind).ordered:
        return None
    what = "the query has neither key nor ORDER BY" if ask.query is not None else f"{ask.name} has no primary key"
    return (
        f"{what}: if the run is resumed, as many rows are skipped as were read, in whatever order the database gives "
        "them then; name columns that tell rows apart (key: [id])"
    )


def check_columns(names: Sequence[str], plan: Plan, ask: Ask) -> None:
    """Check the columns of a result.

    Raises:
        FatalError: Two have the same name, there are none, or one of the key is missing.
    """
    if not names:
        raise FatalError(f"{ask.name} gives no columns", help="select at least one column")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise FatalError(
            f"{ask.name} gives several columns of the name {twice[0]!r}", help="give each a name of its own: … AS name"
        )
    for part in plan.key:
        if part.name not in names:
            raise FatalError(
                f"key: {part.name!r} is no column of {ask.name}; it gives {', '.join(names[:20])}",
                help="name columns of the result, exactly as they are written there",
            )


def twice(name: str, keys: Sequence[str], values: Sequence[Any], *, conceals: bool) -> FatalError:
    """Return the error for two rows with the same key."""
    shown = "" if conceals else f" ({', '.join(f'{key}={value}' for key, value in zip(keys, values, strict=True))})"
    return FatalError(
        f"two rows of {name} have the same key{shown}: resuming between them would lose or repeat one",
        help="add columns to key until no two rows have the same, such as key: [updated_at, id]",
    )


def _without_end(text: str, kind: str) -> str:
    """Return a query, or a condition, without the semicolon at its end."""
    return text[: read_query(text, kind).end].rstrip()


def _no_column(ask: Ask, name: str, option: str, facts: TableFacts) -> FatalError:
    return FatalError(
        f"{option}: {ask.name} has no column {name!r}; it has {', '.join(list(facts.columns)[:20])}",
        help="names are taken exactly, upper and lower case too",
    )


def postgres_speech(quote: Callable[[str], str]) -> Speech:
    """Return how PostgreSQL wants its SQL."""
    return Speech(POSTGRESQL, quote, nulls_last=True, rows_compare=True)
