"""The conformance kit finds what it is there to find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from etlctl.batch import Batch, Rejection
from etlctl.sdk import (
    Example,
    Extractor,
    FieldSet,
    Loader,
    Operation,
    Published,
    ReadContext,
    Receipt,
    RowSlice,
    StepContext,
    WriteContext,
    Writer,
)
from etlctl.testing import (
    ConformanceError,
    MemoryExtractor,
    MemoryLoader,
    check_component,
    check_extractor,
    check_extractor_class,
    check_loader,
    check_loader_class,
    check_operation,
    check_operation_on,
)


class Upper(Operation):
    """Makes text large."""

    field: str
    """Which field."""

    has_frame: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "One",
            "field: a",
            given=[{"a": "x"}, {"a": None}, {"a": 1}],
            expect=[{"a": "X"}, {"a": None}],
            rejected=("upper",),
        ),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        for position, record in enumerate(rows.records):
            value = record.get(self.field)
            if isinstance(value, str):
                record[self.field] = value.upper()
            elif value is not None:
                rows.reject(position, "upper", "no text", field=self.field)

    def frame(self, plan: Any, ctx: StepContext) -> None:
        import polars as pl

        if self.field in plan.schema:
            plan.with_columns({self.field: (pl.col(self.field).str.to_uppercase(), pl.String())})

    def effect(self, known: FieldSet) -> FieldSet:
        return known


class Wrong(Upper):
    """Says one thing and does another."""

    examples: ClassVar[tuple[Example, ...]] = (Example("One", "field: a", given=[{"a": "x"}], expect=[{"a": "x"}]),)


class FrameDisagrees(Upper):
    """Has a frame form of its own mind."""

    examples: ClassVar[tuple[Example, ...]] = (Example("One", "field: a", given=[{"a": "x"}], expect=[{"a": "X"}]),)

    def frame(self, plan: Any, ctx: StepContext) -> None:
        import polars as pl

        plan.with_columns({self.field: (pl.col(self.field).str.to_lowercase(), pl.String())})


class ChangesSource(Upper):
    """Reaches into nested values."""

    has_frame: ClassVar[bool] = False
    examples: ClassVar[tuple[Example, ...]] = (
        Example("One", "field: a", given=[{"a": {"b": 1}}], expect=[{"a": {"b": 2}}]),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        for record in rows.records:
            record["a"]["b"] += 1


class SeesTheSlice(Upper):
    """Depends on how records are cut."""

    has_frame: ClassVar[bool] = False
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Two", "field: a", given=[{"a": 0}, {"a": 0}], expect=[{"a": 2}, {"a": 2}]),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        for record in rows.records:
            record["a"] = len(rows.records)


class DeniesItsField(Upper):
    """Claims that nothing new comes out."""

    has_frame: ClassVar[bool] = False
    examples: ClassVar[tuple[Example, ...]] = (Example("One", "field: a", given=[{"a": 1}], expect=[{"a": 1, "b": 1}]),)

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        for record in rows.records:
            record["b"] = 1


class DoesNotCompile(Upper):
    """Shows options that do not exist."""

    examples: ClassVar[tuple[Example, ...]] = (Example("One", "feild: a", given=[{"a": "x"}], expect=[{"a": "X"}]),)


class Undocumented(Operation):
    model_config = ConfigDict(frozen=False, extra="allow")

    field: str = ""

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        return


def test_a_good_operation_passes() -> None:
    check_operation(Upper)


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (Wrong, "example 'One' gives other records"),
        (FrameDisagrees, "the frame form gives other records"),
        (ChangesSource, "it changed the source records"),
        (SeesTheSlice, "record by record gives other records"),
        (DeniesItsField, "fields come out that its declared effect denies: ['b']"),
        (DoesNotCompile, "example 'One': E201 line 3: unknown key 'feild'"),
    ],
)
def test_a_bad_operation_is_found_out(cls: type[Operation], problem: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_operation(cls)
    assert problem in str(caught.value)


def test_everything_missing_is_listed_at_once() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_component(Undocumented)
    text = str(caught.value)
    for problem in ("no docstring", "option 'field' is not documented", "no examples", "frozen=True", "extra='forbid'"):
        assert problem in text


def test_laws_can_be_checked_on_records_of_ones_own() -> None:
    check_operation_on(Upper(field="a"), [{"a": "x"}, {"b": 1}])
    with pytest.raises(ConformanceError, match="the frame form gives other records"):
        check_operation_on(FrameDisagrees(field="a"), [{"a": "x"}])


class LosesItsPlace(MemoryExtractor):
    """Resumes one record too late."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example("Three", "records: [{a: 1}, {a: 2}, {a: 3}]\nchunk: 1", expect=[{"a": 1}, {"a": 2}, {"a": 3}]),
    )

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        start = ctx.position["next"] + 1 if ctx.position else 0
        for number in range(start, len(self.records)):
            yield Batch.of_rows([self.records[number]], {"next": number + 1})


