"""Operation ``convert``: give fields a type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from etlctl.kit.bulk_convert import bulk_converter
from etlctl.sdk import Example, FatalError, FieldSet, Operation, Record, RowSlice, StepContext
from etlctl.types import (
    NAMES,
    NUMBERS,
    TEMPORAL,
    TypeOptions,
    Unparsable,
    canonical,
    converter,
    layout_problem,
    refusal,
)

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

_SAMPLE = 256


def _known_type(name: str) -> str:
    found = canonical(name)
    if found is None:
        raise PydanticCustomError(
            "unknown_type",
            "unknown type {given}; there are {names}",
            {"given": repr(name), "names": ", ".join(dict.fromkeys(NAMES.values())), "candidates": list(NAMES)},
        )
    return found


def _any_case(name: str) -> str:
    return "".join(f"[{char.upper()}{char}]" for char in name)


_TypeName = Annotated[
    str,
    AfterValidator(_known_type),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(NAMES)},
                {"type": "string", "pattern": rf"^\s*({'|'.join(_any_case(name) for name in NAMES)})\s*$"},
            ]
        }
    ),
]


def _null_word(value: Any) -> Any:
    return "null" if value is None else value


class ConvertField(BaseModel):
    """How one field is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    type: _TypeName
    """Type to convert to, such as ``integer``."""
    on_error: Annotated[
        Literal["reject", "keep", "null", "fail"],
        BeforeValidator(_null_word, json_schema_input_type=Literal["reject", "keep", "null", "fail"] | None),
    ] = "reject"
    """What happens to a value that cannot be converted: the record is rejected, the value is kept or becomes null,
    or the run fails."""
    format: str | None = None
    """Layout of date and time text in the letters of ``strptime``, such as ``%d-%b-%y``."""
    thousands: str | None = Field(default=None, min_length=1, max_length=1)
    """Character between groups of three digits."""
    decimal_separator: str | None = Field(default=None, min_length=1, max_length=1)
    """Character before the fraction of a number."""
    null_values: tuple[str, ...] = Field(default=(), strict=False)
    """Texts that mean null, such as ``NA``."""

    @model_validator(mode="after")
    def _consistent(self) -> ConvertField:
        if self.format is not None and self.type not in TEMPORAL:
            raise PydanticCustomError("bad_option", "format is for date, datetime and time only")
        if self.format is not None and (problem := layout_problem(self.format)):
            raise PydanticCustomError("bad_format", "format cannot be read: {problem}", {"problem": problem})
        if (self.thousands or self.decimal_separator) and self.type not in NUMBERS:
            raise PydanticCustomError("bad_option", "thousands and decimal_separator are for numbers only")
        if self.thousands is not None and self.thousands == (self.decimal_separator or "."):
            raise PydanticCustomError("bad_option", "thousands and decimal_separator must differ")
        return self

    @property
    def options(self) -> TypeOptions:
        """How text is read."""
        return TypeOptions(self.format, self.thousands, self.decimal_separator, frozenset(self.null_values))


def _long_form(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Convert(Operation):
    """Gives fields a type: text becomes numbers, booleans, dates; exactly, or the record is rejected.

    Text is trimmed. Missing and null stay as they are. A value that cannot be converted rejects the record
    (``convert.<type>``) unless ``on_error`` says otherwise.
    """

    fields: dict[
        str, Annotated[ConvertField, BeforeValidator(_long_form, json_schema_input_type=_TypeName | ConvertField)]
    ]
    """Type by field, or options by field."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 2
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Numbers from text",
            "{price: float, quantity: integer}",
            given=[{"price": " 9.50 ", "quantity": "3"}, {"price": "1", "quantity": "5.9"}],
            expect=[{"price": 9.5, "quantity": 3}],
            rejected=("convert.integer",),
        ),
        Example(
            "Options of one field",
            "{amount: {type: decimal, thousands: '.', decimal_separator: ',', null_values: [NA], on_error: 'null'}}",
            given=[{"amount": "NA"}, {"amount": "about 5"}],
            expect=[{"amount": None}, {"amount": None}],
        ),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Convert the fields of every record, up to the first that rejects it."""
        plan = [
            (name, converter(options.type, options.options))
            for name, options in self.fields.items()
            if not _converted_at_once(rows.records, name, options)
        ]
        if not plan:
            return
        for position, record in enumerate(rows.records):
            for name, convert in plan:
                value = record.get(name)
                if value is None:
                    continue
                try:
                    record[name] = convert(value)
                except Unparsable as error:
                    if self._refuse(rows, position, name, error):
                        break

    def _refuse(self, rows: RowSlice, position: int, name: str, error: Unparsable) -> bool:
        """Do what ``on_error`` says; True when the record is rejected."""
        options = self.fields[name]
        record = rows.records[position]
        if options.on_error == "keep":
            return False
        if options.on_error == "null":
            record[name] = None
            return False
        refused = refusal(record[name], options.type, name, error)
        if options.on_error == "fail":
            raise FatalError(
                f"{refused.message}; on_error is fail", help="correct the source, or choose reject, keep or null"
            )
        rows.reject_error(position, refused)
        return True

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Convert columns; rows whose value Polars cannot decide are doubtful."""
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.frame_convert import convert_column  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        present = [name for name in self.fields if name in plan.schema]
        samples = self._samples(plan, present)
        columns: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        doubts: list[pl.Expr] = []
        for name in present:
            options = self.fields[name]
            made = convert_column(pl.col(name), plan.schema[name], options.type, options.options, samples.get(name, ()))
            if made is None:
                raise FrameUnsupported(f"convert {name!r}, a column of type {plan.schema[name]}, to {options.type}")
            columns[name] = (made.expr, made.dtype)
            doubts.extend(made.doubts)
        plan.with_columns(columns, suspects=doubts)

    def _samples(self, plan: FramePlan, present: list[str]) -> dict[str, list[str]]:
        import polars as pl  # noqa: PLC0415

        texts = [
            name
            for name in present
            if plan.schema[name] == pl.String and self.fields[name].type not in {"string", "boolean"}
        ]
        if not texts:
            return {}
        head = plan.lazy.select(texts).head(_SAMPLE).collect()
        nulls = {name: set(self.fields[name].null_values) for name in texts}
        return {name: [text for text in head[name].drop_nulls().to_list() if text not in nulls[name]] for name in texts}

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields have the types named."""
        for name in self.fields:
            known = known.require(name, ("fields", name))
        types = {name: "any" if options.on_error == "keep" else options.type for name, options in self.fields.items()}
        return known.with_types({name: kind for name, kind in types.items() if known.has(name)})


def _converted_at_once(records: list[Record], name: str, options: ConvertField) -> bool:
    """Convert a field of all records when every value is plain text of its type; False when that cannot be said."""
    convert = bulk_converter(options.type, options.options)
    if convert is None:
        return False
    values = [record.get(name) for record in records]
    holders = records
    if None in values:
        holders = [record for record, value in zip(records, values, strict=True) if value is not None]
        values = [value for value in values if value is not None]
    made = convert(values)
    if made is None:
        return False
    if made is values:
        return True
    for record, value in zip(holders, made, strict=True):
        record[name] = value
    return True
