"""The check that no two records of a run share the value of a unique field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from etlctl.kit.keys import key_text
from etlctl.quality import Action
from etlctl.sdk import FieldSet, Screening, StepContext, Verdict
from etlctl.types import shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.key_set import KeySet


class UniqueCheck(Screening):
    """Finds records whose value of a unique field was seen before in the run; the first one wins.

    Values are the same as keys are (``etlctl.kit.keys``): 1 and 1.0, but not "1" or true.
    """

    fields: dict[str, Action]
    """Fields whose values must differ from record to record, with what becomes of a record that repeats one; null is not compared."""  # noqa: E501

    remembers: ClassVar[bool] = True

    _seen: dict[str, KeySet] = PrivateAttr(default_factory=dict)

    def fresh(self) -> UniqueCheck:
        """Return a check with an empty memory."""
        return UniqueCheck(fields=self.fields)

    def needs(self) -> tuple[str, ...]:
        """Return the unique fields."""
        return tuple(self.fields)

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Return the records that repeat a value."""
        import polars as pl  # noqa: PLC0415

        texts = {name: [None if each is None else key_text((each,)) for each in columns[name]] for name in self.fields}
        few = {name: {each for each in column if each is not None} for name, column in texts.items()}
        distinct = all(len(few[name]) == len(column) - column.count(None) for name, column in texts.items())
        if distinct and not any(self._memory(name).has_any(keys) for name, keys in few.items()):
            for name, keys in few.items():
                self._memory(name).add_few(keys)
            return []
        series = {name: pl.Series(column, dtype=pl.String) for name, column in texts.items()}
        return self._verdicts(series, lambda name, place: columns[name][place])

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:  # noqa: ARG002
        """Return the records that repeat a value: whole columns go into the memory, only doubtful rows one by one."""
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.keys import key_column  # noqa: PLC0415

        names = [name for name in self.fields if name in frame.columns and frame.schema[name] != pl.Null]
        held = {name: frame.get_column(name).is_not_null() for name in names}
        keys = {name: key_column(frame, [name]) for name in names}
        keys = {name: pl.select(pl.when(held[name]).then(keys[name])).to_series() for name in names}
        return self._verdicts(keys, lambda name, place: frame.get_column(name)[place])

    def _verdicts(self, keys: Mapping[str, pl.Series], value: Callable[[str, int], Any]) -> list[Verdict]:
        """Return the records that repeat a value, and remember the others.

        Args:
            keys: The keys of each field that any record has, null where it has none.
            value: Gives a value, for messages, by field and place.
        """
        import polars as pl  # noqa: PLC0415

        height = max((column.len() for column in keys.values()), default=0)
        known = {name: _known(column, self._memory(name)) for name, column in keys.items()}
        doubtful = pl.repeat(value=False, n=height, eager=True, dtype=pl.Boolean)
        for name, column in keys.items():
            doubtful |= known[name]
            if not column.drop_nulls().is_first_distinct().all():
                doubtful |= column.is_duplicated() & column.is_not_null()
        if not doubtful.any():
            for name, column in keys.items():
                self._memory(name).add_new(column.drop_nulls())
            return []
        places = doubtful.arg_true()
        rows = {name: (keys[name].gather(places).to_list(), known[name].gather(places).to_list()) for name in keys}
        verdicts = self._judge(places.to_list(), rows, value)
        gone = [verdict.position for verdict in verdicts if verdict.leaves]
        for name, column in keys.items():
            stays = column.is_not_null()
            self._memory(name).add(column.filter(stays.scatter(gone, values=False) if gone else stays))
        return verdicts

    def _judge(
        self, places: list[int], rows: Mapping[str, tuple[list[Any], list[bool]]], value: Callable[[str, int], Any]
    ) -> list[Verdict]:
        """Go through the doubtful rows in order; one that leaves is not remembered."""
        fields = [(name, action, *rows[name]) for name, action in self.fields.items() if name in rows]
        passed: dict[str, set[str]] = {name: set() for name in rows}
        verdicts: list[Verdict] = []
        for number, place in enumerate(places):
            for name, action, keys, known in fields:
                if keys[number] is not None and (known[number] or keys[number] in passed[name]):
                    text = f"field {name!r} must be unique: {shown(value(name, place))} was there before"
                    verdicts.append(Verdict(place, "check.unique", text, name, action))
                    if action != "warn":
                        break
            else:
                for name, _, keys, _ in fields:
                    passed[name].add(keys[number])
        return verdicts

    def _memory(self, name: str) -> KeySet:
        from etlctl.kit.key_set import KeySet  # noqa: PLC0415 - loads Polars

        return self._seen.setdefault(name, KeySet())

    def effect(self, known: FieldSet) -> FieldSet:
        """Fields stay as they are."""
        return known


def _known(column: pl.Series, memory: KeySet) -> pl.Series:
    """Return which rows have a key that was there before."""
    import polars as pl  # noqa: PLC0415

    if not column.null_count():
        return memory.known(column)
    held = column.is_not_null().arg_true()
    found = pl.repeat(value=False, n=column.len(), eager=True, dtype=pl.Boolean)
    return found.scatter(held.filter(memory.known(column.gather(held))), values=True) if held.len() else found
