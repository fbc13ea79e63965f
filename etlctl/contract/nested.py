"""Variables and whole extractor sections inside the options of a component."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from etlctl.catalog import Entry, Kind
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.explanations import Place, shown_value
from etlctl.contract.layout import Part
from etlctl.contract.options import check_options
from etlctl.contract.variables import Resolved
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.extractor import Extractor

Fill = Callable[[Part, PathKey, Any], Resolved]
"""Fills in the variables of a value of a section: the part, where the value stands, and the value."""


@dataclass
class Filled:
    """The options of a component after their variables are filled in.

    Attributes:
        value: The options.
        deferred: Paths in the section whose value is not known yet.
        rereadable: Paths in the section whose text may be read as a YAML scalar.
    """

    value: Any
    deferred: set[PathKey] = field(default_factory=set)
    rereadable: set[PathKey] = field(default_factory=set)


def fill_options(model: type[BaseModel], part: Part, path: PathKey, value: Any, fill: Fill) -> Filled:
    """Fill in the variables of an operation's options, where it has any.

    Args:
        model: The operation's options; ``nested`` and ``variables`` say where variables stand.
        part: The section.
        path: Where the options stand in it.
        value: The options as written.
        fill: Fills in one value.
    """
    nested: tuple[str, ...] = getattr(model, "nested", ())
    names: tuple[str, ...] = getattr(model, "variables", ())
    filled = Filled(value)

    def one(place: PathKey, item: Any) -> Any:
        resolved = fill(part, place, item)
        filled.deferred |= resolved.deferred
        filled.rereadable |= resolved.rereadable
        return resolved.data

    def walk(item: Any, place: PathKey) -> Any:
        if isinstance(item, dict):
            return {
                key: one((*place, key), inner) if key in names or (place == path and key in nested) else
                walk(inner, (*place, key))
                for key, inner in item.items()
            }  # fmt: skip
        if isinstance(item, list):
            return [walk(inner, (*place, number)) for number, inner in enumerate(item)]
        return item

    if nested or names:
        filled.value = walk(value, path)
    return filled


class NestedSections:
    """Makes the extractors that stand inside the options of a component.

    Args:
        entry: Looks a component up, or reports that there is none.
        model: Gives the options of a component, or reports why it cannot be used.
        report: Takes what is wrong.
        base_dir: The contract's folder.
        import_code: A workspace's own code may be imported.
    """

    def __init__(
        self,
        entry: Callable[[Kind, str, Part, PathKey], Entry | None],
        model: Callable[[Entry, Part, PathKey], type[BaseModel] | None],
        report: Callable[[Diagnostic], None],
        base_dir: str,
        *,
        import_code: bool,
    ) -> None:
        self._entry = entry
        self._model = model
        self._report = report
        self._base_dir = base_dir
        self._import_code = import_code

    def sources(
        self, model: type[BaseModel], part: Part, path: PathKey, filled: Filled
    ) -> dict[str, tuple[Extractor, ...]] | None:
        """Return the extractors by option; None when one is wrong, or not to be made yet.

        Args:
            model: The component's options.
            part: The section.
            path: Where the component's options stand in it.
            filled: Those options.
        """
        found: dict[str, tuple[Extractor, ...]] = {}
        complete = True
        for option in getattr(model, "nested", ()):
            value = filled.value.get(option) if isinstance(filled.value, dict) else None
            items = [((*path, option), value)] if not isinstance(value, list) else [
                ((*path, option, number), item) for number, item in enumerate(value)
            ]  # fmt: skip
            made = [self._section(part, place, item, filled) for place, item in items if isinstance(item, dict)]
            complete = complete and len(made) == len(items) and None not in made
            found[option] = tuple(source for source in made if source is not None)
        return found if complete else None

    def _section(self, part: Part, path: PathKey, data: dict[str, Any], filled: Filled) -> Extractor | None:
        place = (*path, "type")
        name = self._type_of(part, path, data, filled)
        entry = self._entry(Kind.extractor, name, part, place) if name is not None else None
        model = self._model(entry, part, place) if entry is not None else None
        if entry is None or model is None:
            return None
        own = Filled({key: value for key, value in data.items() if key != "type"}, filled.deferred, filled.rereadable)
        inner = self.sources(model, part, path, own)
        options = Place(
            part,
            f"extract type {name!r}",
            path=path,
            beside=("type",),
            deferred=filled.deferred,
            rereadable=filled.rereadable,
        )
        found = check_options(model, own.value, options, self._report)
        waits = any(waiting[: len(path)] == path for waiting in filled.deferred)
        if not isinstance(found, Extractor) or inner is None or waits or not (entry.trusted or self._import_code):
            return None
        return found.with_sources(inner, self._base_dir) if inner else found

    def _type_of(self, part: Part, path: PathKey, data: dict[str, Any], filled: Filled) -> str | None:
        if "type" not in data:
            message = f"{path[-1]!r} needs 'type': it names the extractor" if isinstance(path[-1], str) else (
                f"item {path[-1]} of {path[-2]!r} needs 'type': it names the extractor"
            )  # fmt: skip
            self._report(Code.missing_key.at(part.file, part.key_span(path), message, help="such as 'type: file'"))
            return None
        if (*path, "type") in filled.deferred:
            return None
        if isinstance(data["type"], str):
            return data["type"]
        message = f"'type' must be the name of the extractor, not {shown_value(data['type'])}"
        self._report(Code.wrong_type.at(part.file, part.value_span((*path, "type")), message))
        return None
