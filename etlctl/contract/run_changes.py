"""What a new version of a contract changes for whoever starts it, and in where and how its records arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etlctl.contract.codes import Code
from etlctl.contract.comparing import Comparing
from etlctl.contract.document import PathKey
from etlctl.contract.layout import Part
from etlctl.types import shown

_PLACE = (
    *("type", "table", "schema", "path", "url", "database", "connection_string", "bucket", "prefix", "endpoint"),
    *("format", "compression", "encoding", "delimiter"),
)
_METHOD = ("write_method", "write_mode", "mode", "if_exists")
_SAME_METHOD = {"append": "insert", "overwrite": "replace", None: "its default"}
_LOADING = ("schema_evolution", "create_table", "dead_letters", "replace_guard", "where")
_READING = ("type", "path", "url", "processing_mode", "incremental", "max_records")
_SCHEDULING = ("schedule", "checks")


_Options = tuple[Mapping[str, Any], Mapping[str, Any]]
"""What was written before, and what is now."""


def compare_destinations(both: Comparing) -> None:
    """Report destinations that are gone, somewhere else, or written in another way."""
    old, new = _destinations(both.old.part("load")), _destinations(both.new.part("load"))
    if len(old) == len(new) == 1:
        pairs = [(*next(iter(old.values())), *next(iter(new.values())))]
    else:
        pairs = [(*old[name], *new[name]) for name in old.keys() & new.keys()]
        for name in old.keys() - new.keys():
            both.report(Code.destination_changed, "load", old[name][0], f"destination {name!r} is gone")
        for name in new.keys() - old.keys():
            both.report(Code.destination_added, "load", new[name][0], f"destination {name!r} is new")
    for _, before, path, now in pairs:
        _destination(both, path, before, now)


def _destinations(part: Part | None) -> dict[str, tuple[PathKey, Mapping[str, Any]]]:
    """Return path and raw options of each destination, by name."""
    if part is None:
        return {}
    listed = part.data.get("load")
    if not isinstance(listed, list):
        return {str(part.data.get("type")): ((), part.data)}
    items = {number: item for number, item in enumerate(listed) if isinstance(item, dict)}
    return {
        str(item.get("name") or item.get("table") or item.get("type")): (("load", number), item)
        for number, item in items.items()
    }


def _destination(both: Comparing, path: PathKey, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key in _PLACE:
        if before.get(key) != now.get(key):
            message = f"the records go elsewhere: {key} was {_told(before.get(key))} and is {_told(now.get(key))}"
            both.report(Code.destination_changed, "load", (*path, key), message)
    methods = [_method(options) for options in (before, now)]
    if methods[0][1] != methods[1][1]:
        message = f"records are written in another way: {methods[0][1]} before, {methods[1][1]} now"
        both.report(Code.write_method_changed, "load", (*path, methods[1][0] or methods[0][0] or "type"), message)
    if _listed(before.get("primary_key")) != _listed(now.get("primary_key")):
        told = [", ".join(map(str, _listed(options.get("primary_key")))) or "none" for options in (before, now)]
        message = f"rows are found by another key: {told[0]} before, {told[1]} now"
        both.report(Code.key_changed, "load", (*path, "primary_key"), message)
    _noted(both, "load", path, _LOADING, (before, now))


def _method(options: Mapping[str, Any]) -> tuple[str | None, str]:
    key = next((key for key in _METHOD if options.get(key) is not None), None)
    value = options.get(key) if key is not None else None
    return key, str(_SAME_METHOD.get(value, value))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def compare_parameters(both: Comparing) -> None:
    """Report parameters that callers give and that are gone, or that they do not give and must."""
    old, new = both.old.declared, both.new.declared
    for name in old.keys() - new.keys():
        message = f"parameter {name!r} is gone: a run that is given it is refused"
        both.report(Code.parameter_removed, "extract", ("input_params", name), message)
    for name, now in new.items():
        path, before = ("input_params", name), old.get(name)
        must = now.required and now.default is None
        if before is None:
            if must:
                message = f"parameter {name!r} is new and required: runs as they are started today are refused"
                both.report(Code.parameter_required, "extract", path, message, help="give it a default")
            else:
                both.report(Code.parameter_added, "extract", path, f"parameter {name!r} is new and optional")
            continue
        if must and not (before.required and before.default is None):
            message = f"parameter {name!r} is required now: runs without it are refused"
            both.report(Code.parameter_required, "extract", (*path, "required"), message, help="give it a default")
        if before.type != now.type:
            message = f"parameter {name!r} has another type: {before.type} before, {now.type} now"
            both.report(Code.parameter_type_changed, "extract", (*path, "type"), message)
        if before.default != now.default and not must:
            message = (
                f"parameter {name!r} has another default: {_told(before.default)} before, {_told(now.default)} now"
            )
            both.report(Code.parameter_default_changed, "extract", (*path, "default"), message)


def compare_operation(both: Comparing) -> None:
    """Report what changes in how the contract is run, which neither readers nor callers depend on."""
    for section, keys in (("extract", _READING), ("contract", _SCHEDULING)):
        parts = [checked.part(section) for checked in (both.old, both.new)]
        before, now = (part.data if part is not None else {} for part in parts)
        _noted(both, section, (), keys, (before, now))
    steps = [checked.part("transform") for checked in (both.old, both.new)]
    if _digest(steps[0]) != _digest(steps[1]):
        message = "the steps are others now; see what they do: etlctl preview"
        both.report(Code.operation_changed, "transform", (), message)
    named = both.old.section.name or both.new.section.name
    if named and both.old.name != both.new.name:
        message = f"the contract is called {both.new.name!r} now, and was {both.old.name!r}"
        help_ = "runs, cursors, checkpoints and run keys in the ledger go by the name; set 'name:' to keep it"
        both.report(Code.contract_renamed, "contract", ("name",), message, help=help_)


def _digest(part: Part | None) -> str | None:
    return part.digest() if part is not None else None


def _noted(both: Comparing, section: str, path: PathKey, keys: tuple[str, ...], options: _Options) -> None:
    before, now = options
    for key in keys:
        if before.get(key) != now.get(key):
            message = f"{section}: {key} was {_told(before.get(key))} and is {_told(now.get(key))}"
            both.report(Code.operation_changed, section, (*path, key), message)


def _told(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, dict | list):
        return shown(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
