"""Turns pydantic's errors into diagnostics: located in the YAML, in the words of the contract, with a suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.layout import Part
from etlctl.contract.model_keys import help_for, keys_at
from etlctl.contract.scalars import plain_scalar
from etlctl.contract.suggest import closest, did_you_mean
from etlctl.diagnostics import Diagnostic, Span
from etlctl.jsonata import syntax_problem

_WANTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "mapping": "a mapping",
    "none": "nothing",
    "date": "a date such as 2024-01-31",
    "datetime": "a date and time such as 2024-01-31T06:00:00Z",
    "time": "a time such as 06:00:00",
    "callable": "a function",
}
_PREFIX = re.compile("^(?:Input should be|(?:String|List|Tuple|Dictionary|Value) should) ")
"""How pydantic begins its sentences."""
_TYPE_ENDINGS = ("_type", "_parsing", "_from_float", "_attributes_type", "none_required", "_str")
_STRUCTURAL = frozenset({"missing", "extra_forbidden"})  # true whatever a value turns out to be
_BUILT_IN: frozenset[str] = frozenset(get_args(ErrorType))


@dataclass
class Place:
    """Where the values to check stand, and what is known about them.

    Attributes:
        part: The section.
        path: Path of the values in it.
        inside: Options of the model that the values are written without (its shorthand).
        beside: Keys that may stand beside the model's own, for suggestions.
        deferred: Paths in the section whose value is not known yet.
        rereadable: Paths in the section whose text may be read as a YAML scalar.
        what: What the values belong to, for messages, such as ``extract type 'file'``.
        short: The values are a shorthand, and a mapping of options may stand there as well.
    """

    part: Part
    what: str
    path: PathKey = ()
    inside: PathKey = ()
    beside: Iterable[str] = ()
    deferred: Iterable[PathKey] = ()
    rereadable: Iterable[PathKey] = ()
    short: bool = False


def explain(model: type[BaseModel], error: ValidationError, place: Place) -> list[Diagnostic]:
    """Return one diagnostic per mistake behind a validation error."""
    located = [(_locate(place, details), details) for details in error.errors(include_url=False)]
    deferred = set(place.deferred)
    grouped: dict[PathKey, list[ErrorDetails]] = {}
    for path, details in located:
        if details["type"] in _STRUCTURAL or not _waits(path, place, deferred):
            grouped.setdefault(path, []).append(details)
    found: list[Diagnostic] = []
    for path, group in grouped.items():
        deeper = any(other != path and other[: len(path)] == path for other in grouped)
        shallow = [details for details in group if _is_type_error(details["type"])]
        rest = [details for details in group if not _is_type_error(details["type"])]
        if shallow and not deeper:
            found.append(_wrong_type(model, path, shallow, place))
        if not shallow or not deeper:
            found += [_one(model, path, details, place) for details in rest]
    return found


def _locate(place: Place, details: ErrorDetails) -> PathKey:
    """Return the path in the section that an error is about; for a missing key that of its parent."""
    loc = details["loc"][:-1] if details["type"] == "missing" else details["loc"]
    if loc[: len(place.inside)] == place.inside:
        loc = loc[len(place.inside) :]
    return place.part.nearest((*place.path, *loc, *entry_of(details)))


def entry_of(details: ErrorDetails) -> PathKey:
    """Return the entry below an error's own path that it is about, when a validator of the whole mapping says so."""
    field = details.get("ctx", {}).get("field")
    return (field,) if isinstance(field, str) and details["type"] not in _BUILT_IN else ()


def _waits(path: PathKey, place: Place, deferred: set[PathKey]) -> bool:
    """Tell whether an error may come from a value that is not known yet: there, below, or of the whole."""
    if any(path[: len(waiting)] == waiting for waiting in deferred):
        return True
    return path == place.path and bool(deferred)


def _is_type_error(kind: str) -> bool:
    return kind.endswith(_TYPE_ENDINGS) and kind in _BUILT_IN


