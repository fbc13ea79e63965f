"""The ``load:`` list: each item is checked like a section of its own, with its own place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etlctl.catalog import Kind
from etlctl.contract.checked import AuthoredStep, Checked
from etlctl.contract.codes import Code
from etlctl.contract.components import Components
from etlctl.contract.document import PathKey
from etlctl.contract.explanations import Place, shown_value
from etlctl.contract.layout import Part
from etlctl.contract.model_keys import key_names
from etlctl.contract.options import check_options
from etlctl.contract.sections import DestinationEnvelope, LoadEnvelope
from etlctl.contract.suggest import did_you_mean
from etlctl.contract.variables import Resolved
from etlctl.diagnostics import Span
from etlctl.errors import CatalogError, EtlctlError
from etlctl.sdk.destinations import STEP, Destination, Destinations
from etlctl.sdk.loader import Loader
from etlctl.sdk.operation import Operation

LIST = "load"
"""Key that holds the list, beside the keys that hold for the whole run."""

_FILTER = "filter"
_SHARED = key_names(LoadEnvelope)


@dataclass
class _Item:
    """One item of the list, as far as it is known.

    Attributes:
        part: Where it stands.
        number: Its place in the list, from 0.
        type: Name of the loader.
        name: Its name.
        named: The person gave it that name.
        loader: What writes; None when it is wrong or not known yet.
        where: What filters its records.
        waits: ``where`` is wrong or not known yet.
    """

    part: Part
    number: int
    type: str
    name: str = ""
    named: bool = False
    loader: Loader | None = None
    where: Operation | None = None
    waits: bool = False

    @property
    def name_span(self) -> Span | None:
        """Where the name stands, or what it comes from."""
        return self.part.value_span(("name",) if self.named else ("type",))


def is_list(part: Part | None) -> bool:
    """Tell whether a load section holds several destinations."""
    return part is not None and LIST in part.data


def check_destinations(checked: Checked, components: Components) -> Loader | None:
    """Return the loader that stands for the list of the load section, after reporting all that is wrong with it.

    None when something is wrong, or depends on a value that comes with the run, or is user code only looked at.
    """
    part, resolved = checked.part("load"), checked.resolved.get("load")
    if part is None or resolved is None:
        return None
    _refuse_keys_beside(checked, part)
    listed = part.data[LIST]
    if not isinstance(listed, list) or not listed:
        message = f"'load' must be a list of destinations, not {shown_value(listed)}"
        checked.report(Code.wrong_type.at(part.file, part.value_span((LIST,)), message, help="- type: …"))
        return None
    reader = _Reader(checked, components, part, resolved)
    items = [item for number in range(len(listed)) for item in reader.item(number)]
    _name(items)
    _refuse_equal_names(checked, items)
    _refuse_equal_places(checked, items)
    checked.wheres = [step for item in items for step in _authored(part, item)]
    checked.destinations = [(item.number, item.loader) for item in items if item.loader is not None]
    checked.load_types = tuple(item.type for item in items)
    checked.deliveries = _deliveries(items)
    made = [Destination(item.name, item.loader, item.where) for item in items if item.loader is not None]
    whole = len(made) == len(listed) and not any(item.waits for item in items)
    return Destinations.of(made) if whole else None


def _refuse_keys_beside(checked: Checked, part: Part) -> None:
    """What is of one destination stands in its item."""
    known = (LIST, *_SHARED)
    for key in part.data:
        if key in known:
            continue
        message = f"unknown key {key!r} beside the list 'load:'"
        near = did_you_mean(key, known, kind="keys") or ""
        help_ = near if near.startswith("did you mean") else f"{near}; options of a destination go into its item"
        checked.report(Code.unknown_key.at(part.file, part.key_span((key,)), message, help=help_))


class _Reader:
    """Reads the items of one list."""

    def __init__(self, checked: Checked, components: Components, part: Part, resolved: Resolved) -> None:
        self._checked = checked
        self._components = components
        self._part = part
        self._resolved = resolved

    def item(self, number: int) -> Iterator[_Item]:
        """Yield what is known of an item; nothing when it is no mapping or has no type."""
        raw, path = self._part.data[LIST][number], (LIST, number)
        if not isinstance(raw, dict):
            message = f"a destination must be a mapping with 'type:', not {shown_value(raw)}"
            span = self._part.value_span(path)
            self._checked.report(Code.wrong_type.at(self._part.file, span, message))
            return
        part = Part(self._part.document, raw, (*self._part.prefix, *path))
        resolved = self._of_item(path, self._resolved.data[LIST][number])
        self._refuse_shared(part, resolved)
        envelope = {key: value for key, value in resolved.data.items() if key in key_names(DestinationEnvelope)}
        place = Place(part, "the destination", deferred=resolved.deferred, rereadable=resolved.rereadable)
        given = check_options(DestinationEnvelope, envelope, place, self._checked.report)
        found = self._components.section(Kind.loader, part, resolved, DestinationEnvelope)
        kind, loader = str(resolved.data.get("type", "")), found if isinstance(found, Loader) else None
        item = _Item(part, number, kind, loader=loader)
        if given is not None and given.name is not None:
            item.name, item.named = given.name, True
        if given is not None and given.where is not None:
            item.where = self._where(part, resolved)
        item.waits = item.where is None and "where" in resolved.data
        yield item

    def _of_item(self, path: PathKey, data: Mapping[str, Any]) -> Resolved:
        def below(paths: set[PathKey]) -> set[PathKey]:
            return {one[len(path) :] for one in paths if one[: len(path)] == path}

        return Resolved(dict(data), below(self._resolved.deferred), below(self._resolved.rereadable))

    def _refuse_shared(self, part: Part, resolved: Resolved) -> None:
        for key in _SHARED:
            if resolved.data.pop(key, None) is not None:
                message = f"{key!r} holds for the whole run, not for one destination"
                help_ = "put it beside 'load:'"
                self._checked.report(Code.unknown_key.at(part.file, part.key_span((key,)), message, help=help_))

    def _where(self, part: Part, resolved: Resolved) -> Operation | None:
        """Return the condition as the filter it is."""
        value = resolved.data["where"]
        try:
            model = self._components.catalog.find(Kind.operation, _FILTER).options_model(
                import_code=self._components.import_code
            )
        except CatalogError as error:
            self._checked.report(Code.broken_component.at(part.file, part.value_span(("where",)), error.message))
            return None
        option = "expression" if isinstance(value, str) else "all" if isinstance(value, list) else None
        place = Place(
            part,
            "'where'",
            path=("where",),
            inside=(option,) if option else (),
            deferred=resolved.deferred,
            rereadable=resolved.rereadable,
        )
        found = check_options(model, {option: value} if option else value, place, self._checked.report)
        waits = any(path[:1] == ("where",) for path in resolved.deferred)
        return found if isinstance(found, Operation) and not waits else None


def _name(items: Sequence[_Item]) -> None:
    """Name those without a name after their type, numbered when that is taken."""
    taken = {item.name for item in items if item.named}
    for item in items:
        if item.named:
            continue
        number, name = 1, item.type
        while name in taken:
            number += 1
            name = f"{item.type}_{number}"
        item.name = name
        taken.add(name)


def _refuse_equal_names(checked: Checked, items: Sequence[_Item]) -> None:
    first: dict[str, _Item] = {}
    for item in items:
        other = first.setdefault(item.name, item)
        if other is not item:
            message = f"two destinations are named {item.name!r}"
            _clash(checked, (item, item.name_span), (other, other.name_span), message)


def _refuse_equal_places(checked: Checked, items: Sequence[_Item]) -> None:
    """No two destinations may write to the same place, or one into a folder that another replaces."""
    base_dir = checked.layout.base_dir
    seen: list[tuple[_Item, tuple[str, ...]]] = []
    for item in items:
        own = _identity(item, base_dir)
        for other, place in seen:
            problem = _overlap(own, place, base_dir) if own is not None else None
            if problem is not None:
                message = f"destinations {other.name} and {item.name} write to the same place: {problem}"
                _clash(checked, (item, _place_span(item)), (other, _place_span(other)), message)
                break
        if own is not None:
            seen.append((item, own))


def _identity(item: _Item, base_dir: Path) -> tuple[str, ...] | None:
    try:
        return item.loader.identity(base_dir) if item.loader is not None else None
    except (EtlctlError, OSError, ValueError):
        return None


def _overlap(one: tuple[str, ...], other: tuple[str, ...], base_dir: Path) -> str | None:
    """Return what two destinations share; None when they do not get in each other's way."""
    if one == other:
        place, *inside = one
        return f"table {inside[0]} of {_shown(place, base_dir)}" if inside else _shown(place, base_dir)
    inner, outer = (one, other) if len(one[0]) > len(other[0]) else (other, one)
    if Path(outer[0]) in Path(inner[0]).parents:
        return f"{_shown(inner[0], base_dir)} lies inside of {_shown(outer[0], base_dir)}"
    both = one[0] == other[0] and len(one) != len(other)
    return f"{_shown(one[0], base_dir)} is both a file and a database" if both else None


