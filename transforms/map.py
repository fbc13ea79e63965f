"""Operation ``map``: put other values in the place of the ones a table knows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from etlctl.kit.keys import key
from etlctl.sdk import Example, FatalError, FieldProblem, FieldSet, Operation, RowSlice, StepContext
from etlctl.types import Unparsable, converter, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from etlctl.sdk.frames import FramePlan

_INT64 = 2**63
_GLANCE = 1 << 20
_KeyType = Literal["string", "integer", "float", "decimal", "boolean", "date", "datetime", "time"]
_Action = Literal["reject", "keep", "null", "fail"]


def _null_word(value: Any) -> Any:
    return "null" if value is None else value


class MapField(BaseModel):
    """How one field is looked up."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    values: dict[str, Any] | None = None
    """The table: new value by old one. Keys are text, as written, unless ``key_type`` says otherwise."""
    file: str | None = Field(default=None, min_length=1)
    """File with the table instead: CSV with a header, or JSON; a relative path starts at the contract's folder."""
    key_column: str | None = None
    """Column of the file with the old values; the first of two when left out."""
    value_column: str | None = None
    """Column of the file with the new values; the second of two when left out."""
    key_type: _KeyType = "string"
    """Type of the keys: with ``integer``, the key ``1`` stands for the number 1 and not for the text "1"."""
    to: str | None = Field(default=None, min_length=1)
    """Field that gets the new value; the field itself when left out."""
    default: Any = None
    """New value of what the table does not know."""
    on_missing: Annotated[_Action, BeforeValidator(_null_word, json_schema_input_type=_Action | None)] = "reject"
    """What happens, without a default, to a value that the table does not know: the record is rejected, the value is
    kept or becomes null, or the run fails."""

    @model_validator(mode="after")
    def _consistent(self) -> MapField:
        if (self.values is None) == (self.file is None):
            raise PydanticCustomError("bad_option", "give either values or file")
        if self.file is None and (self.key_column is not None or self.value_column is not None):
            raise PydanticCustomError("bad_option", "key_column and value_column are for a table from a file")
        if self.has_default and "on_missing" in self.model_fields_set:
            raise PydanticCustomError("bad_option", "with a default nothing is missing: leave out on_missing")
        for name in self.values or ():
            self.key(name, f"key {name!r}")
        return self

    @property
    def has_default(self) -> bool:
        """Tell whether there is a value for what the table does not know."""
        return "default" in self.model_fields_set

    def key(self, value: Any, place: str) -> Any:
        """Return a key of the table in its type."""
        if self.key_type == "string":
            return value
        try:
            return converter(self.key_type)(value)
        except Unparsable as error:
            text = "{place}: {value} {problem}"
            context = {"place": place, "value": shown(value), "problem": str(error)}
            raise PydanticCustomError("bad_key", text, context) from error


