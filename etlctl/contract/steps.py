"""The transform section as a list of authored steps: map form in its fixed order, list form as written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etlctl.catalog import Catalog, Kind
from etlctl.contract.checked import AuthoredStep
from etlctl.contract.codes import Code
from etlctl.contract.components import Components
from etlctl.contract.document import PathKey
from etlctl.contract.explanations import shown_value
from etlctl.contract.layout import TRANSFORM_KEYS, TRANSFORM_SETTINGS, Part
from etlctl.contract.suggest import closest, did_you_mean, listed
from etlctl.errors import CatalogError

_AFTER = TRANSFORM_KEYS[1:]


def map_place(catalog: Catalog, name: str) -> int | None:
    """Return an operation's place in the map form; None when it has none. A workspace's own operation has none."""
    try:
        entry = catalog.find(Kind.operation, name)
        place = getattr(entry.load(), "map_order", None) if entry.trusted else None
    except CatalogError:
        return None
    return place if isinstance(place, int) else None


def authored_steps(part: Part, components: Components) -> list[AuthoredStep]:
    """Return the steps in the order they run; whatever does not fit is reported, and an unusable step in its place."""
    return _Reader(part, components).steps()


class _Reader:
    def __init__(self, part: Part, components: Components) -> None:
        self._part = part
        self._components = components
        self._catalog = components.catalog

    def steps(self) -> list[AuthoredStep]:
        data = self._part.data
        loose = [key for key in data if key not in (*TRANSFORM_KEYS, *TRANSFORM_SETTINGS)]
        steps = list(self._loose(loose))
        if "transform" in data:
            steps += self._block(data["transform"])
        for key in _AFTER:
            if key in data:
                known = self._known(key, (key,))
                steps.append(AuthoredStep(key, key, (key,), data[key]) if known else self._unusable((key,)))
        return steps

    def _loose(self, keys: list[str]) -> Iterator[AuthoredStep]:
        """Operations at the top level: the older spelling of the map form, alone."""
        found: list[tuple[int, AuthoredStep]] = []
        for key in keys:
            place = map_place(self._catalog, key)
            if place is None:
                self._unknown_top_level(key)
                yield self._unusable((key,))
            elif "transform" in self._part.data:
                yield self._unusable((key,))
                message = f"operation {key!r} stands beside 'transform:', so it is unclear when it runs"
                self._add(Code.mixed_transform, (key,), message, "move it into the 'transform:' block")
            else:
                found.append((place, AuthoredStep(f"transform.{key}", key, (key,), self._part.data[key])))
        for _, step in sorted(found, key=lambda item: item[0]):
            yield step

    def _unknown_top_level(self, key: str) -> None:
        operations = self._catalog.names(Kind.operation)
        if key in operations:
            message = f"operation {key!r} cannot stand at the top level"
            self._add(Code.transform_shape, (key,), message, f"use the list form: transform: [{{{key}: …}}]")
            return
        names = [
            *TRANSFORM_KEYS,
            *TRANSFORM_SETTINGS,
            *(name for name in operations if map_place(self._catalog, name) is not None),
        ]
        self._add(
            Code.unknown_key, (key,), f"unknown key {key!r} in {self._what}", did_you_mean(key, names, kind="keys")
        )

    @property
    def _what(self) -> str:
        return self._part.file.replace("\\", "/").rpartition("/")[2]

    def _block(self, block: Any) -> list[AuthoredStep]:
        if isinstance(block, dict) and block:
            return self._map_form(block)
        if isinstance(block, list) and block:
            return [step for number, item in enumerate(block) for step in self._item(number, item)]
        message = f"'transform' must be a mapping or a list of operations, not {shown_value(block)}"
        help_ = "remove the key when there is nothing to transform" if block in (None, {}, []) else None
        self._add(Code.transform_shape, ("transform",), message, help_)
        return [self._unusable(("transform",))]

    def _map_form(self, block: dict[str, Any]) -> list[AuthoredStep]:
        found: list[tuple[int, AuthoredStep]] = []
        for key, value in block.items():
            path: PathKey = ("transform", key)
            if not self._known(key, path):
                found.append((0, self._unusable(path, key)))
                continue
            place = map_place(self._catalog, key)
            if place is None:
                message = f"operation {key!r} has no place in the fixed order of the map form"
                self._add(Code.transform_shape, path, message, self._instead(key))
                found.append((0, self._unusable(path)))
                continue
            found.append((place, AuthoredStep(f"transform.{key}", key, path, value)))
        return [step for _, step in sorted(found, key=lambda item: item[0])]

    @staticmethod
    def _instead(key: str) -> str:
        listed_form = f"use the list form, where steps run in the order written: transform: [{{{key}: …}}]"
        return f"move '{key}:' to the top level of the file, or {listed_form}" if key in _AFTER else listed_form

    @staticmethod
    def _one_per_item(item: Any) -> str:
        empty = next((key for key, value in item.items() if value is None), None) if isinstance(item, dict) else None
        if empty is not None:
            return f"indent the options of {empty!r} further than {empty!r} itself"
        return "write one '- operation: options' per step"

    def _item(self, number: int, item: Any) -> Iterator[AuthoredStep]:
        path: PathKey = ("transform", number)
        if not isinstance(item, dict) or len(item) != 1:
            what = f"{len(item)} keys: {listed(item)}" if isinstance(item, dict) else shown_value(item)
            message = f"item {number} of the list must be one operation with its options, not {what}"
            self._add(Code.transform_shape, path, message, self._one_per_item(item))
            yield self._unusable(path)
            return
        [(key, value)] = item.items()
        if self._known(key, (*path, key)):
            yield AuthoredStep(f"transform[{number}].{key}", key, (*path, key), value)
        else:
            yield self._unusable(path, key)

    def _unusable(self, path: PathKey, name: str = "") -> AuthoredStep:
        """Return what stands for a step that was reported; its type is the operation that was probably meant."""
        meant = closest(name, self._catalog.names(Kind.operation)) if name else None
        return AuthoredStep("", meant or "", path, None, unusable=True)

    def _known(self, name: str, path: PathKey) -> bool:
        return self._components.entry(Kind.operation, name, self._part, path) is not None

    def _add(self, code: Code, path: PathKey, message: str, help_: str | None) -> None:
        self._components.report(code.at(self._part.file, self._part.key_span(path), message, help=help_))
