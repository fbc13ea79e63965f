"""Operation ``mask``: make personal data unreadable before anything else sees it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from etlctl.batch import Record
from etlctl.errors import RecordRejected
from etlctl.sdk import Example, FieldSet, RowSlice, StepContext
from etlctl.sdk.concealing import CONCEALED, Concealing
from etlctl.types import Unparsable, to_text

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

_SHORTEST_KEY = 16
_TOKEN_BYTES = 15
_INT64 = 2**63
_BLOCK = 64
_KEYED = frozenset({"hash", "tokenise"})
_KEY_HELP = 'write {{method: {method}, key: "${{secret:MASK_KEY}}"}}'
_Method = Literal["hash", "redact", "partial", "tokenise"]


class MaskField(BaseModel):
    """How one field is masked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True, hide_input_in_errors=True)

    method: _Method
    """``hash``: 64 hexadecimal digits (HMAC-SHA256); ``tokenise``: a short token; ``redact``: one text for all values;
    ``partial``: all characters but the first or last few."""
    key: str | None = Field(default=None, repr=False)
    """Secret of ``hash`` and ``tokenise``, such as ``"${secret:MASK_KEY}"``: at least 16 characters. With the same key
    the same value always becomes the same, so that masked data can be joined."""
    unkeyed: bool = False
    """Hash without a key, on purpose: whoever has a list of possible values (names, addresses, numbers) can then find
    out which one it was."""
    replacement: str | int | float | bool | None = "***"
    """What ``redact`` puts in the place of every value."""
    keep_first: int = Field(default=0, ge=0)
    """Characters at the beginning that ``partial`` leaves."""
    keep_last: int = Field(default=0, ge=0)
    """Characters at the end that ``partial`` leaves; a value that is not longer is masked as a whole."""
    symbol: str = Field(default="*", min_length=1, max_length=1)
    """Character that ``partial`` puts in the place of the others."""
    prefix: str = "tok_"
    """Begins every token of ``tokenise``."""

    @model_validator(mode="after")
    def _consistent(self) -> MaskField:
        method, given = self.method, self.model_fields_set
        if method in _KEYED and self.key is None and not self.unkeyed:
            raise PydanticCustomError(
                "bad_option",
                "{method} needs a key: without one, anybody can find out what was masked by trying possible values",
                {"method": method, "help": _KEY_HELP.format(method=method)},
            )
        if self.key is not None and self.unkeyed:
            raise PydanticCustomError("bad_option", "give either key or unkeyed")
        if self.key is not None and len(self.key) < _SHORTEST_KEY:
            text = "the key is too short to be safe: it needs {least} characters"
            raise PydanticCustomError("bad_option", text, {"least": _SHORTEST_KEY})
        wrong = sorted(given & _FOREIGN[method])
        if wrong:
            raise PydanticCustomError(
                "bad_option", "{option} does not go with {method}", {"option": wrong[0], "method": method}
            )
        return self

    def masker(self) -> Callable[[Any], Any]:
        """Return the function that masks a value which is not null; it may raise ``Unparsable``."""
        if self.method == "redact":
            return lambda _: self.replacement
        if self.method == "partial":
            return self._partial
        digest = _digester((self.key or "").encode("utf-8", "surrogatepass"))
        if self.method == "hash":
            return lambda value: digest(_bytes(value)).hex()
        return lambda value: self.prefix + _token(digest(b"token\x00" + _bytes(value)))

    def _partial(self, value: Any) -> str:
        text = to_text(value)
        hidden = len(text) - self.keep_first - self.keep_last
        if hidden <= 0:
            return self.symbol * len(text)
        return f"{text[: self.keep_first]}{self.symbol * hidden}{text[len(text) - self.keep_last :]}"


