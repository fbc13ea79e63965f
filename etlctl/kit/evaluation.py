"""Expressions of the ``add`` operation as fast functions of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from uuid import uuid4

from etlctl.batch import Record
from etlctl.errors import FatalError, RecordRejected
from etlctl.expression import Call, Constant, Expression, Name, Reference, Template, described
from etlctl.frozen import frozen
from etlctl.types import PLAIN, SPACE, TypeOptions, Unparsable, converter, kind_of, refusal, shown, to_text

Evaluate: TypeAlias = Callable[[Record], Any]

CASTS = {"date": "date", "datetime": "datetime", "int": "integer", "float": "float", "str": "string", "bool": "boolean"}
"""Functions that convert, with the type they convert to."""


@frozen
class Surroundings:
    """What an expression can see besides the record.

    Attributes:
        field: The field that is being set, for messages.
        now: The one instant of the run.
        environ: Environment variables.
        params: Parameters of the run.
    """

    field: str
    now: datetime
    environ: Mapping[str, str]
    params: Mapping[str, Any]

    def constant(self, reference: Reference) -> Any:
        """Return the value of a reference to something that is the same for every record.

        Raises:
            FatalError: It is unset and has no default.
        """
        value = self.environ.get(reference.name) if reference.scope == "env" else self.params.get(reference.name)
        if value is None or value == "":
            if reference.default is not None:
                return reference.default
            if reference.message is not None or value is None:
                text = reference.message or "it is not set and has no default"
                raise FatalError(f"field {self.field!r} needs {described(reference)}: {text}")
        return value

    def variable(self, name: str) -> str | None:
        """Return an environment variable, None when it is unset."""
        return self.environ.get(name)


def field_getter(name: str) -> Evaluate:
    """Return the function that looks a field up: by its literal name first, then along its dots."""
    if "." not in name:
        return lambda record: record.get(name)
    keys = name.split(".")

    def nested(record: Record) -> Any:
        value: Any = record.get(name)
        if value is not None:
            return value
        value = record
        for key in keys:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    return nested


def compile_expression(expression: Expression, around: Surroundings) -> Evaluate:
    """Return the function that evaluates an expression for one record.

    The function raises ``RecordRejected`` when a value cannot be converted or a required one is missing.

    Raises:
        FatalError: A variable is unset and has no default.
    """
    if isinstance(expression, Constant):
        value = expression.value
        return lambda _: value
    if isinstance(expression, Template):
        return _template(expression, around)
    if isinstance(expression, Call):
        return _call(expression, around)
    raise TypeError(f"{expression.name!r} has no value")


# --- templates -------------------------------------------------------------------------------------------------------


def _template(template: Template, around: Surroundings) -> Evaluate:
    if len(template.parts) == 1 and isinstance(template.parts[0], Reference):
        return _reference(template.parts[0], around)
    chunks: list[str] = []
    slots: list[tuple[int, str, Evaluate | None]] = []
    for number, part in enumerate(template.parts):
        if isinstance(part, str) or part.scope is not None:
            chunks.append(part if isinstance(part, str) else to_text(around.constant(part)))
            continue
        plain = part.default is None and part.message is None and "." not in part.name
        chunks.append("")
        slots.append((number, part.name, None if plain else _reference(part, around)))

    def join(record: Record) -> str:
        texts = chunks.copy()
        for number, name, evaluate in slots:
            value = record.get(name) if evaluate is None else evaluate(record)
            texts[number] = value if type(value) is str else to_text(value)
        return "".join(texts)

    return join


def _reference(reference: Reference, around: Surroundings) -> Evaluate:
    if reference.scope is not None:
        constant = around.constant(reference)
        return lambda _: constant
    get = field_getter(reference.name)
    default, message, field = reference.default, reference.message, around.field
    if default is not None:

        def with_default(record: Record) -> Any:
            value = get(record)
            return default if value is None else value

        return with_default
    if message is None:
        return get
    text = f"field {field!r} needs {reference.name!r}: {message or 'it is missing'}"

    def required(record: Record) -> Any:
        value = get(record)
        if value is None or value == "":
            raise RecordRejected("add.required", text, field=reference.name)
        return value

    return required


# --- functions -------------------------------------------------------------------------------------------------------


def _call(call: Call, around: Surroundings) -> Evaluate:
    if call.function == "env":
        constant = variable(call, around)
        return lambda _: constant
    arguments = [compile_expression(argument, around) for argument in call.arguments]
    if call.function in CASTS:
        return _cast(call, arguments[0], around)
    if call.function in _TEXT_FUNCTIONS:
        return _changed(_TEXT_FUNCTIONS[call.function], arguments[0])
    return _FUNCTIONS[call.function](arguments, around)


def _changed(change: Callable[[str], str], argument: Evaluate) -> Evaluate:
    def changed(record: Record) -> Any:
        value = argument(record)
        return None if value is None else change(to_text(value))

    return changed


def _concat(arguments: list[Evaluate], _: Surroundings) -> Evaluate:
    return lambda record: "".join(to_text(argument(record)) for argument in arguments)


def _coalesce(arguments: list[Evaluate], _: Surroundings) -> Evaluate:
    return lambda record: next((value for get in arguments if (value := get(record)) is not None), None)


def _uuid(_: list[Evaluate], __: Surroundings) -> Evaluate:
    return lambda _record: str(uuid4())


_TEXT_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "trim": lambda text: text.strip(SPACE),
}


def variable(call: Call, around: Surroundings) -> Any:
    """Return the value of ``env(NAME, default)``; an empty variable counts as unset when there is a default."""
    first = call.arguments[0]
    name = first.name if isinstance(first, Name) else to_text(compile_expression(first, around)({}))
    value = around.variable(name)
    if len(call.arguments) == 1 or value:
        return value
    return compile_expression(call.arguments[1], around)({})


def _now(arguments: list[Evaluate], around: Surroundings) -> Evaluate:
    now = around.now
    if not arguments:
        return lambda _: now
    layout = arguments[0]
    return lambda record: now.strftime(to_text(layout(record)))


def _cast(call: Call, argument: Evaluate, around: Surroundings) -> Evaluate:
    kind, field = CASTS[call.function], around.field
    options = cast_options(call)
    convert = converter(kind, options) if kind != "string" else to_text

    def cast(record: Record) -> Any:
        value = argument(record)
        if value is None:
            return None
        try:
            return convert(value)
        except Unparsable as error:
            raise refusal(value, kind, field, error) from None

    return cast


def cast_options(call: Call) -> TypeOptions:
    """Return how a converting call reads text: by its second argument, a constant layout, if it has one."""
    if len(call.arguments) == 1:
        return PLAIN
    layout = call.arguments[1]
    return TypeOptions(format=to_text(layout.value) if isinstance(layout, Constant) else "")


def _length(arguments: list[Evaluate], around: Surroundings) -> Evaluate:
    (argument,), field = arguments, around.field

    def length(record: Record) -> int | None:
        value = argument(record)
        if value is None:
            return None
        if not isinstance(value, str | list | tuple | dict):
            text = f"field {field!r}: {shown(value)} is a {kind_of(value)} and has no length"
            raise RecordRejected("add.len", text, field=field)
        return len(value)

    return length


_FUNCTIONS: dict[str, Callable[[list[Evaluate], Surroundings], Evaluate]] = {
    "now": _now,
    "uuid": _uuid,
    "concat": _concat,
    "coalesce": _coalesce,
    "len": _length,
}
