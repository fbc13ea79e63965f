"""What a component says about itself: summary, options, examples, for people and for the reference."""

from __future__ import annotations

import ast
import enum
import inspect
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from etlctl.catalog.source import SourceFile, class_value, field_docs, split_doc
from etlctl.errors import CatalogError
from etlctl.frozen import frozen
from etlctl.sdk.component import Component, Example


@frozen
class OptionDoc:
    """One option.

    Attributes:
        name: As it stands in the contract.
        type: In words, such as ``list of string``.
        required: It must be given.
        default: As it would stand in the contract; None when required or known to the code alone.
        help: The string under the field, on one line.
        options: Options of a nested object.
    """

    name: str
    type: str
    required: bool
    default: str | None
    help: str
    options: tuple[OptionDoc, ...] = ()


@frozen
class ComponentDocs:
    """What a component says about itself.

    Attributes:
        summary: First paragraph of the class docstring, on one line.
        description: The rest of it.
        options: In the order written.
        examples: In the order written.
    """

    summary: str
    description: str
    options: tuple[OptionDoc, ...]
    examples: tuple[Example, ...]


def class_docs(cls: type[BaseModel]) -> tuple[str, str]:
    """Return summary and description from the class's own docstring."""
    return split_doc(inspect.cleandoc(cls.__dict__.get("__doc__") or ""))


def field_help(cls: type[BaseModel]) -> dict[str, str]:
    """Return the help of each field of a class whose code is loaded, inherited ones included."""
    found: dict[str, str] = {}
    for current in reversed(cls.__mro__):
        if current in {Component, BaseModel} or not issubclass(current, BaseModel):
            continue
        try:
            file = inspect.getsourcefile(current)
            node = SourceFile.parse(Path(file)).classes.get(current.__name__) if file else None
        except (TypeError, OSError, CatalogError):
            continue
        if node is not None:
            found.update(field_docs(node))
    return found


def option_docs(model: type[BaseModel], help_of: Mapping[str, str]) -> tuple[OptionDoc, ...]:
    """Return the options of a model, with the help given by field name."""
    return tuple(
        OptionDoc(
            name=info.alias or name,
            type=type_words(info.annotation),
            required=info.is_required(),
            default=_default(info),
            help=help_of.get(name) or info.description or "",
            options=_nested(info.annotation),
        )
        for name, info in model.model_fields.items()
    )


def _nested(annotation: Any) -> tuple[OptionDoc, ...]:
    found: dict[str, OptionDoc] = {}
    models = [(place, part) for place, part in _parts(annotation, "") if _is_model(part)]
    several = len(models) > 1 and _alternatives(models)
    for place, model in models if several else models[:1]:
        for option in option_docs(model, field_help(model)):
            if several and option.name != "type":
                option = replace(option, help=f"With {_type_of(model)}: {option.help}")  # noqa: PLW2901
            named = replace(option, name=f"{place}{option.name}")
            found[named.name] = _with_more_types(found[named.name], named) if named.name in found else named
    return tuple(found.values())


def _type_of(model: type[BaseModel]) -> str:
    return f"``type: {' or '.join(map(str, typing.get_args(model.model_fields['type'].annotation)))}``"


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _alternatives(models: Sequence[tuple[str, type[BaseModel]]]) -> bool:
    """Tell whether models stand for each other, told apart by their ``type``."""
    return all("type" in model.model_fields for _, model in models)


def _with_more_types(known: OptionDoc, other: OptionDoc) -> OptionDoc:
    """Return an option that several alternatives have; ``type`` is what tells them apart."""
    if known.type == other.type or not known.name.endswith("type"):
        return known
    return replace(known, type=f"{known.type} or {other.type}")


def _parts(annotation: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield an annotation and everything inside it, outermost first, with what stands for the keys between."""
    yield place, annotation
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return
    if isinstance(origin, type) and issubclass(origin, Mapping):
        place += "<name>."
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        place += "[]."
    for inner in typing.get_args(annotation):
        yield from _parts(inner, place)


def _default(info: FieldInfo) -> str | None:
    if info.is_required():
        return None
    try:
        value = info.get_default(call_default_factory=True, validated_data={})
    except Exception:  # noqa: BLE001 - the author's factory may want more than we can give
        return None
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return None if value is None else json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


_WORDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    bytes: "bytes",
    Any: "any",
    list: "list",
    tuple: "list",
    set: "list",
    frozenset: "list",
    dict: "mapping",
    type(None): "null",
}


def type_words(annotation: Any) -> str:
    """Return a type in the words of a contract: ``integer``, ``list of string``, ``"a" or "b"``."""
    origin = typing.get_origin(annotation)
    if origin is None:
        return _plain_type(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin is Literal:
        return _choices(arguments)
    if origin in {Union, types.UnionType}:
        words = [type_words(inner) for inner in arguments if inner is not type(None)]
        return " or ".join(dict.fromkeys(words))
    return _container(origin, arguments)


def _plain_type(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choices([member.value for member in annotation])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    value = getattr(annotation, "__value__", None)  # ``type X = …`` of Python 3.12
    if value is not None:
        return type_words(value)
    known = annotation in _WORDS if annotation.__hash__ else False
    return _WORDS[annotation] if known else getattr(annotation, "__name__", str(annotation)).lower()


def _choices(values: Any) -> str:
    return " or ".join(json.dumps(value) for value in values)


def _container(origin: Any, arguments: tuple[Any, ...]) -> str:
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {type_words(arguments[0])} to {type_words(arguments[-1])}"
    inner = list(dict.fromkeys(type_words(item) for item in arguments if item is not ...))
    word = " or ".join(inner)
    return f"list of {word}" if " or " not in word else f"list of ({word})"


def static_examples(node: ast.ClassDef) -> tuple[Example, ...]:
    """Return the examples of a class as far as they are written as literals."""
    value = class_value(node, "examples")
    calls = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    return tuple(example for call in calls if (example := _static_example(call)) is not None)


def _static_example(call: ast.expr) -> Example | None:
    if not isinstance(call, ast.Call):
        return None
    names = ("title", "yaml", "given", "expect", "rejected", "files")
    pairs = [*zip(names, call.args, strict=False), *((word.arg or "", word.value) for word in call.keywords)]
    values: dict[str, Any] = {}
    for name, node in pairs:
        try:
            values[name] = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            continue
    if not (isinstance(values.get("title"), str) and isinstance(values.get("yaml"), str)):
        return None
    return Example(**{name: value for name, value in values.items() if name in names})
