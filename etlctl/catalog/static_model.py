"""Builds the options model of a component from its source, without running it."""

from __future__ import annotations

import ast
import enum
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from etlctl.catalog.annotations import UNREADABLE, AnnotationReader, trusted_object
from etlctl.catalog.kinds import Kind
from etlctl.catalog.source import SourceFile, class_value, field_docs
from etlctl.errors import CatalogError
from etlctl.sdk.component import Component

_ENUMS: dict[str, Any] = {
    "enum.Enum": enum.Enum,
    "enum.StrEnum": enum.StrEnum,
    "enum.IntEnum": enum.IntEnum,
}


class StaticReader:
    """Finds the component class of a source file and its options.

    Args:
        source: The file.
        kind: What the folder it stands in holds.
    """

    def __init__(self, source: SourceFile, kind: Kind) -> None:
        self._source = source
        self._kind = kind
        self._annotations = AnnotationReader(source, self._local_type)
        self._building: list[str] = []

    def component(self) -> ast.ClassDef:
        """Return the one component class of the file.

        Raises:
            CatalogError: There is none, or more than one, or it is of another kind.
        """
        source = self._source
        public = [node for name, node in source.classes.items() if not name.startswith("_")]
        found = [node for node in public if self._is_component(node)]
        if not found:
            # A base of an installed package cannot be looked into without running code: give it the doubt.
            found = [node for node in public if self._has_foreign_base(node)]
        if len(found) == 1:
            return self._of_right_kind(found[0])
        base = self._kind.base.__name__
        if not found:
            raise CatalogError(
                f"{source.path} defines no {self._kind}: no public class in it derives from etlctl.sdk.{base}",
                help=f"write one class: class {source.path.stem.title().replace('_', '')}({base}): ... "
                "or let the file name begin with an underscore when it is no component",
            )
        places = " and ".join(f"{node.name} (line {node.lineno})" for node in found)
        raise CatalogError(
            f"{source.path} defines more than one component: {places}",
            help="one file is one component: move one of them to its own file, "
            "or let a shared base class begin with an underscore",
        )

    def model(self, node: ast.ClassDef) -> type[BaseModel]:
        """Return a model with the options of a class, inherited ones included."""
        self._building.append(node.name)
        try:
            return self._build(node)
        finally:
            self._building.pop()

    def ancestry(self, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
        """Yield the class and those of its bases that stand in the same file, nearest first."""
        seen: set[str] = set()
        waiting = [node]
        while waiting:
            current = waiting.pop(0)
            if current.name in seen:
                continue
            seen.add(current.name)
            yield current
            waiting += [
                self._source.classes[name] for name in self._source.bases(current) if name in self._source.classes
            ]

    def _of_right_kind(self, node: ast.ClassDef) -> ast.ClassDef:
        base = self._kind.base
        for known in self._known_bases(node):
            if issubclass(known, Component) and not issubclass(known, base):
                raise CatalogError(
                    f"{self._source.path}:{node.lineno}: {node.name} derives from {known.__name__}, "
                    f"but the folder {self._kind.folder}/ holds {self._kind}s, which derive from {base.__name__}",
                    help="move the file to the folder of its kind",
                )
        return node

    def _known_bases(self, node: ast.ClassDef) -> Iterator[type]:
        for current in self.ancestry(node):
            for dotted in self._source.bases(current):
                found = trusted_object(dotted)
                if isinstance(found, type):
                    yield found

    def _is_component(self, node: ast.ClassDef) -> bool:
        return any(issubclass(base, Component) for base in self._known_bases(node))

    def _has_foreign_base(self, node: ast.ClassDef) -> bool:
        return any(
            dotted not in self._source.classes and ("." in dotted or dotted == "?") and not self._is_plain(dotted)
            for current in self.ancestry(node)
            for dotted in self._source.bases(current)
        )

    @staticmethod
    def _is_plain(dotted: str) -> bool:
        """Tell whether a base is certainly no component base."""
        return dotted.partition(".")[0] in {"pydantic", "enum", "typing", "abc", "etlctl", "collections"}

    def _local_type(self, name: str) -> Any:
        node = self._source.classes[name]
        for base in self._source.bases(node):
            if base in _ENUMS:
                return self._enum(node, _ENUMS[base])
        is_model = any(issubclass(base, BaseModel) for base in self._known_bases(node))
        if not is_model or name in self._building:
            return Any
        return self.model(node)

    def _enum(self, node: ast.ClassDef, base: Callable[[str, dict[str, Any]], Any]) -> Any:
        members: dict[str, Any] = {}
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                members[statement.targets[0].id] = self._annotations.literal(statement.value)
        if not members or UNREADABLE in members.values():
            return Any
        return base(node.name, members)

    def _build(self, node: ast.ClassDef) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        for current in reversed(list(self.ancestry(node))):
            fields.update(self._own_fields(current))
        base = next((known for known in self._known_bases(node) if issubclass(known, BaseModel)), Component)
        config = self._config(node)
        with warnings.catch_warnings():
            # A field that shadows a method of pydantic's is the author's business when the class itself is made.
            warnings.simplefilter("ignore")
            made = _make(node.name, base, {name: _usable(*field) for name, field in fields.items()}, config)
        for name, value in self._declarations(node, made):
            setattr(made, name, value)
        return made

    def _declarations(self, node: ast.ClassDef, made: type[BaseModel]) -> Iterator[tuple[str, Any]]:
        """Yield what a class declares about itself (``map_order`` and the like), as far as it is literal."""
        for current in reversed(list(self.ancestry(node))):
            for name in made.__class_vars__ - {"examples"}:
                expression = class_value(current, name)
                value = self._annotations.literal(expression) if expression is not None else UNREADABLE
                if value is not UNREADABLE:
                    yield name, value

    def _config(self, node: ast.ClassDef) -> ConfigDict | None:
        """Return what must differ from the base's configuration."""
        config = ConfigDict()
        if self._has_foreign_base(node):
            # Inherited options cannot be seen, so unknown ones cannot be refused.
            config["extra"] = "allow"
        self._read_config(class_value(node, "model_config"), config)
        return config or None

    def _read_config(self, node: ast.expr | None, config: ConfigDict) -> None:
        if not isinstance(node, ast.Call):
            return
        for keyword in node.keywords:
            value = self._annotations.literal(keyword.value)
            if keyword.arg == "extra" and value in {"allow", "ignore", "forbid"}:
                config["extra"] = value
            elif keyword.arg == "strict" and isinstance(value, bool):
                config["strict"] = value
            elif keyword.arg == "populate_by_name" and isinstance(value, bool):
                config["populate_by_name"] = value

    def _own_fields(self, node: ast.ClassDef) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        docs = field_docs(node)
        for statement in node.body:
            if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
                continue
            name = statement.target.id
            if name.startswith("_") or self._annotations.is_class_variable(statement.annotation):
                continue
            fields[name] = (self._annotations.read(statement.annotation), self._field(statement.value, docs.get(name)))
        return fields

    def _field(self, value: ast.expr | None, about: str | None) -> Any:
        keywords = self._annotations.field_call(value) if value is not None else {}
        if keywords is None and value is not None:
            keywords = {"default": self._annotations.literal(value)}
        keywords = {**({"description": about} if about else {}), **(keywords or {})}
        if keywords.get("default") is UNREADABLE:
            # Some value stands there, so the option may be left out; which one only the code itself knows.
            keywords["default_factory"] = lambda: None
            del keywords["default"]
        return Field(**keywords)


def _usable(annotation: Any, info: Any) -> tuple[Any, Any]:
    """Return a field as it is, or one for any value when its constraints do not suit its type.

    That is a mistake in the component's code, and shows with its place when the code runs.
    """
    try:
        create_model("Probe", __config__=ConfigDict(arbitrary_types_allowed=True), field=(annotation, info))
    except Exception:  # noqa: BLE001 - pydantic raises many kinds here
        return Any, Field(default=None if info.default_factory else info.default, alias=info.alias)
    return annotation, info


def _make(name: str, base: type[BaseModel], fields: dict[str, Any], config: ConfigDict | None) -> type[BaseModel]:
    with_config: Any = base
    if config is not None:
        with_config = types.new_class(name, (base,), exec_body=lambda names: names.update(model_config=config))
    made: type[BaseModel] = create_model(name, __base__=with_config, __module__=__name__, **fields)
    # Options are checked with it, so it must be possible to make one, verb or no verb.
    made.__abstractmethods__ = frozenset()
    return made
