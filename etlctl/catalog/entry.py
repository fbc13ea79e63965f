"""One component as the catalogue knows it: where it comes from, and on demand its class, options and docs."""

from __future__ import annotations

import ast
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from pydantic import BaseModel

from etlctl.catalog.docs import ComponentDocs, class_docs, field_help, option_docs, static_examples
from etlctl.catalog.kinds import Kind
from etlctl.catalog.loading import checked_class, component_class, import_module, import_path
from etlctl.catalog.source import SourceFile, class_doc, class_value, field_docs
from etlctl.catalog.static_model import StaticReader
from etlctl.errors import CatalogError, MissingExtraError
from etlctl.frozen import frozen
from etlctl.sdk.component import Component

ComponentClass: TypeAlias = type[Component]
ModelClass: TypeAlias = type[BaseModel]


@frozen
class Entry:
    """A component that can be named in a contract.

    Attributes:
        kind: What it is for.
        type: What a contract calls it: the file name without ``.py``, or the name of the entry point.
        origin: Where it comes from, for people.
        path: Its source file, when it is known without importing anything.
        trusted: Part of the installed build or of an installed plug-in; a workspace's own file is not.
        module: Module to import; None for a workspace's own file, which is loaded by path.
        attribute: Name of the class in the module, when an entry point says so.
    """

    kind: Kind
    type: str
    origin: str
    path: Path | None
    trusted: bool
    module: str | None = None
    attribute: str | None = None

    def load(self) -> ComponentClass:
        """Import the component's code and return its class; the same class on every call.

        Raises:
            CatalogError: The code cannot be imported, or does not hold exactly one component of this kind.
            MissingExtraError: It needs packages of an extra that is not installed.
        """
        return self._class

    def options_model(self, *, import_code: bool = False) -> ModelClass:
        """Return the model to check options with.

        Args:
            import_code: Run a workspace's own code to get the class itself. Otherwise its options are read from
                the source without running anything: unreadable annotations accept any value, and validators of
                the class are not applied.

        Raises:
            CatalogError: The file holds no readable component.
        """
        if self.trusted or import_code:
            return self.load()
        return self._static_model

    @property
    def summary(self) -> str:
        """First paragraph of the docstring, read without importing anything where the file is known."""
        if self.path is None:
            return class_docs(self.load())[0]
        return class_doc(self._node)[0]

    def docs(self) -> ComponentDocs:
        """Return what the component says about itself; a workspace's own code is read, not run.

        Raises:
            CatalogError: The file holds no readable component.
        """
        if self.trusted:
            try:
                loaded = self.load()
            except MissingExtraError:
                if self.path is None:
                    raise
            else:
                return ComponentDocs(*class_docs(loaded), option_docs(loaded, field_help(loaded)), loaded.examples)
        return self._static_docs()

    def _static_docs(self) -> ComponentDocs:
        helps: dict[str, str] = {}
        for node in self._reader.ancestry(self._node):
            helps = {**field_docs(node), **helps}
        options = option_docs(self._static_model, helps)
        return ComponentDocs(*class_doc(self._node), options, static_examples(self._node))

    @cached_property
    def _class(self) -> ComponentClass:
        try:
            module = self._import()
        except CatalogError as error:
            extra = self._extra
            if extra and isinstance(error.__cause__, ModuleNotFoundError):
                raise MissingExtraError(f"{self.kind.noun} {self.type!r}", extra) from error.__cause__
            raise
        if self.attribute is None:
            return component_class(module, self.kind, self._place)
        return checked_class(getattr(module, self.attribute, None), self.kind, self._place)

    def _import(self) -> ModuleType:
        if self.module is not None:
            return import_module(self.module, self._place)
        if self.path is None:
            raise CatalogError(f"{self.origin}: {self.kind.noun} {self.type!r} has neither a module nor a file")
        return import_path(self.path, self.kind)

    @property
    def _place(self) -> str:
        return str(self.path) if self.path is not None else self.origin

    @property
    def _extra(self) -> str | None:
        """The extra that the class declares, read from the source."""
        if self.path is None:
            return None
        value = class_value(self._node, "extra")
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None

    @cached_property
    def _reader(self) -> StaticReader:
        if self.path is None:
            raise CatalogError(f"{self.origin}: the source of {self.kind.noun} {self.type!r} is not known")
        return StaticReader(SourceFile.parse(self.path), self.kind)

    @cached_property
    def _node(self) -> ast.ClassDef:
        return self._reader.component()

    @cached_property
    def _static_model(self) -> ModelClass:
        return self._reader.model(self._node)
