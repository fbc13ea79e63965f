"""Chooses the component a section names, and checks the section's options against it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from etlctl.catalog import Catalog, Entry, Kind
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.explanations import Place, shown_value
from etlctl.contract.layout import Part
from etlctl.contract.model_keys import key_names
from etlctl.contract.nested import Fill, Filled, NestedSections, fill_options
from etlctl.contract.options import check_options
from etlctl.contract.suggest import did_you_mean
from etlctl.contract.variables import Resolved
from etlctl.diagnostics import Diagnostic
from etlctl.errors import CatalogError
from etlctl.frozen import frozen
from etlctl.sdk.component import Component
from etlctl.sdk.operation import Operation

Report = Callable[[Diagnostic], None]
_SECTION = {Kind.extractor: "extract", Kind.loader: "load"}


@frozen
class Components:
    """Looks components up for one contract.

    Attributes:
        catalog: What there is.
        report: Takes what is wrong.
        import_code: A workspace's own code may be imported; otherwise it is only looked at.
        fill: Fills in variables inside the options of operations.
        base_dir: The contract's folder.
    """

    catalog: Catalog
    report: Report
    import_code: bool
    fill: Fill | None = None
    base_dir: str = ""

    def entry(self, kind: Kind, name: str, part: Part, path: PathKey) -> Entry | None:
        """Return a component of the catalogue, or None after reporting that there is none of that name."""
        names = self.catalog.names(kind)
        if name in names:
            return self.catalog.find(kind, name)
        is_operation = kind is Kind.operation
        code = Code.unknown_operation if is_operation else Code.unknown_component
        what = "operation" if is_operation else f"{_SECTION[kind]} type"
        span = part.key_span(path) if is_operation else part.value_span(path)
        help_ = did_you_mean(name, names, kind=f"{what}s") or f"there is no {what} at all: put one into {kind.folder}/"
        self.report(code.at(part.file, span, f"unknown {what} {name!r}", help=help_))
        return None

    def operation(self, name: str, part: Part, path: PathKey, value: Any) -> Operation | None:
        """Return an operation with its options; None when it is wrong, or is user code that was only looked at."""
        entry = self.entry(Kind.operation, name, part, path)
        model = self._model(entry, part, path) if entry is not None else None
        if entry is None or model is None:
            return None
        shorthand = getattr(model, "shorthand", None)
        always = getattr(model, "shorthand_only", False)
        short = shorthand is not None and (always or not isinstance(value, dict))
        inside = (shorthand,) if shorthand and short else ()
        filled = fill_options(model, part, path, value, self.fill) if self.fill is not None else Filled(value)
        place = Place(
            part,
            f"operation {name!r}",
            path=path,
            inside=inside,
            deferred=filled.deferred,
            rereadable=filled.rereadable,
            short=short and not always,
        )
        found = check_options(model, {shorthand: filled.value} if short else filled.value, place, self.report)
        sources = self._nested().sources(model, part, path, filled)
        usable = (entry.trusted or self.import_code) and not filled.deferred
        if sources is None or not usable or not isinstance(found, Operation):
            return None
        return found.with_sources(sources, self.base_dir) if sources else found

    def _nested(self) -> NestedSections:
        return NestedSections(self.entry, self._model, self.report, self.base_dir, import_code=self.import_code)

    def section(self, kind: Kind, part: Part, resolved: Resolved, envelope: type[BaseModel]) -> BaseModel | None:
        """Return the extractor or loader of a section.

        None when something is wrong, or depends on a value that comes with the run, or is user code only looked at.
        """
        name = self._type_of(kind, part, resolved)
        entry = self.entry(kind, name, part, ("type",)) if name is not None else None
        model = self._model(entry, part, ("type",)) if entry is not None else None
        if entry is None or model is None:
            return None
        own = {key: value for key, value in resolved.data.items() if key not in {"type", *key_names(envelope)}}
        place = Place(
            part,
            f"{_SECTION[kind]} type {name!r}",
            beside=("type", *key_names(envelope)),
            deferred=resolved.deferred,
            rereadable=resolved.rereadable,
        )
        found = check_options(model, own, place, self.report)
        inner = Filled(own, set(resolved.deferred), set(resolved.rereadable))
        sources = self._nested().sources(model, part, (), inner)
        waits = any(path[0] in own for path in resolved.deferred)
        if sources is None or waits or not (entry.trusted or self.import_code):
            return None
        return found.with_sources(sources, self.base_dir) if sources and isinstance(found, Component) else found

    def _type_of(self, kind: Kind, part: Part, resolved: Resolved) -> str | None:
        section, data = _SECTION[kind], resolved.data
        if "type" not in data:
            help_ = f"add 'type:', one of {', '.join(self.catalog.names(kind)) or 'none'}"
            message = f"{section} needs 'type': it names the {kind}"
            self.report(Code.missing_key.at(part.file, part.key_span(()), message, help=help_))
            return None
        if ("type",) in resolved.deferred:
            return None
        name = data["type"]
        if isinstance(name, str):
            return name
        message = f"'type' must be the name of the {kind}, not {shown_value(name)}"
        self.report(Code.wrong_type.at(part.file, part.value_span(("type",)), message))
        return None

    def _model(self, entry: Entry, part: Part, path: PathKey) -> type[BaseModel] | None:
        """Return the model of a component's options, or None after reporting why the component cannot be used."""
        try:
            return entry.options_model(import_code=self.import_code)
        except CatalogError as error:
            span = part.key_span(path) if entry.kind is Kind.operation else part.value_span(path)
            message = error.message.replace(f"{Path.cwd()}{os.sep}", "")
            self.report(Code.broken_component.at(part.file, span, message, help=error.help))
            return None