def _shown(place: str, base_dir: Path) -> str:
    path = Path(place)
    return path.relative_to(base_dir).as_posix() if path.is_relative_to(base_dir) else place


def _place_span(item: _Item) -> Span | None:
    found = next((key for key in ("table", "path") if key in item.part.data), "type")
    return item.part.value_span((found,))


def _clash(checked: Checked, last: tuple[_Item, Span | None], first: tuple[_Item, Span | None], message: str) -> None:
    file, span = last[0].part.file, first[1]
    related = ((file, span, f"{first[0].name} is here"),) if span is not None else ()
    help_ = "give each of them a name and a place of its own"
    checked.report(Code.clashing_destinations.at(file, last[1], message, help=help_, related=related))


def _authored(part: Part, item: _Item) -> Iterator[AuthoredStep]:
    if item.where is not None:
        path = (LIST, item.number, "where")
        yield AuthoredStep(f"{STEP}{item.name}.where", _FILTER, path, part.value(path), item.where)


def _deliveries(items: Sequence[_Item]) -> dict[str, str]:
    """Return what each destination promises, by name, as far as it can be told."""
    made: dict[str, str] = {}
    for item in items:
        try:
            made[item.name] = str(item.loader.delivery()) if item.loader is not None else "unknown"
        except EtlctlError:
            made[item.name] = "unknown"
    return made
