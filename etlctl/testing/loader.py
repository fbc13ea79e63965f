"""The conformance checks of loaders: examples, receipts that add up, and an abort that leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from etlctl.batch import Batch, Record, rows_to_frame
from etlctl.errors import ConversionError
from etlctl.ids import new_id
from etlctl.kit.compression import compression_of, decompress
from etlctl.sdk.component import Example
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import CommitToken, Delivery, Loader, Published
from etlctl.testing.component import check_component
from etlctl.testing.examples import EXAMPLE_NOW, compile_example, example_folder, type_of
from etlctl.testing.findings import Findings, findings

SAMPLE: tuple[Record, ...] = tuple(
    {"id": number, "name": f"name {number}", "score": number / 4} for number in range(10)
)
"""Records to load when a test brings none."""
_BATCH = 4

ReadBack = Callable[[], Sequence[Record]]


def check_loader(
    loader: Loader, ctx: WriteContext, *, records: Sequence[Record] = SAMPLE, read_back: ReadBack | None = None
) -> None:
    """Check a loader on a real, empty destination.

    What is written in batches must be published once, as rows and as frames; the counts of receipts and of the
    publication must add up; an aborted run must leave the published records as they were.
    Not to be called from a running event loop.

    Args:
        loader: The loader; its destination must be empty, and it must replace what is there.
        ctx: The context to open it with.
        records: What to write.
        read_back: Returns the records the destination holds now, in any order; without it contents are not compared.

    Raises:
        ConformanceError: A law does not hold; every problem is listed.
    """
    with findings(f"loader {type_of(type(loader))!r}") as found:
        found.expect(isinstance(loader.delivery(), Delivery), "delivery() must return a Delivery")
        for form in (Batch.of_rows, _as_frame):
            published = asyncio.run(_load(loader, ctx, records, form, found))
            found.equal(published.records, len(records), "the publication counts other records")
            _compare(read_back, records, "after finish()", found)
        asyncio.run(_abort(loader, ctx, records[: len(records) // 2]))
        _compare(read_back, records, "after an aborted run", found)


def check_loader_class(cls: type[Loader]) -> None:
    """Check a loader class by its examples: each must compile, and with ``given`` records load them.

    ``expect`` may be a mapping of file names to text, for loaders that write files.

    Raises:
        ConformanceError: Something does not hold; every problem is listed.
    """
    check_component(cls)
    with findings(f"loader {type_of(cls)!r} ({cls.__name__})") as found:
        for example in cls.examples:
            if example.given is None or isinstance(example.given, Mapping):
                continue
            with example_folder(example) as folder:
                contract = compile_example(cls, example, folder, found)
                if contract is not None:
                    _check_example(contract.loader, example, folder, found)


def _check_example(loader: Loader, example: Example, folder: Path, found: Findings) -> None:
    what = f"example {example.title!r}"
    ctx = WriteContext(base_dir=folder, now=EXAMPLE_NOW)
    published = asyncio.run(_load(loader, ctx, example.given, Batch.of_rows, found))
    found.equal(published.records, len(example.given), f"{what}: the publication counts other records")
    if isinstance(example.expect, Mapping):
        for name, text in example.expect.items():
            found.equal(_content(folder / name), text, f"{what}: {name} holds something else")


def _content(path: Path) -> str | None:
    """Return the text of a file, decompressed by its suffix; None when there is no file."""
    if not path.is_file():
        return None
    with decompress(path.open("rb"), compression_of(path.name, "auto"), path.name) as stream:
        return stream.read().decode("utf-8")


def _as_frame(records: list[Record], position: Mapping[str, object]) -> Batch:
    try:
        return Batch.of_frame(rows_to_frame(records), position)
    except ConversionError:
        return Batch.of_rows(records, position)


async def _load(
    loader: Loader,
    ctx: WriteContext,
    records: Sequence[Record],
    form: Callable[[list[Record], Mapping[str, object]], Batch],
    found: Findings,
) -> Published:
    ctx = _as_a_run(ctx)
    writer = await loader.open(ctx)
    found.equal(await writer.committed(), None, "a stream that never ran has a commit token")
    for seq, start in enumerate(range(0, len(records), _BATCH), start=1):
        batch = form([dict(record) for record in records[start : start + _BATCH]], {"next": start + _BATCH})
        batch.seq = seq
        receipt = await writer.write(batch)
        taken = receipt.records + len(receipt.rejected)
        found.equal(taken, len(batch), f"the receipt of batch {seq} does not account for every record")
        token = CommitToken(ctx.stream, ctx.run_id, seq, ctx.fence, {"next": start + _BATCH})
        if await writer.commit(token) and writer.keeps_tokens:
            held = await writer.committed()
            found.equal(held and (held.run, held.seq, held.position), (token.run, seq, token.position), "the token")
    published = await writer.finish()
    await writer.close()
    return published


def _as_a_run(ctx: WriteContext) -> WriteContext:
    """Return the context of a run of its own: loaders keep a token for each stream."""
    run = new_id("run")
    return replace(ctx, run_id=run, stream=f"{ctx.stream or 'conformance'}:{run}")


async def _abort(loader: Loader, ctx: WriteContext, records: Sequence[Record]) -> None:
    writer = await loader.open(_as_a_run(ctx))
    await writer.committed()
    batch = Batch.of_rows([dict(record) for record in records], {"next": len(records)})
    batch.seq = 1
    await writer.write(batch)
    await writer.abort()


def _compare(read_back: ReadBack | None, records: Sequence[Record], when: str, found: Findings) -> None:
    if read_back is None:
        return
    held = sorted(repr(sorted(record.items())) for record in read_back())
    wanted = sorted(repr(sorted(record.items())) for record in records)
    found.equal(held, wanted, f"{when} the destination holds other records")
