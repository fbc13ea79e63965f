"""The conformance checks of extractors: examples, and the law of positions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from etlctl.batch import Record, Rejection
from etlctl.sdk.component import Example
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor
from etlctl.testing.component import check_component
from etlctl.testing.examples import EXAMPLE_NOW, compile_example, example_folder, type_of
from etlctl.testing.findings import Findings, findings

_POSITIONS = 40
_SMALL_CHUNKS = (1, 64, 1 << 20)


@dataclass(slots=True)
class Reading:
    """Everything one reading gave.

    Attributes:
        records: Records, in order.
        rejected: Rule and raw text of what could not be read, in order.
        places: After each batch: its position, records so far, rejections so far.
    """

    records: list[Record] = field(default_factory=list)
    rejected: list[tuple[str, Any]] = field(default_factory=list)
    places: list[tuple[Any, int, int]] = field(default_factory=list)


def check_extractor(extractor: Extractor, ctx: ReadContext) -> None:
    """Check an extractor on a real source: reading from every yielded position gives exactly what is left.

    Positions are passed through JSON on the way, as the checkpoint does. The source must not change meanwhile.
    Not to be called from a running event loop.

    Raises:
        ConformanceError: A law does not hold; every problem is listed.
    """
    with findings(f"extractor {type_of(type(extractor))!r}") as found:
        asyncio.run(_check_positions(extractor, ctx, "", found))


def check_extractor_class(cls: type[Extractor]) -> None:
    """Check an extractor class by its examples: each must compile, and where it says so give its records.

    An example with ``expect`` is read, in small chunks and in large ones, and must obey the law of positions.

    Raises:
        ConformanceError: Something does not hold; every problem is listed.
    """
    check_component(cls)
    with findings(f"extractor {type_of(cls)!r} ({cls.__name__})") as found:
        for example in cls.examples:
            if example.expect is None:
                continue
            with example_folder(example) as folder:
                contract = compile_example(cls, example, folder, found)
                if contract is None:
                    continue
                ctx = ReadContext(base_dir=folder, now=EXAMPLE_NOW)
                asyncio.run(_check_example(contract.extractor, ctx, example, found))


async def read_all(extractor: Extractor, ctx: ReadContext) -> Reading:
    """Return everything an extractor gives from a position on."""
    reading = Reading()
    async for batch in extractor.read(ctx):
        reading.records += batch.to_rows()
        reading.rejected += [_told(rejection) for rejection in batch.rejected]
        reading.places.append((dict(batch.position), len(reading.records), len(reading.rejected)))
    return reading


def _told(rejection: Rejection) -> tuple[str, Any]:
    return rejection.rule, rejection.raw


async def _check_example(extractor: Extractor, ctx: ReadContext, example: Example, found: Findings) -> None:
    what = f"example {example.title!r}: "
    for size in _SMALL_CHUNKS:
        sized = replace(ctx, chunk_bytes=size)
        reading = await read_all(extractor, sized)
        found.equal(reading.records, list(example.expect), f"{what}it gives other records (chunk_bytes={size})")
        found.equal([rule for rule, _ in reading.rejected], list(example.rejected), f"{what}it rejects otherwise")
        await _check_positions(extractor, sized, what, found)
    types = extractor.fields(str(ctx.base_dir))
    names = {name for record in example.expect for name in record}
    if types is not None:
        found.expect(names <= types.keys(), f"{what}fields() does not tell of {sorted(names - types.keys())}")


async def _check_positions(extractor: Extractor, ctx: ReadContext, what: str, found: Findings) -> None:
    whole = await read_all(extractor, ctx)
    again = await read_all(extractor, ctx)
    found.equal(again.records, whole.records, f"{what}a second reading gives other records")
    for number, (position, records, rejected) in _spread(whole.places):
        try:
            kept = json.loads(json.dumps(position, allow_nan=False))
        except (TypeError, ValueError) as error:
            found.add(f"{what}the position after batch {number} is not JSON: {error}: {position!r}")
            return
        left = await read_all(extractor, replace(ctx, position=kept))
        after = f"{what}resuming after batch {number} at {position!r}"
        found.equal(left.records, whole.records[records:], f"{after} gives other records")
        found.equal(left.rejected, whole.rejected[rejected:], f"{after} rejects otherwise")
        if found.problems:
            return


def _spread(places: Sequence[tuple[Any, int, int]]) -> list[tuple[int, tuple[Any, int, int]]]:
    """Return at most some forty places, spread evenly, first and last among them."""
    step = max(1, len(places) // _POSITIONS)
    numbered = list(enumerate(places, start=1))
    return [*numbered[::step], *numbered[-1:]] if step > 1 else numbered