_FOREIGN: dict[str, frozenset[str]] = {
    "hash": frozenset({"replacement", "keep_first", "keep_last", "symbol", "prefix"}),
    "tokenise": frozenset({"replacement", "keep_first", "keep_last", "symbol"}),
    "redact": frozenset({"key", "unkeyed", "keep_first", "keep_last", "symbol", "prefix"}),
    "partial": frozenset({"key", "unkeyed", "replacement", "prefix"}),
}


def _bytes(value: Any) -> bytes:
    return to_text(value).encode("utf-8", "surrogatepass")


def _digester(key: bytes) -> Callable[[bytes], bytes]:
    """Return the HMAC-SHA256 of a key (RFC 2104), or SHA-256 without one; twice as quick as ``hmac.digest``."""
    sha256 = hashlib.sha256
    if not key:
        return lambda message: sha256(message).digest()
    block = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\x00")
    inner, outer = bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
    return lambda message: sha256(outer + sha256(inner + message).digest()).digest()


def _token(digest: bytes) -> str:
    return base64.b32encode(digest[:_TOKEN_BYTES]).decode("ascii").lower()


def _long_form(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


class Mask(Concealing):
    """Makes personal data unreadable: hashed, tokenised, partly hidden or redacted.

    Let it be the first step: then neither later steps nor dead letters, reports and messages hold the plain values, and
    dead letters are replayed as they are masked. Of a record that cannot even be read only the place is kept, not the
    text. Behind other steps, which may have renamed or copied values, nothing is kept of a rejected record.

    ``hash`` and ``tokenise`` take a key and give the same for the same value, whatever field it is in: the value's text
    as ``convert: string`` would write it, untrimmed. Null and missing stay. ``a.b`` is the field ``b`` in the object
    ``a``, or in each object of a list, and a field ``a.b``; a value on the way that is no object rejects the record
    (``mask.not_an_object``) and one without a text form too (``mask.text``).
    """

    fields: dict[str, Annotated[MaskField, BeforeValidator(_long_form, json_schema_input_type=_Method | MaskField)]] = (
        Field(min_length=1)
    )
    """Method by field, or options by field."""

    variables: ClassVar[tuple[str, ...]] = ("key",)
    has_frame: ClassVar[bool] = True
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Redacted, and the last digits only",
            "{name: redact, phone: {method: partial, keep_last: 4}, contact.city: {method: redact, replacement: null}}",
            given=[
                {"name": "Ada", "phone": "+44 20 7946 0958", "contact": {"city": "London", "zip": "SW1"}},
                {"name": None, "phone": "0958"},
                {"name": "Bob", "contact": "London"},
            ],
            expect=[
                {"name": "***", "phone": "************0958", "contact": {"city": None, "zip": "SW1"}},
                {"name": None, "phone": "****"},
            ],
            rejected=("mask.not_an_object",),
        ),
        Example(
            "The same value, the same hash and the same token",
            '{email: {method: hash, key: "a secret of your own"}, id: {method: tokenise, key: "a secret of your own"}}',
            given=[{"email": "ada@example.com", "id": 7}],
            expect=[
                {
                    "email": "872c75e1f447f0e9de631b108926751c625bf058556e7302d9e3ce1955af8caa",
                    "id": "tok_qn6lqnjlmhvfbtn35etzzsjw",
                }
            ],
        ),
    )

    _done: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def concealed(self) -> tuple[str, ...]:
        """The fields that are masked."""
        return tuple(self.fields)

    @property
    def guessable(self) -> tuple[str, ...]:
        """The fields that are hashed without a key."""
        return tuple(name for name, options in self.fields.items() if options.unkeyed)

    def after(self, fields: Iterable[str]) -> Mask:
        """Return the operation for records in which these fields are masked already."""
        return self.remade(_done=frozenset(fields))

    def _maskers(self) -> list[tuple[str, Callable[[Any], Any]]]:
        """Return what to mask, nested fields first: the object around them may be masked as well."""
        todo = [(name, options.masker()) for name, options in self.fields.items() if name not in self._done]
        return sorted(todo, key=lambda item: -item[0].count("."))

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Mask the fields of every record."""
        maskers = self._maskers()
        for position, record in enumerate(rows.records):
            try:
                for name, mask in maskers:
                    _mask(record, name, mask)
            except RecordRejected as error:
                rows.reject_error(position, error)

    def conceal(self, record: Record) -> Record:
        """Return a masked copy of a source record; a value that cannot be masked is left out as a whole."""
        made = dict(record)
        for name, mask in self._maskers():
            try:
                _mask(made, name, mask)
            except RecordRejected:
                made.update(dict.fromkeys({name, name.partition(".")[0]} & made.keys(), CONCEALED))
        return made

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Mask columns; nested ones need the rows form."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        columns: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        for name, options in self.fields.items():
            if name in self._done:
                continue
            if "." in name and plan.schema.get(name.partition(".")[0], pl.Null()) != pl.Null:
                raise FrameUnsupported(f"mask looks into {name.partition('.')[0]!r}")
            dtype = plan.schema.get(name, pl.Null())
            if dtype == pl.Null:
                continue
            if not (dtype.is_integer() or dtype.base_type() in {pl.String, pl.Boolean, pl.Date, pl.Float64}):
                raise FrameUnsupported(f"mask hides {name!r}, a column of type {dtype}")
            columns[name] = _column(name, options)
        plan.with_columns(columns)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields must exist, and hold text; a redacted one has the type of its replacement."""
        types: dict[str, str] = {}
        for name, options in self.fields.items():
            if not known.has(name):
                known = known.require(name.partition(".")[0], ("fields", name))
            if known.has(name) and (name in known.types or "." not in name):
                types[name] = _type_name(options)
        return known.with_types(types)


