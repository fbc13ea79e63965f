"""Reads type annotations of source code into types without running the code. What it cannot read is ``Any``."""

from __future__ import annotations

import ast
import collections.abc
import datetime as dt
import decimal
import importlib
import pathlib
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union

from etlctl.catalog.source import SourceFile

UNREADABLE: Any = object()
"""Stands for an expression whose value cannot be known without running the code."""

_PLAIN: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "bytes": bytes,
    "object": Any,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "None": None,
    "datetime.date": dt.date,
    "datetime.datetime": dt.datetime,
    "datetime.time": dt.time,
    "datetime.timedelta": dt.timedelta,
    "decimal.Decimal": decimal.Decimal,
    "pathlib.Path": pathlib.Path,
}
_GENERIC: dict[str, Any] = {
    "typing.List": list,
    "typing.Dict": dict,
    "typing.Tuple": tuple,
    "typing.Set": set,
    "typing.Sequence": collections.abc.Sequence,
    "typing.Mapping": collections.abc.Mapping,
    "collections.abc.Sequence": collections.abc.Sequence,
    "collections.abc.Mapping": collections.abc.Mapping,
}
_TRUSTED = (
    "pydantic.",
    *(f"etlctl.{part}." for part in ("batch", "extractors", "kit", "loaders", "run", "sdk", "transforms", "types")),
)
_CONSTRAINTS = {
    "alias", "default", "description", "examples", "ge", "gt", "le", "lt", "max_length", "min_length", "multiple_of",
    "pattern", "strict", "title", "validation_alias",
}  # fmt: skip
_FACTORIES: dict[str, Any] = {"list": list, "dict": dict, "tuple": tuple, "set": set, "frozenset": frozenset}


def trusted_object(dotted: str) -> Any:
    """Return what a component may build on, of etlctl or pydantic; ``UNREADABLE`` for any other dotted name."""
    if not dotted.startswith(_TRUSTED):
        return UNREADABLE
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return UNREADABLE


class AnnotationReader:
    """Turns annotation expressions of one source file into types.

    Args:
        source: The file.
        local_class: Gives the type to use for a class that the file itself defines.
    """

    def __init__(self, source: SourceFile, local_class: Callable[[str], Any]) -> None:
        self._source = source
        self._local_class = local_class
        self._open: set[str] = set()

    def read(self, node: ast.expr) -> Any:
        """Return the type an annotation stands for."""
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._name(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return Union[self.read(node.left), self.read(node.right)]  # noqa: UP007
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        return Any

    def is_class_variable(self, node: ast.expr) -> bool:
        """Tell whether an annotation is ``ClassVar`` or ``ClassVar[...]``, quoted or not."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value.strip().split("[")[0].rpartition(".")[2] == "ClassVar"
        inner = node.value if isinstance(node, ast.Subscript) else node
        return (self._source.dotted(inner) or "").endswith("ClassVar")

    def literal(self, node: ast.expr) -> Any:
        """Return the value of a literal expression or of a constant of the file; else ``UNREADABLE``."""
        if isinstance(node, ast.Name) and node.id in self._source.constants:
            node = self._source.constants[node.id]
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError):
            return UNREADABLE

    def field_call(self, node: ast.expr) -> dict[str, Any] | None:
        """Return the keywords of a ``Field(...)`` call, unreadable ones left out; None when it is no such call.

        A default that cannot be known is given as ``UNREADABLE``; no default as a missing key.
        """
        if not (
            isinstance(node, ast.Call) and self._source.dotted(node.func) in {"pydantic.Field", "pydantic.fields.Field"}
        ):
            return None
        found: dict[str, Any] = {}
        if node.args and not (isinstance(node.args[0], ast.Constant) and node.args[0].value is ...):
            found["default"] = self.literal(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "default_factory":
                found["default"] = self._factory(keyword.value)
            elif keyword.arg == "default" and isinstance(keyword.value, ast.Constant) and keyword.value.value is ...:
                continue
            elif keyword.arg in _CONSTRAINTS:
                value = self.literal(keyword.value)
                if value is not UNREADABLE or keyword.arg == "default":
                    found[keyword.arg] = value
        return found

    def _factory(self, node: ast.expr) -> Any:
        factory = _FACTORIES.get(self._source.dotted(node) or "")
        return factory() if factory else UNREADABLE

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is None:
            return None
        if isinstance(node.value, str):
            try:
                return self.read(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                return Any
        return Any

    def _name(self, node: ast.expr) -> Any:
        dotted = self._source.dotted(node) or ""
        if dotted in self._source.classes:
            return self._local_class(dotted)
        if dotted in self._source.constants:
            return self._alias(dotted)
        if dotted in _PLAIN:
            return _PLAIN[dotted]
        if dotted in _GENERIC:
            return _GENERIC[dotted]
        found = trusted_object(dotted)
        return found if isinstance(found, type) or typing.get_origin(found) is not None else Any

    def _alias(self, name: str) -> Any:
        if name in self._open:
            return Any
        self._open.add(name)
        try:
            return self.read(self._source.constants[name])
        finally:
            self._open.discard(name)

    def _subscript(self, node: ast.Subscript) -> Any:
        outer = self._source.dotted(node.value) or ""
        name = outer.rpartition(".")[2]
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            values = tuple(self.literal(item) for item in items)
            return Any if UNREADABLE in values else Literal[values]
        if name == "Optional":
            return Union[self.read(items[0]), None]  # noqa: UP007
        if name == "Union":
            return Union[tuple(self.read(item) for item in items)]  # noqa: UP007
        if name == "Annotated":
            return self._annotated(items)
        return self._generic(outer, items)

    def _annotated(self, items: list[ast.expr]) -> Any:
        from pydantic import Field  # noqa: PLC0415

        inner = self.read(items[0])
        for item in items[1:]:
            keywords = self.field_call(item)
            if keywords:
                keywords.pop("default", None)
                inner = Annotated[inner, Field(**keywords)]
        return inner

    def _generic(self, outer: str, items: list[ast.expr]) -> Any:
        origin = _GENERIC.get(outer, _PLAIN.get(outer))
        if origin is None or not isinstance(origin, type):
            return Any
        inner = tuple(
            ... if isinstance(item, ast.Constant) and item.value is ... else self.read(item) for item in items
        )
        try:
            return origin[inner]  # type: ignore[index]
        except TypeError:
            return Any
