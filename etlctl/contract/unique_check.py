"""The check that no two records of a run share the value of a unique field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from etlctl.quality import Action
from etlctl.sdk import FieldSet, Screening, StepContext, Verdict
from etlctl.types import shown, to_text

if TYPE_CHECKING:
    import polars as pl

Row = tuple[int, Sequence[Any]]
"""Place of a record, and its values of the unique fields."""


class UniqueCheck(Screening):
    """Finds records whose value of a unique field was seen before in the run; the first one wins."""

    fields: dict[str, Action]
    """Fields whose values must differ from record to record, with what becomes of a record that repeats one; null is not compared."""  # noqa: E501

    remembers: ClassVar[bool] = True

    _seen: dict[str, set[Any]] = PrivateAttr(default_factory=dict)

    def fresh(self) -> UniqueCheck:
        """Return a check with an empty memory."""
        return UniqueCheck(fields=self.fields)

    def needs(self) -> tuple[str, ...]:
        """Return the unique fields."""
        return tuple(self.fields)

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Return the records that repeat a value."""
        return self._judge(enumerate(zip(*(columns[name] for name in self.fields), strict=True)))

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:
        """Return the records that repeat a value: whole columns go into the memory, only doubtful rows one by one."""
        import polars as pl  # noqa: PLC0415

        names = [name for name in self.fields if name in frame.columns and frame.schema[name] != pl.Null]
        if any(frame.schema[name].is_nested() or frame.schema[name] == pl.Object for name in names):
            return super().screen_frame(frame, ctx)
        columns = {name: frame.get_column(name) for name in names}
        keys = {name: _keys(column) for name, column in columns.items()}
        distinct = {name: set(values) for name, values in keys.items()}
        memories = {name: self._seen.setdefault(name, set()) for name in names}
        if all(len(distinct[name]) == len(keys[name]) and memories[name].isdisjoint(distinct[name]) for name in names):
            for name in names:
                memories[name] |= distinct[name]
            return []
        doubtful = pl.repeat(value=False, n=frame.height, eager=True)
        for name, column in columns.items():
            doubtful |= _repeated(column, keys[name], memories[name])
        for name, column in columns.items():
            memories[name].update(_keys(column.filter(~doubtful)))
        places = doubtful.arg_true().to_list()
        values = [_values(columns.get(name), doubtful, len(places)) for name in self.fields]
        return self._judge(zip(places, zip(*values, strict=True), strict=True))

    def _judge(self, rows: Any) -> list[Verdict]:
        """Go through rows in order; one that leaves is not remembered."""
        memories = [(name, action, self._seen.setdefault(name, set())) for name, action in self.fields.items()]
        verdicts: list[Verdict] = []
        for position, values in rows:
            keys = [_key(value) for value in values]
            leaves = False
            for (name, action, memory), key, value in zip(memories, keys, values, strict=True):
                if value is not None and key in memory:
                    text = f"field {name!r} must be unique: {shown(value)} was there before"
                    verdicts.append(Verdict(position, "check.unique", text, name, action))
                    leaves = action != "warn"
                    if leaves:
                        break
            if not leaves:
                for (_, _, memory), key in zip(memories, keys, strict=True):
                    memory.add(key)
        return verdicts

    def effect(self, known: FieldSet) -> FieldSet:
        """Fields stay as they are."""
        return known


def _repeated(column: pl.Series, keys: list[Any], memory: set[Any]) -> pl.Series:
    """Return which rows share their value with another row, or with one that was there before."""
    import polars as pl  # noqa: PLC0415

    held = column.is_not_null()
    # Polars sees pairs where Python does not, such as NaN: all of these rows are judged one by one.
    known = pl.Series([key in memory for key in keys], dtype=pl.Boolean)
    return (column.is_duplicated() & held).scatter(held.arg_true().filter(known), values=True)


def _values(column: pl.Series | None, chosen: pl.Series, number: int) -> list[Any]:
    return [None] * number if column is None else column.filter(chosen).to_list()


def _keys(column: pl.Series) -> list[Any]:
    """Return the values of a column as the memory holds them, nulls left out."""
    import polars as pl  # noqa: PLC0415

    values = column.drop_nulls().to_list()
    return [(bool, value) for value in values] if column.dtype == pl.Boolean else values


def _key(value: Any) -> Any:
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, dict | list | tuple):
        return (list, json.dumps(value, sort_keys=True, default=to_text))
    return value
