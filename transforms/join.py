"""Operation ``join``: add the fields of another source's records of the same key."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from etlctl.kit.join_table import KEY, MANY, MATCHED, JoinTable, row_key
from etlctl.sdk import (
    Batch,
    Example,
    Extractor,
    FatalError,
    FieldProblem,
    FieldSet,
    Operation,
    ReadContext,
    RowSlice,
    Scope,
    StepContext,
)
from etlctl.types import shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

_LARGE = 50_000
"""Rows of a right side from which it pays to find out first which of them a chunk wants."""


def _pairs(on: Any) -> Any:
    """Return the key as right field by left field."""
    if isinstance(on, str):
        return {on: on}
    if isinstance(on, list | tuple) and all(isinstance(name, str) for name in on):
        return {name: name for name in on}
    return on


def _names(select: Any) -> Any:
    return dict.fromkeys(select) if isinstance(select, list | tuple) else select


class Join(Operation):
    """Adds the fields of another source's records of the same key: ``country: DE`` finds its name and region.

    The other source (the right side) is an extractor section of its own under ``with``. It is read once, before the
    first record, and held in memory: at most ``max_records``. Keys are the same when they are of one kind and equal: 1
    and 1.0 are, 1 and "1" are not; null matches nothing. ``how: left`` keeps records without a match, with nulls;
    ``inner`` drops them (they count as filtered) or rejects them (``join.unmatched``). ``right`` and ``outer`` put the
    right side's records without a match at the end; that takes ``processing_mode: full``, and at least one record on
    the left.

    All fields of the right side but its key are added, or those that ``select`` names. A name that both sides have is
    an error: use ``prefix``, ``suffix``, or names of your own in ``select``. The files of the right side are part of
    the contract: when they change, an interrupted run is not resumed just so. Of other sources nobody can tell.
    """

    # ``with`` is a word of Python.
    model_config = ConfigDict(validate_by_name=False, populate_by_name=False)

    with_: dict[str, Any] = Field(alias="with")
    """The right side: ``type`` and options of an extractor, as in ``extract.yaml``."""
    on: Annotated[
        dict[str, str], BeforeValidator(_pairs, json_schema_input_type=str | tuple[str, ...] | dict[str, str])
    ] = Field(min_length=1)
    """Key: a field that both sides have, several, or ``{left field: right field}``."""
    how: Literal["left", "inner", "right", "outer"] = "left"
    """Whose records stay without a match: those of the left side, of none, of the right side, of both."""
    select: Annotated[
        dict[str, str | None] | None,
        BeforeValidator(_names, json_schema_input_type=tuple[str, ...] | dict[str, str | None] | None),
    ] = None
    """Fields of the right side to take along: a list, or ``{field: its name in the result}``."""
    prefix: str = ""
    """Put before the names of the right side's fields (not before names given in ``select``)."""
    suffix: str = ""
    """Put behind the names of the right side's fields (not behind names given in ``select``)."""
    on_many: Literal["multiply", "first", "reject"] = "multiply"
    """What happens when several records of the right side match: one record each, only the first of them, or the record
    is rejected (``join.many``)."""
    unmatched: Literal["drop", "reject"] = "drop"
    """What happens with ``how: inner`` to a record without a match: it is dropped, or rejected (``join.unmatched``)."""
    max_records: int = Field(default=1_000_000, ge=1)
    """Records that the right side may have; more fail the run before anything is loaded."""

    nested: ClassVar[tuple[str, ...]] = ("with",)
    has_frame: ClassVar[bool] = True
    changes_count: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Names of countries",
            "with: {type: file, path: countries.csv}\non: country",
            given=[{"id": 1, "country": "DE"}, {"id": 2, "country": "XX"}, {"id": 3, "country": None}],
            expect=[
                {"id": 1, "country": "DE", "name": "Germany", "region": "EU"},
                {"id": 2, "country": "XX", "name": None, "region": None},
                {"id": 3, "country": None, "name": None, "region": None},
            ],
            files={"countries.csv": "country,name,region\nDE,Germany,EU\nFR,France,EU\n"},
        ),
        Example(
            "Only known customers, and one field of theirs",
            "with: {type: file, path: customers.csv}\non: {customer: id}\nhow: inner\nselect: {name: customer_name}\n"
            "unmatched: reject\non_many: first",
            given=[{"order": 1, "customer": "7"}, {"order": 2, "customer": "8"}],
            expect=[{"order": 1, "customer": "7", "customer_name": "Ada"}],
            rejected=("join.unmatched",),
            files={"customers.csv": "id,name\n7,Ada\n7,Bob\n"},
        ),
        Example(
            "Everything of both sides",
            "with: {type: file, path: stock.csv}\non: [sku]\nhow: outer\nsuffix: _right",
            given=[{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
            expect=[
                {"sku": "a", "n": 1, "n_right": "5"},
                {"sku": "b", "n": 2, "n_right": None},
                {"sku": "c", "n": None, "n_right": "7"},
            ],
            files={"stock.csv": "sku,n\na,5\nc,7\n"},
        ),
    )

    _table: JoinTable | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Join:
        if self.unmatched == "reject" and self.how != "inner":
            raise PydanticCustomError("bad_option", "unmatched: reject goes with how: inner")
        targets = [self._renamed(old) if new is None else new for old, new in (self.select or {}).items()]
        twice = next((name for name in targets if targets.count(name) > 1), None)
        if twice is not None:
            raise PydanticCustomError("bad_option", "select gives two fields the name {name}", {"name": twice})
        return self

    @property
    def _appends(self) -> bool:
        return self.how in {"right", "outer"}

    @property
    def scope(self) -> Scope:
        """Everything at once when the right side's unmatched records come at the end."""
        return Scope.batch if self._appends else Scope.record

    def frame_reason(self) -> str | None:
        """Only left and inner joins have a frame form."""
        return f"join with how: {self.how} works on rows" if self._appends else None

    def code(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the files of the right side that are there: changing one changes the contract."""
        try:
            return tuple(path for path in self.places(base_dir) if path.is_file())
        except FatalError:  # it is for the run to say that there is nothing to read
            return ()

    def file_problems(self, base_dir: Path) -> list[FieldProblem]:
        """Return what the right side reads and is not there."""
        try:
            self.places(base_dir)
        except FatalError as error:
            return [FieldProblem("unusable-file", f"the right side of the join: {error.message}", ("with", "path"))]
        return []

    def fresh(self) -> Join:
        """Return the operation without the table it has read."""
        return self.remade(_table=None)

    def _renamed(self, name: str) -> str:
        return f"{self.prefix}{name}{self.suffix}"

    def _taken(self) -> dict[str, str] | None:
        if self.select is None:
            return None
        return {old: self._renamed(old) if new is None else new for old, new in self.select.items()}

    async def prepare(self, ctx: StepContext) -> None:
        """Read the right side."""
        if self._appends and not ctx.whole:
            raise FatalError(
                f"join with how: {self.how} must see every record, and the run goes batch by batch",
                help="set processing_mode: full in extract.yaml, or use how: left or inner",
            )
        (source,) = self.sources("with")
        chunks = await self._read(source, ctx)
        self._table = await ctx.run_cpu(JoinTable, chunks, list(self.on.values()), self._taken(), self._renamed)

    async def _read(self, source: Extractor, ctx: StepContext) -> list[Batch]:
        chunks: list[Batch] = []
        count = 0
        async with aclosing(source.read(ctx.shared_with(ReadContext, step=ctx.step))) as batches:  # type: ignore[type-var]
            async for chunk in batches:
                if chunk.is_position:
                    continue
                if chunk.rejected:
                    bad = chunk.rejected[0]
                    raise FatalError(
                        f"the right side of the join has a record that cannot be read"
                        f"{f' ({bad.location})' if bad.location else ''}: {bad.message}",
                        help="correct it at the source: a join with half of a table would be wrong without saying so",
                    )
                count += len(chunk)
                if count > self.max_records:
                    raise FatalError(
                        f"the right side of the join has more than {self.max_records:,} records, and all are held in "
                        "memory",
                        help="take fewer fields and records, raise max_records, or swap the two sides",
                    )
                if len(chunk):
                    chunks.append(chunk)
        return chunks

    def table(self) -> JoinTable:
        """Return the right side.

        Raises:
            FatalError: It was not read.
        """
        if self._table is None:
            raise FatalError("the right side of the join was not read: the step was not prepared")
        return self._table

    # --- rows

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Look every record up in the right side."""
        table, left = self.table(), list(self.on)
        index, nothing = table.index, dict.fromkeys(table.taken.values())
        last = rows.indexes[-1] if rows.indexes else 0
        used: set[int] = set()
        for position, record in enumerate(rows.records):
            both = nothing.keys() & record.keys()
            if both:
                raise _collision(min(both))
            found = row_key(record, left)
            places = index.get(found, ()) if found is not None else ()
            if places:
                used.update(places if self.how in {"right", "outer"} else ())
                self._matched(rows, position, [table.payload(place) for place in places])
            elif self.how in {"left", "outer"}:
                record.update(nothing)
            elif self.unmatched == "drop":
                rows.drop(position)
            else:
                rows.reject(position, "join.unmatched", f"the right side has no record for {self._shown(record)}")
        if self._appends:
            self._append(rows, used, last)

    def _matched(self, rows: RowSlice, position: int, found: list[dict[str, Any]]) -> None:
        record = rows.records[position]
        if len(found) == 1 or self.on_many == "first":
            record.update(found[0])
        elif self.on_many == "multiply":
            rows.replace(position, [{**record, **each} for each in found])
        else:
            text = f"the right side has {len(found)} records for {self._shown(record)}"
            rows.reject(position, "join.many", text)

    def _shown(self, record: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {shown(record.get(name))}" for name in self.on)

    def _append(self, rows: RowSlice, used: set[int], last: int) -> None:
        """Put the records of the right side that nothing matched at the end."""
        table = self.table()
        rows.settle()
        names = list(dict.fromkeys(name for record in rows.records for name in record))
        named = set(self.select or ())
        for place in range(len(table)):
            if place in used:
                continue
            record: dict[str, Any] = dict.fromkeys(names)
            for (left, right), value in zip(self.on.items(), table.key_values(place), strict=True):
                # A key that ``select`` names stands under its own name; else the left side's field tells it.
                record[left] = None if right in named else value
            rows.records.append({**record, **table.payload(place)})
            rows.indexes.append(last)
            rows.added.append(last)

    # --- frame

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Join the plan with the right side; keys of unlike types need the rows form."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        right = self.table().framed(self.on_many)
        if right is None:
            raise FrameUnsupported("the right side of the join has no frame form")
        fields = [name for name in right.columns if not name.startswith(KEY) and name not in {MATCHED, MANY}]
        if set(fields) & plan.schema.keys():
            raise FrameUnsupported("join: both sides have a field of one name")  # the rows form says which
        keys = [_key(plan, name, right, f"{KEY}{number}") for number, name in enumerate(self.on)]
        mine, theirs = [left for left, _ in keys], [name for _, name in keys]
        joined = plan.lazy.join(
            right.lazy() if right.height < _LARGE else _wanted(plan, mine, right, theirs),
            left_on=mine,
            right_on=[pl.col(name) for name in theirs],
            how="left",
            coalesce=True,
            maintain_order="left_right",
        )
        before = dict(plan.schema)
        schema = {**before, **{name: right.schema[name] for name in fields}, MATCHED: pl.Boolean(), MANY: pl.Boolean()}
        plan.explode("join", schema, joined)
        matched = pl.col(MATCHED).is_not_null()
        if self.on_many == "reject":
            plan.suspect(pl.col(MANY))
        if self.how == "inner":
            if self.unmatched == "drop":
                plan.filter(matched)
            else:
                plan.suspect(~matched)
        plan.select({name: (pl.col(name), schema[name]) for name in (*before, *fields)})

    # --- validate

    def effect(self, known: FieldSet) -> FieldSet:
        """The right side's fields come along; the key must exist, on both sides as far as that is known."""
        for name in self.on:
            known = known.require(name, ("on", name))
        right = self._right_fields()
        taken = self._taken()
        if right is not None:
            there = FieldSet(right, closed=True)
            for left, name in self.on.items():
                there = there.require(name, ("on", left))
            for name in self.select or ():
                there = there.require(name, ("select", name))
            for problem in there.problems:
                known = known.problem(problem)
            if taken is None:
                taken = {name: self._renamed(name) for name in right if name not in self.on.values()}
        if taken is None:
            return FieldSet(known.types, closed=False, problems=known.problems)
        for new in taken.values():
            if new in known.types:
                text = f"both sides of the join have a field {new!r}: use prefix, suffix, or another name in select"
                known = known.problem(FieldProblem("collision", text, ("select", new), (), new))
        types = right or {}
        return known.with_types({new: types.get(old, "any") for old, new in taken.items()})

    def _right_fields(self) -> Mapping[str, str] | None:
        """Return the fields of the right side when a glance at it tells them."""
        for source in self.sources("with"):
            try:
                return source.fields(self._contract_dir or ".")
            except (FatalError, OSError, ValueError):
                return None
        return None


def _wanted(plan: FramePlan, mine: list[pl.Expr], right: pl.DataFrame, theirs: list[str]) -> pl.LazyFrame:
    """Return the rows of a large right side that a chunk has keys of.

    A join makes a table of all of its right side, chunk after chunk; to find the wanted rows first takes one of the
    chunk's keys only.
    """
    made = plan.lazy.collect()  # else what comes before would be done twice
    plan.lazy = made.lazy()
    return right.lazy().join(made.lazy(), left_on=theirs, right_on=mine, how="semi", maintain_order="left")


def _key(plan: FramePlan, left: str, right: pl.DataFrame, name: str) -> tuple[pl.Expr, str]:
    """Return the key of the left side to compare with a column of the right one."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

    mine, theirs = plan.schema.get(left, pl.Null()), right.schema[name]
    if mine == theirs and (mine.is_integer() or mine in {pl.String, pl.Date, pl.Boolean}):
        return pl.col(left), name
    raise FrameUnsupported(f"join compares {left!r}, a column of type {mine}, with one of type {theirs}")


def _collision(name: str) -> FatalError:
    return FatalError(
        f"both sides of the join have a field {name!r}",
        help=f"use prefix or suffix, or choose and name the right side's fields: select: {{{name}: other_name}}",
    )