def _masked(name: str, mask: Callable[[Any], Any], value: Any) -> Any:
    try:
        return mask(value)
    except Unparsable as error:
        raise RecordRejected("mask.text", f"field {name!r}: the value {error}", field=name) from None


def _mask(record: Record, name: str, mask: Callable[[Any], Any]) -> None:
    """Mask the field of a name, and of a dotted one also the field along its dots."""
    value = record.get(name)
    if value is not None:
        record[name] = _masked(name, mask, value)
    first, *rest = name.split(".")
    if rest and record.get(first) is not None:
        record[first] = _inside(record[first], rest, name, mask)


def _inside(value: Any, keys: list[str], name: str, mask: Callable[[Any], Any]) -> Any:
    """Return a copy of a nested value with the end of a path masked."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [_inside(item, keys, name, mask) for item in value]
    if not isinstance(value, dict):
        text = f"field {name!r}: on the way to it there is a value that is no object, and it may be the one to mask"
        raise RecordRejected("mask.not_an_object", text, field=name)
    key, *rest = keys
    if value.get(key) is None:
        return value
    return {**value, key: _inside(value[key], rest, name, mask) if rest else _masked(name, mask, value[key])}


def _column(name: str, options: MaskField) -> tuple[pl.Expr, pl.DataType]:
    """Return the masked column."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

    column = pl.col(name)
    if options.method == "redact":
        if type(options.replacement) is int and not -_INT64 <= options.replacement < _INT64:
            raise FrameUnsupported("mask puts a very large integer into a column")
        kinds: dict[type, pl.DataType] = {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64(), str: pl.String()}
        value = options.replacement
        if value is None:
            return pl.lit(None), pl.Null()
        dtype = kinds[type(value)]
        return pl.when(column.is_not_null()).then(pl.lit(value, dtype=dtype)), dtype
    mask = options.masker()

    def masked(values: pl.Series) -> pl.Series:
        texts = [None if value is None else mask(value) for value in values.to_list()]
        return pl.Series(values.name, texts, dtype=pl.String)

    return column.map_batches(masked, return_dtype=pl.String), pl.String()


def _type_name(options: MaskField) -> str:
    if options.method != "redact":
        return "string"
    names = {bool: "boolean", int: "integer", float: "float", str: "string"}
    return names.get(type(options.replacement), "any")
