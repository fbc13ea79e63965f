"""Operation ``dedupe``: keep one of several records with the same key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from etlctl.kit.keys import key_text
from etlctl.sdk import Example, FatalError, FieldSet, RowSlice, Scope, Screening, StepContext, Verdict
from etlctl.types import shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.key_set import KeySet

_MIB = 1 << 20


def _several(by: Any) -> Any:
    return () if by is None else (by,) if isinstance(by, str) else by


class Dedupe(Screening):
    """Keeps one of several records with the same key: the first, or the last.

    The key is one field, several together, or the whole record when none is named. Values are the same when they are
    of one kind and equal: 1 and 1.0 are, 1 and "1" are not; null and missing are. A record whose key fields are all
    null has no key and is kept. The others are dropped, or rejected (``dedupe.duplicate``) by ``on_duplicate``.

    By default the whole run is looked at, exactly and in bounded memory: a million keys take about 25 MB (24 bytes
    each, and from the 13th on those of their text), and past ``memory_mb`` they go to a temporary file. A resumed
    run is shown the records before its checkpoint again. ``keep: last`` has to see every record before it can give
    any: it needs ``processing_mode: full``, or ``within: batch``.
    """

    by: Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | tuple[str, ...] | None)] = (
        Field(default=(), strict=False)
    )
    """Field or fields that make the key; the whole record when left out."""
    keep: Literal["first", "last"] = "first"
    """Which of the records with the same key stays."""
    within: Literal["run", "batch"] = "run"
    """Where duplicates are looked for: in the whole run, or in each batch by itself (in full mode that is the same)."""
    on_duplicate: Literal["drop", "reject"] = "drop"
    """What happens to the others: they are dropped and count as filtered, or rejected to the dead letters."""
    memory_mb: int = Field(default=256, ge=1)
    """MiB of keys to hold in memory; more go to a temporary file."""

    has_frame: ClassVar[bool] = True
    shorthand: ClassVar[str | None] = "by"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "One record per id: the first",
            "id",
            given=[{"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": 1, "n": 3}, {"id": "1", "n": 4}, {"n": 5}, {"n": 6}],
            expect=[{"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": "1", "n": 4}, {"n": 5}, {"n": 6}],
        ),
        Example(
            "The last of each pair of fields",
            "{by: [shop, id], keep: last}",
            given=[{"shop": "a", "id": 1, "n": 1}, {"shop": "b", "id": 1, "n": 2}, {"shop": "a", "id": 1, "n": 3}],
            expect=[{"shop": "b", "id": 1, "n": 2}, {"shop": "a", "id": 1, "n": 3}],
        ),
        Example(
            "Whole records, and duplicates go to the dead letters",
            "{on_duplicate: reject}",
            given=[{"a": 1}, {"a": 1, "b": None}, {"a": 2}],
            expect=[{"a": 1}, {"a": 2}],
            rejected=("dedupe.duplicate",),
        ),
    )

    _seen: KeySet | None = PrivateAttr(default=None)

    @property
    def scope(self) -> Scope:
        """The whole batch, unless the first of each key in the run is kept."""
        return Scope.record if self._in_turn else Scope.batch

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Keys of the run are remembered, unless everything is seen at once."""
        return self._in_turn

    @property
    def by_batch(self) -> bool:
        """The contract says itself that each batch is looked at alone."""
        return self.within == "batch"

    @property
    def _in_turn(self) -> bool:
        return self.keep == "first" and self.within == "run"

    def fresh(self) -> Dedupe:
        """Return the operation without a memory."""
        return self.remade(_seen=None)

    async def prepare(self, ctx: StepContext) -> None:
        """Refuse to look for the last record of a run that is seen batch by batch."""
        if self.keep == "last" and self.within == "run" and not ctx.whole:
            raise FatalError(
                "dedupe cannot keep the last record of the run while the run goes batch by batch",
                help="set processing_mode: full in extract.yaml, or within: batch, or keep: first",
            )

    def needs(self) -> tuple[str, ...]:
        """Return the fields that make the key."""
        return self.by

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Return the duplicates among records given by column."""
        values = list(zip(*(columns[name] for name in self.by), strict=True))
        return self._verdicts([key_text(each) if any(v is not None for v in each) else None for each in values], values)

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Take out the duplicates of a slice of records, or of a whole batch."""
        if self.by:
            values: list[Any] = [tuple([record.get(name) for name in self.by]) for record in rows.records]
            keys = [key_text(each) if any(v is not None for v in each) else None for each in values]
        else:
            values, keys = [], [key_text((record,)) for record in rows.records]
        for verdict in self._verdicts(keys, values):
            if verdict.rule is None:
                rows.drop(verdict.position)
            else:
                rows.reject(verdict.position, verdict.rule, verdict.message, field=verdict.field)

    def sift(self, frame: pl.DataFrame) -> pl.Series | None:
        """Return which rows of a frame stay, unless the others are rejected."""
        return self._stays(self._keys(frame)) if self.on_duplicate == "drop" else None

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:  # noqa: ARG002
        """Return the duplicates among the rows of a frame."""
        held = [frame.get_column(name) if name in frame.columns else None for name in self.by]
        return [
            self._refusal(position, [column[position] if column is not None else None for column in held])
            for position in (~self._stays(self._keys(frame))).arg_true().to_list()
        ]

    def _keys(self, frame: pl.DataFrame) -> pl.Series:
        """Return the key of each row as text, null where there is none."""
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.keys import key_column, record_column  # noqa: PLC0415

        if not self.by:
            return record_column(frame)
        keys = key_column(frame, self.by)
        nulls = [frame.get_column(name).null_count() for name in self.by if name in frame.columns]
        if nulls and not all(nulls):  # some column has a value in every row
            return keys
        empty = keys == key_text([None] * len(self.by))
        return pl.select(pl.when(~empty).then(keys)).to_series()

    def _verdicts(self, keys: Sequence[str | None], values: list[Any]) -> list[Verdict]:
        """Return the records to take out, by their keys; null is no key."""
        import polars as pl  # noqa: PLC0415

        out = (~self._stays(pl.Series(keys, dtype=pl.String))).arg_true().to_list()
        if self.on_duplicate == "drop":
            return [Verdict(position, None) for position in out]
        return [self._refusal(position, values[position] if values else ()) for position in out]

    def _stays(self, keys: pl.Series) -> pl.Series:
        """Return which of the keys stay; null is no key, and stays."""
        import polars as pl  # noqa: PLC0415

        if not keys.null_count():
            return self._distinct(keys)
        keyed = keys.is_not_null().arg_true()
        stays = pl.repeat(value=True, n=keys.len(), eager=True, dtype=pl.Boolean)
        return stays.scatter(keyed, self._distinct(keys.gather(keyed))) if keyed.len() else stays

    def _distinct(self, keys: pl.Series) -> pl.Series:
        if self.keep == "last":
            return keys.is_last_distinct()
        if self.within == "batch":
            return keys.is_first_distinct()
        if self._seen is None:
            from etlctl.kit.key_set import KeySet  # noqa: PLC0415

            self._seen = KeySet(self.memory_mb * _MIB)
        return self._seen.add(keys)

    def _refusal(self, position: int, values: Sequence[Any]) -> Verdict:
        other = "comes before it" if self.keep == "first" else "comes after it"
        if not self.by:
            return Verdict(position, "dedupe.duplicate", f"the same record {other}")
        pairs = ", ".join(f"{name} {shown(value)}" for name, value in zip(self.by, values, strict=True))
        field = self.by[0] if len(self.by) == 1 else None
        return Verdict(position, "dedupe.duplicate", f"a record of the same key ({pairs}) {other}", field)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields stay; those of the key must exist."""
        for number, name in enumerate(self.by):
            known = known.require(name, ("by", number))
        return known