def shown_value(value: Any) -> str:
    """Return a value as messages show it: short, and in YAML's words."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


def _wrong_type(model: type[BaseModel], path: PathKey, group: list[ErrorDetails], place: Place) -> Diagnostic:
    wanted = list(dict.fromkeys(_WANTED.get(details["type"].split("_")[0], details["msg"]) for details in group))
    if "a number" in wanted:
        wanted = [each for each in wanted if each != "a whole number"]
    if place.short and path == place.path:
        wanted = list(dict.fromkeys((*wanted, "a mapping")))
    value = group[0]["input"]
    what = f"'{_dotted(path)}'" if path else place.what
    written = place.part.written(path)
    message = f"{what} must be {' or '.join(wanted)}, not {written or shown_value(value)}"
    help_ = _type_help(wanted, value, written)
    if isinstance(value, str) and path == place.path and "expression" in keys_at(model, ()):
        help_ = "an expression is an option: {expression: '…'}"
    return Code.wrong_type.at(place.part.file, _value_span(place, path), message, help=help_)


def _type_help(wanted: list[str], value: Any, written: str | None) -> str | None:
    if "text" in wanted and isinstance(value, int | float):
        return f'put it in quotes: "{written or shown_value(value)}"'
    if "true or false" in wanted and isinstance(value, str):
        return "write true or false, without quotes; yes, no, on and off are text"
    if "a list" in wanted and isinstance(value, str):
        return f"write it as a list: [{value}]" if value and not set(value) & set("[]{},:") else "write it as a list"
    if isinstance(value, str) and isinstance(plain_scalar(value), int | float):
        return f"remove the quotes: {value}"
    return None


def _one(model: type[BaseModel], path: PathKey, details: ErrorDetails, place: Place) -> Diagnostic:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(model, path, place)
    if kind == "missing":
        return _missing_key(model, path, details, place)
    if kind not in _BUILT_IN:
        return _custom(path, details, place)
    if kind in {"value_error", "assertion_error"}:
        return _refused(path, details, place)
    return _invalid(path, details, place)


def _unknown_key(model: type[BaseModel], path: PathKey, place: Place) -> Diagnostic:
    below = path[len(place.path) : -1]
    names = keys_at(model, (*place.inside, *below) if below else ())
    if len(path) == len(place.path) + 1:
        names = (*names, *place.beside)
    message = f"unknown key {path[-1]!r} in {place.what if len(path) == len(place.path) + 1 else _dotted(path[:-1])}"
    help_ = did_you_mean(str(path[-1]), names, kind="keys")
    return Code.unknown_key.at(place.part.file, place.part.key_span(path), message, help=help_)


def _missing_key(model: type[BaseModel], parent: PathKey, details: ErrorDetails, place: Place) -> Diagnostic:
    name = details["loc"][-1]
    below = parent[len(place.path) :]
    where = place.what if not below else f"'{_dotted(parent)}'"
    about = help_for(model, (*place.inside, *below, name) if below else (name,))
    said = f"{about[0].lower()}{about[1:].rstrip('.')}".replace("``", "'") if about else ""
    help_ = f"add '{name}:'" + (f" ({said})" if said else "")
    return Code.missing_key.at(place.part.file, _parent_span(place, parent), f"{where} needs {name!r}", help=help_)


def _parent_span(place: Place, parent: PathKey) -> Span | None:
    """Return where a missing key is reported: at the mapping's own key, at ``type:`` for a component."""
    if not parent and place.part.key_span(("type",)) is not None:
        return place.part.key_span(("type",))
    return place.part.key_span(parent)


def _custom(path: PathKey, details: ErrorDetails, place: Place) -> Diagnostic:
    """Explain an error that a component raised with a name of its own; ``ctx`` may say where in a text, and more."""
    code, context, text = _custom_code(details["type"]), details.get("ctx", {}), place.part.value(path)
    span, offset = None, context.get("offset")
    if code is Code.jsonata_syntax and isinstance(text, str) and (problem := syntax_problem(text)) is not None:
        span = place.part.inside(path, problem[1], problem[2])
    elif isinstance(offset, int) and isinstance(text, str):
        span = place.part.inside(path, offset, offset + _word(text, offset))
    message = details["msg"].removeprefix(f"{path[-1]}: ") if path else details["msg"]
    message = message if len(path) <= len(place.path) else f"'{_dotted(path)}': {message}"
    span = span or _value_span(place, path)
    return code.at(place.part.file, span, message, help=_custom_help(context, text))


