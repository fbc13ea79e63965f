"""What happens when records and a table have drifted apart: new fields, values of another type, lost fields.

Every difference is reported once per run, whatever is done about it, in whichever batch it appears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from etlctl.errors import FatalError, RecordRejected
from etlctl.frozen import frozen
from etlctl.kit.sql.sqlite_table import Column, Table
from etlctl.kit.sql.sqlite_values import is_number_text
from etlctl.quality import Drift
from etlctl.types import kind_of, shown

Evolution = Literal["evolve", "freeze", "drop_value", "drop_row"]

_AS_TEXT = (str, Decimal, datetime, date, time, timedelta, dict, list, tuple, UUID)
_NUMERIC = frozenset({"INTEGER", "REAL", "NUMERIC"})


class SchemaEvolution(BaseModel):
    """What happens when records and table have drifted apart, kind by kind and field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    new_fields: Evolution = "freeze"
    """What a field without a column does: ``freeze`` stops the run, ``evolve`` adds the column, ``drop_value`` leaves the field out, ``drop_row`` rejects the record."""  # noqa: E501
    changed_types: Evolution = "evolve"
    """What a value does that is not of its column's type: ``evolve`` keeps it as it is (a column of SQLite takes any value), ``freeze`` stops the run, ``drop_value`` loads null in its place, ``drop_row`` rejects the record."""  # noqa: E501
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
        if all(_fits_always(kind, column.affinity) for kind in kinds):
            return values, {}
        action = self._policy.for_type(name)
        if action == "evolve" and (name, "type_changed") in self._told:
            return values, {}
        whole = not any(_may_fit(kind, column.affinity) for kind in kinds)
        odd = [
            number for number, value in enumerate(values) if value is not None and (whole or not _fits(value, column))
        ]
        if not odd:
            return values, {}
        declared = column.declared or "no type"
        detail = f"{shown(values[odd[0]])} ({kind_of(values[odd[0]])}) in a column of type {declared}"
        new = self._tell(name, "type_changed", action, detail)
        if action == "freeze":
            raise FatalError(
                f"field {name!r} has changed its type: {detail} of table {self._destination!r}",
                help="convert it in transform.yaml, or choose schema_evolution: {changed_types: drop_row} to reject "
                "such records, drop_value to load null, evolve to load them as they are",
            )
        if action == "drop_value":
            if new:
                self._warn(f"field {name!r} has changed its type: {detail}; such values are left out")
            gone = set(odd)
            return [None if number in gone else value for number, value in enumerate(values)], {}
        if action == "drop_row":
            return values, {number: self._refusal(name, values[number], declared) for number in odd}
        return values, {}

    def _refusal(self, name: str, value: Any, declared: str) -> RecordRejected:
        text = f"field {name!r}: {shown(value)} is {kind_of(value)}, but its column is {declared}"
        return RecordRejected("load.changed_type", text, field=name)

    def lost(self, table: Table | None) -> None:
        """Report columns of a table that was there before which no record had a field for."""
        if table is None or not self._seen:
            return
        for column in table.columns:
            own = column.generated or column.default is not None or column.name == table.row_id
            if not own and column.name.lower() not in self._seen:
                self._tell(column.name, "field_lost", "none", "the table has the column, but no record had the field")


def _fits_always(kind: type, affinity: str) -> bool:
    """Tell whether every value of a Python type is at home in a column."""
    if affinity == "BLOB":
        return True
    if affinity == "TEXT":
        return issubclass(kind, _AS_TEXT)
    if affinity == "REAL":
        return kind in {int, float}
    return kind in {int, bool} or (affinity == "NUMERIC" and kind in {float, Decimal})


def _may_fit(kind: type, affinity: str) -> bool:
    """Tell whether some values of a Python type are: whole floats among integers, texts that are numbers."""
    return _fits_always(kind, affinity) or (affinity in _NUMERIC and kind in {float, str, Decimal})


def _fits(value: Any, column: Column) -> bool:
    kind = type(value)
    if isinstance(value, float) and column.affinity == "INTEGER":
        return value.is_integer()
    if isinstance(value, str) and column.affinity in _NUMERIC:
        return is_number_text(value)
    return _fits_always(kind, column.affinity) or isinstance(value, Decimal)
