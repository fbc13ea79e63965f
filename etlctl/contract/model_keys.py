"""What a pydantic model says about the keys at some place below it: their names and their help."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from etlctl.catalog.docs import field_help


def key_names(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys a model takes, as people write them."""
    return tuple(info.alias or name for name, info in model.model_fields.items())


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that may stand below a path."""
    names: dict[str, None] = {}
    for found in _models_at(model, tuple(path)):
        names.update(dict.fromkeys(key_names(found)))
    return tuple(names)


def help_for(model: type[BaseModel], path: Sequence[str | int]) -> str | None:
    """Return the docstring of the option at a path, on one line."""
    *parents, name = path
    for found in _models_at(model, tuple(parents)):
        for field, info in found.model_fields.items():
            if name in {field, info.alias}:
                return info.description or field_help(found).get(field)
    return None


@lru_cache(maxsize=512)
def _models_at(model: type[BaseModel], path: tuple[str | int, ...]) -> tuple[type[BaseModel], ...]:
    found: list[type[BaseModel]] = [model]
    for part in path:
        found = [inner for outer in found for inner in _below(outer, part)] or found
    return tuple(found)


def _below(model: type[BaseModel], part: str | int) -> Iterator[type[BaseModel]]:
    for name, info in model.model_fields.items():
        if part in {name, info.alias}:
            yield from _models_in(info.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models an annotation is made of; an index or a key of a collection leads to its items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Union, types.UnionType, list, tuple, dict, set, frozenset} or hasattr(
        annotation, "__metadata__"
    ):
        for argument in get_args(annotation):
            yield from _models_in(argument)