def _custom_help(context: dict[str, Any], text: Any) -> str | None:
    names = context.get("candidates")
    if context.get("help") or not isinstance(names, list | tuple):
        return str(context["help"]) if context.get("help") else None
    near = closest(str(context.get("given") or text).strip("'"), [str(name) for name in names])
    return f"did you mean {near!r}?" if near else None


def _custom_code(kind: str) -> Code:
    if kind == "unknown_type":
        return Code.unknown_convert_type
    if "function" in kind:
        return Code.unknown_function
    if "jsonata" in kind:
        return Code.jsonata_syntax
    if "expression" in kind or "template" in kind:
        return Code.expression_syntax
    return Code.refused_options


def _word(text: str, offset: int) -> int:
    """Return the length of the word at a place of a text, at least 1."""
    length = 0
    while text[offset + length : offset + length + 1].isidentifier():
        length += 1
    return max(length, 1)


def _refused(path: PathKey, details: ErrorDetails, place: Place) -> Diagnostic:
    error = details.get("ctx", {}).get("error")
    message = str(error) or details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    offset = getattr(error, "offset", None)
    span = place.part.inside(path, offset, offset + 1) if isinstance(offset, int) else None
    if span is None:
        span = _value_span(place, path) if len(path) > len(place.path) else _parent_span(place, path)
    text = message if len(path) <= len(place.path) else f"'{_dotted(path)}': {message}"
    return Code.refused_options.at(place.part.file, span, text, help=getattr(error, "help", None))


def _wrong_tag(path: PathKey, details: ErrorDetails, place: Place) -> Diagnostic:
    """Explain a mapping whose ``type`` says none of the things it can be, or says nothing."""
    context = details.get("ctx", {})
    key = str(context["discriminator"]).strip("'")
    if details["type"] == "union_tag_not_found":
        return Code.missing_key.at(place.part.file, _parent_span(place, path), f"'{_dotted(path)}' needs {key!r}")
    choices = [choice.strip(" '") for choice in str(context["expected_tags"]).split(",")]
    near = closest(str(context["tag"]), choices)
    message = f"'{_dotted((*path, key))}' must be one of {', '.join(choices)}, not {shown_value(context['tag'])}"
    help_ = f"did you mean {near!r}?" if near else None
    return Code.invalid_value.at(place.part.file, _value_span(place, (*path, key)), message, help=help_)


def _invalid(path: PathKey, details: ErrorDetails, place: Place) -> Diagnostic:
    context = details.get("ctx", {})
    help_ = None
    if details["type"].startswith("union_tag_"):
        return _wrong_tag(path, details, place)
    if details["type"] in {"literal_error", "enum"}:
        choices = [choice.strip(" '") for choice in str(context["expected"]).replace(" or ", ", ").split(",")]
        near = closest(str(details["input"]), choices)
        wanted = f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
        help_ = f"did you mean {near!r}?" if near else None
    else:
        text = _PREFIX.sub("", details["msg"]).split(" after validation")[0]
        wanted = text[0].lower() + text[1:]
    verb = "must" if wanted.startswith(("have", "match")) else "must be"
    message = f"'{_dotted(path)}' {verb} {wanted}, not {shown_value(details['input'])}"
    return Code.invalid_value.at(place.part.file, _value_span(place, path), message, help=help_)


def _value_span(place: Place, path: PathKey) -> Span | None:
    """Return where a value is; a list or a mapping is shown at its key."""
    span = place.part.value_span(path)
    if isinstance(place.part.value(path), dict | list):
        return place.part.key_span(path) or span
    return span


def _dotted(path: PathKey) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
