"""How two records differ, field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from etlctl.frozen import frozen

Same = Callable[[Any, Any], bool]
"""Tells whether the value before is the value after."""


class Change(StrEnum):
    """What happened to a field."""

    added = "added"
    changed = "changed"
    removed = "removed"


@frozen
class FieldChange:
    """A field that is not what it was.

    Attributes:
        field: Its name; dotted below an object, with ``[n]`` in a list.
        change: What happened to it.
        before: Its value before; None when it was added.
        after: Its value now; None when it was removed.
    """

    field: str
    change: Change
    before: Any
    after: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain values."""
        sides = {"before": self.before, "after": self.after}
        if self.change is Change.added:
            del sides["before"]
        elif self.change is Change.removed:
            del sides["after"]
        return {"field": self.field, "change": self.change.value, **sides}


def exactly(before: Any, after: Any) -> bool:
    """Tell whether two values are equal and of one type: 1, 1.0 and True are three values, and NaN is NaN."""
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(exactly(before[name], after[name]) for name in before)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(exactly, before, after))
    return bool(before == after or (before != before and after != after))  # noqa: PLR0124


def field_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], same: Same = exactly, *, null_is_missing: bool = False
) -> list[FieldChange]:
    """Return what differs between two records, in the order of their fields.

    Objects are compared field by field, lists of one length item by item.

    Args:
        before: The one record.
        after: The other one.
        same: When a value counts as unchanged.
        null_is_missing: A field without a value is as good as none.
    """
    return list(_changes(before, after, same, "", null_is_missing=null_is_missing))


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any], same: Same, prefix: str, *, null_is_missing: bool
) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*before, *after)):
        field = f"{prefix}{name}"
        there, here = name in before, name in after
        if null_is_missing:
            there, here = before.get(name) is not None, after.get(name) is not None
        if there and here:
            yield from _value(field, before[name], after[name], same, null_is_missing=null_is_missing)
        elif there:
            yield FieldChange(field, Change.removed, before[name], None)
        elif here:
            yield FieldChange(field, Change.added, None, after[name])


def _value(field: str, before: Any, after: Any, same: Same, *, null_is_missing: bool) -> Iterator[FieldChange]:
    if same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _changes(before, after, same, f"{field}.", null_is_missing=null_is_missing)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _value(f"{field}[{number}]", *pair, same, null_is_missing=null_is_missing)
    else:
        yield FieldChange(field, Change.changed, before, after)