def _long_form(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class Map(Operation):
    """Looks values up in a table: codes become names.

    Keys are compared by kind: the text "1" is not the number 1, true is not 1; 1 and 1.0 are the same number. Null
    and missing stay as they are (see ``defaults``). A value that the table does not know gets the ``default``; without
    one the record is rejected (``map.unknown``) unless ``on_missing`` says otherwise. All fields are looked up at once,
    in the record as it was before the step. Editing the file of a table counts as editing the contract.
    """

    fields: dict[str, Annotated[MapField, BeforeValidator(_long_form, json_schema_input_type=str | MapField)]]
    """Table by field; a text is short for the file of the table."""

    has_frame: ClassVar[bool] = True
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Names for codes, and a default",
            "{country: {values: {DE: Germany}, to: country_name}, status: {values: {a: active}, default: other}}",
            given=[{"country": "DE", "status": "a"}, {"country": None, "status": "x"}, {"country": "XX"}],
            expect=[
                {"country": "DE", "status": "active", "country_name": "Germany"},
                {"country": None, "status": "other", "country_name": None},
            ],
            rejected=("map.unknown",),
        ),
        Example(
            "Numbers as keys; what is not known stays",
            "{level: {values: {1: low, 2: high}, key_type: integer, on_missing: keep}}",
            given=[{"level": 1}, {"level": "1"}, {"level": 3}],
            expect=[{"level": "low"}, {"level": "1"}, {"level": 3}],
        ),
        Example(
            "A table from a file beside the contract",
            "{country: countries.csv}",
            given=[{"country": "DE"}],
            expect=[{"country": "Germany"}],
            files={"countries.csv": "code,name\nDE,Germany\n"},
        ),
    )

    _tables: dict[str, Mapping[Any, Any]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _distinct(self) -> Map:
        seen: dict[str, str] = {}
        for name, options in self.fields.items():
            target = options.to or name
            if target in seen:
                text = "{field} and {other} would both set the field {target}"
                raise PydanticCustomError("bad_target", text, {"field": name, "other": seen[target], "target": target})
            seen[target] = name
        return self

    def fresh(self) -> Map:
        """Return the operation without the tables it has read."""
        return self.remade(_tables={})

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the files of the tables."""
        names = [options.file or "" for _, options in self._from_files()]
        return tuple((base_dir / Path(name).expanduser()).resolve() for name in names)

    def code(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the files of the tables that are there: editing one edits the contract."""
        return tuple(path for path in self.places(base_dir) if path.is_file())

    def file_problems(self, base_dir: Path) -> list[FieldProblem]:
        """Return the tables that are not there, or, of small ones, that cannot be used."""
        found: list[FieldProblem] = []
        for (name, options), path in zip(self._from_files(), self.places(base_dir), strict=True):
            try:
                if not path.exists() or (path.is_file() and path.stat().st_size <= _GLANCE):
                    _table(name, options, StepContext(base_dir=base_dir))
            except (FatalError, OSError) as error:
                found.append(FieldProblem("unusable-file", str(error), ("fields", name), (), options.file))
        return found

    def _from_files(self) -> list[tuple[str, MapField]]:
        return [(name, options) for name, options in self.fields.items() if options.file is not None]

    async def prepare(self, ctx: StepContext) -> None:
        """Read the tables."""
        for name in self.fields:
            await ctx.run_cpu(self._table, name, ctx)

    def _table(self, name: str, ctx: StepContext) -> Mapping[Any, Any]:
        """Return the table of a field: new value by key."""
        if name not in self._tables:
            self._tables[name] = _table(name, self.fields[name], ctx)
        return self._tables[name]

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Look the fields of every record up, up to the first value that rejects it."""
        plan = [(name, options, self._table(name, ctx), options.to or name) for name, options in self.fields.items()]
        for position, record in enumerate(rows.records):
            made: list[tuple[str, Any]] = []
            for name, options, table, target in plan:
                value = record.get(name)
                if value is None:
                    if options.to is not None:
                        made.append((target, None))
                    continue
                known = value if type(value) is str else key(value)
                if known in table:
                    found = table[known]
                    made.append((target, copy.deepcopy(found) if isinstance(found, dict | list) else found))
                elif not self._missing(rows, position, name, value, made):
                    break
            else:
                record.update(made)

    def _missing(self, rows: RowSlice, position: int, name: str, value: Any, made: list[tuple[str, Any]]) -> bool:
        """Do what is to be done with a value that the table does not know; False when the record is rejected."""
        options = self.fields[name]
        target = options.to or name
        if options.has_default:
            made.append((target, copy.deepcopy(options.default)))
        elif options.on_missing == "keep":
            made.append((target, value))
        elif options.on_missing == "null":
            made.append((target, None))
        else:
            message = f"field {name!r}: the table does not know {shown(value)}"
            if options.on_missing == "fail":
                raise FatalError(f"{message}; on_missing is fail", help="add it, give a default, or choose reject")
            rows.reject(position, "map.unknown", message, field=name)
            return False
        return True

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:
        """Replace the values of columns; a column or table of another kind needs the rows form."""
        import polars as pl  # noqa: PLC0415

        columns: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        doubts: list[pl.Expr] = []
        for name, options in self.fields.items():
            target, dtype = options.to or name, plan.schema.get(name, pl.Null())
            if dtype == pl.Null:
                if options.to is not None:
                    columns[target] = (pl.lit(None), pl.Null())
                continue
            mapped, made = _replaced(name, options, self._table(name, ctx), dtype)
            columns[target] = (mapped, made)
            if not options.has_default and options.on_missing in {"reject", "fail"}:
                doubts.append(mapped.is_null() & pl.col(name).is_not_null())
        plan.with_columns(columns, suspects=doubts)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields looked up must exist; the targets have the type of the table's values, if it is one."""
        types: dict[str, str] = {}
        for name, options in self.fields.items():
            known = known.require(name, ("fields", name))
            types[options.to or name] = _type_name(options)
        return known.with_types(types)


def _table(name: str, options: MapField, ctx: StepContext) -> Mapping[Any, Any]:
    if options.file is None:
        return {key(options.key(text, "key")): value for text, value in (options.values or {}).items()}
    from etlctl.kit.lookup_table import read_table  # noqa: PLC0415

    table: dict[Any, Any] = {}
    for text, value, place in read_table(ctx.path(options.file), options.key_column, options.value_column):
        if text is None:
            raise FatalError(f"the table of field {name!r} has no key in {place}")
        try:
            known = key(options.key(text, place))
        except PydanticCustomError as error:
            raise FatalError(f"the table of field {name!r} has a bad key: {error.message()}") from error
        if known in table and table[known] != value:
            raise FatalError(
                f"the table of field {name!r} has the key {shown(text)} with two values: "
                f"{shown(table[known])}, and in {place} {shown(value)}",
                help="remove one of them",
            )
        table[known] = value
    return table


def _replaced(
    name: str, options: MapField, table: Mapping[Any, Any], dtype: pl.DataType
) -> tuple[pl.Expr, pl.DataType]:
    """Return a column looked up; null where the table does not know the value, unless that has a value of its own."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

    if dtype not in {pl.String, pl.Int64}:
        raise FrameUnsupported(f"map looks up {name!r}, a column of type {dtype}")
    keys = [each for each in table if _in_column(each, text=dtype == pl.String)]
    keeps = not options.has_default and options.on_missing == "keep"
    made = [table[each] for each in keys]
    kinds = {type(value) for value in (*made, *([options.default] if options.has_default else []))} - {type(None)}
    result = _column_type(kinds, dtype if keeps else None)
    whole = not any(value is None for value in made)
    if result is None or not (whole or options.has_default or options.on_missing == "null"):
        raise FrameUnsupported(f"map puts values of several types into {options.to or name!r}")
    if any(type(value) is int and not -_INT64 <= value < _INT64 for value in (*made, options.default)):
        raise FrameUnsupported(f"map puts very large integers into {options.to or name!r}")
    otherwise = pl.lit(options.default, dtype=result) if options.has_default else None
    column = pl.col(name)
    if not keys:
        filled = column if keeps else pl.lit(otherwise, dtype=result) if otherwise is None else otherwise
        return pl.when(column.is_not_null()).then(filled).otherwise(pl.lit(None, dtype=result)), result
    old, new = pl.Series(keys, dtype=dtype), pl.Series(made, dtype=result)
    if keeps:
        return column.replace(old, new), result
    mapped = column.replace_strict(old, new, default=otherwise, return_dtype=result)
    if options.has_default:  # null is not looked up
        mapped = pl.when(column.is_not_null()).then(mapped)
    return mapped, result


def _in_column(value: Any, *, text: bool) -> bool:
    """Tell whether a key can be in a column of text, or in one of 64-bit integers."""
    return type(value) is str if text else type(value) is int and -_INT64 <= value < _INT64


def _column_type(kinds: set[type], kept: pl.DataType | None) -> pl.DataType | None:
    """Return the column type of values of these kinds beside those kept; None when there is none."""
    import polars as pl  # noqa: PLC0415

    types: dict[type, pl.DataType] = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}
    if len(kinds) > 1 or not kinds <= types.keys():
        return None
    made = types[next(iter(kinds))] if kinds else kept
    return made if kept is None or made == kept else None


def _type_name(options: MapField) -> str:
    if options.file is not None or (not options.has_default and options.on_missing == "keep"):
        return "any"
    names = {bool: "boolean", int: "integer", float: "float", str: "string", dict: "object", list: "array"}
    values = [*(options.values or {}).values(), *([options.default] if options.has_default else [])]
    kinds = {type(value) for value in values if value is not None}
    return names.get(kinds.pop(), "any") if len(kinds) == 1 else "any"