class RepeatsRejections(Extractor):
    """Reports a broken record again after resuming."""

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        start = ctx.position["next"] if ctx.position else 0
        rejected = [Rejection(0, "extract", "extract", "broken", "broken", "raw")]
        for number in range(start, 3):
            yield Batch.of_rows([{"a": number}], {"next": number + 1}, rejected=rejected if number == start else ())


class PositionIsNoJson(Extractor):
    """Gives positions that no checkpoint can keep."""

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        yield Batch.of_rows([{"a": 1}], {"next": {1, 2}})


def test_doubles_conform() -> None:
    check_extractor_class(MemoryExtractor)
    check_loader_class(MemoryLoader)


def test_a_lost_place_is_found_out() -> None:
    with pytest.raises(ConformanceError, match=r"resuming after batch 1 at .* gives other records"):
        check_extractor_class(LosesItsPlace)
    with pytest.raises(ConformanceError, match="gives other records"):
        check_extractor(LosesItsPlace(records=[{"a": 1}, {"a": 2}]), ReadContext())


@pytest.mark.parametrize(
    ("extractor", "problem"),
    [(RepeatsRejections(), "rejects otherwise"), (PositionIsNoJson(), "is not JSON")],
    ids=["rejections", "json"],
)
def test_other_broken_positions_are_found_out(extractor: Extractor, problem: str) -> None:
    with pytest.raises(ConformanceError, match=problem):
        check_extractor(extractor, ReadContext())


class Leaky(Loader):
    """Publishes before it is asked to."""

    kept: ClassVar[list[dict[str, Any]]] = []

    async def open(self, ctx: WriteContext) -> Writer:
        return _LeakyWriter(self)


class _LeakyWriter(Writer):
    def __init__(self, loader: Leaky) -> None:
        loader.kept.clear()
        self._kept, self._count = loader.kept, 0

    async def write(self, batch: Batch) -> Receipt:
        self._kept += batch.to_rows()
        self._count += len(batch)
        return Receipt(len(batch))

    async def finish(self) -> Published:
        return Published((), self._count)

    async def abort(self) -> None:
        return


class _MiscountingWriter(_LeakyWriter):
    async def write(self, batch: Batch) -> Receipt:
        await super().write(batch)
        return Receipt(len(batch) - 1)


class Miscounting(Leaky):
    """Loses count."""

    async def open(self, ctx: WriteContext) -> Writer:
        return _MiscountingWriter(self)


def read_memory() -> Iterator[dict[str, Any]]:
    return iter(MemoryLoader.published["kit"])


def test_a_good_loader_passes(tmp_path: Path) -> None:
    check_loader(MemoryLoader(name="kit"), WriteContext(base_dir=tmp_path), read_back=lambda: list(read_memory()))


def test_an_abort_that_leaves_traces_is_found_out() -> None:
    with pytest.raises(ConformanceError, match="after an aborted run the destination holds other records"):
        check_loader(Leaky(), WriteContext(), read_back=lambda: Leaky.kept)


def test_a_receipt_that_miscounts_is_found_out() -> None:
    with pytest.raises(ConformanceError, match="the receipt of batch 1 does not account for every record"):
        check_loader(Miscounting(), WriteContext())
