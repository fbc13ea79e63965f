"""What happens when records and a table have drifted apart: new fields, values of another type, lost fields.

Every difference is reported once per run, whatever is done about it, in whichever batch it appears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from etlctl.errors import FatalError, RecordRejected
from etlctl.frozen import frozen
from etlctl.kit.sql.tables import Column, Table
from etlctl.quality import Drift
from etlctl.types import kind_of, shown

Evolution = Literal["evolve", "freeze", "drop_value", "drop_row"]


class SchemaEvolution(BaseModel):
    """What happens when records and table have drifted apart, kind by kind and field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    new_fields: Evolution = "freeze"
    """What a field without a column does: ``freeze`` stops the run, ``evolve`` adds the column, ``drop_value`` leaves the field out, ``drop_row`` rejects the record."""  # noqa: E501
    changed_types: Evolution = "evolve"
    """What a value does that is not of its column's type: ``evolve`` loads what the column makes of it (one of SQLite takes any value as it is; elsewhere a value that does not fit rejects its record), ``freeze`` stops the run, ``drop_value`` loads null in its place, ``drop_row`` rejects the record."""  # noqa: E501
    fields: dict[str, Evolution] = Field(default_factory=dict)
    """Exceptions by field, for both."""


@frozen
class DriftPolicy:
    """What to do about each kind of drift of each field."""

    new_fields: Evolution = "freeze"
    changed_types: Evolution = "evolve"
    fields: Mapping[str, Evolution] = field(default_factory=dict)

    @classmethod
    def of(cls, option: Evolution | SchemaEvolution) -> DriftPolicy:
        """Return the policy of an option; one word is about new fields."""
        if isinstance(option, SchemaEvolution):
            return cls(option.new_fields, option.changed_types, option.fields)
        return cls(option)

    def for_new(self, name: str) -> Evolution:
        """Return what a field without a column does."""
        return self.fields.get(name, self.new_fields)

    def for_type(self, name: str) -> Evolution:
        """Return what a value of another type does."""
        return self.fields.get(name, self.changed_types)


class DriftWatch:
    """Sees where records and a table differ, and does what the policy says.

    Args:
        destination: The table, for messages.
        policy: What to do.
        report: Told of every difference, once.
        warn: Tells the user of values that are left out.
    """

    def __init__(
        self, destination: str, policy: DriftPolicy, report: Callable[[Drift], None], warn: Callable[[str], None]
    ) -> None:
        self._destination = destination
        self._policy = policy
        self._report = report
        self._warn = warn
        self._told: set[tuple[str, str]] = set()
        self._seen: set[str] = set()

    def saw(self, names: Iterable[str]) -> None:
        """Take note of fields that records have."""
        self._seen.update(name.lower() for name in names)

    def _tell(self, name: str, kind: str, action: str, detail: str) -> bool:
        """Report a difference; tells whether it is a new one."""
        if (name, kind) in self._told:
            return False
        self._told.add((name, kind))
        self._report(Drift(self._destination, name, kind, action, detail))
        return True

    def new_field(self, name: str, values: list[Any], table: Table) -> tuple[Evolution, dict[int, RecordRejected]]:
        """Meet a field that has values and no column; return what to do, and the records that are refused.

        Raises:
            FatalError: The policy is ``freeze``.
        """
        action = self._policy.for_new(name)
        first = next(value for value in values if value is not None)
        new = self._tell(name, "field_added", action, f"{kind_of(first)} values, such as {shown(first)}")
        if action == "freeze":
            raise FatalError(
                f"table {table.name!r} has no column for the field {name!r}",
                help="drop or rename the field, or choose schema_evolution: evolve (add the column), drop_value "
                f"(leave the field out) or drop_row (reject such records); columns: {', '.join(table.names)}",
            )
        if action == "drop_value" and new:
            self._warn(f"table {table.name} has no column for the field {name!r}: its values are left out")
        if action != "drop_row":
            return action, {}
        error = RecordRejected(
            "load.unknown_field", f"table {table.name!r} has no column for the field {name!r}", field=name
        )
        return action, {number: error for number, value in enumerate(values) if value is not None}

    def fitting(
        self, name: str, values: list[Any], kinds: frozenset[type], column: Column
    ) -> tuple[list[Any], dict[int, RecordRejected]]:
        """Return the values of a field for its column, and the records that are refused for values of another type.

        Raises:
            FatalError: There are some, and the policy is ``freeze``.
        """
        if all(map(column.takes_all, kinds)):
            return values, {}
        if self.is_settled(name):
            return values, {}
        whole = not any(map(column.takes_some, kinds))
        odd = [
            number for number, value in enumerate(values) if value is not None and (whole or not column.takes(value))
        ]
        if not odd:
            return values, {}
        action = self.changed(name, values[odd[0]], column)
        if action == "drop_value":
            gone = set(odd)
            return [None if number in gone else value for number, value in enumerate(values)], {}
        if action == "drop_row":
            return values, {number: self.refusal(name, values[number], column) for number in odd}
        return values, {}

    def is_settled(self, name: str) -> bool:
        """Tell whether it does not matter any more that a field has values of another type: they are just loaded."""
        return self._policy.for_type(name) == "evolve" and (name, "type_changed") in self._told

    def changed(self, name: str, value: Any, column: Column) -> Evolution:
        """Meet a value that is not of its column's type; return what to do with such values.

        Raises:
            FatalError: The policy is ``freeze``.
        """
        action = self._policy.for_type(name)
        declared = column.declared or "no type"
        detail = f"{shown(value)} ({kind_of(value)}) in a column of type {declared}"
        new = self._tell(name, "type_changed", action, detail)
        if action == "freeze":
            raise FatalError(
                f"field {name!r} has changed its type: {detail} of table {self._destination!r}",
                help="convert it in transform.yaml, or choose schema_evolution: {changed_types: drop_row} to reject "
                "such records, drop_value to load null, evolve to load them as they are",
            )
        if action == "drop_value" and new:
            self._warn(f"field {name!r} has changed its type: {detail}; such values are left out")
        return action

    def refusal(self, name: str, value: Any, column: Column) -> RecordRejected:
        """Return the refusal of a record for a value that is not of its column's type."""
        declared = column.declared or "no type"
        text = f"field {name!r}: {shown(value)} is {kind_of(value)}, but its column is {declared}"
        return RecordRejected("load.changed_type", text, field=name)

    def lost(self, table: Table | None) -> None:
        """Report columns of a table that was there before which no record had a field for."""
        if table is None or not self._seen:
            return
        for column in table.columns:
            if not (column.generated or table.fills(column)) and column.name.lower() not in self._seen:
                self._tell(column.name, "field_lost", "none", "the table has the column, but no record had the field")
