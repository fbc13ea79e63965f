"""What the tests of the ``database`` extractor share: reading everything, or up to somewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from etlctl.extractors.database import Database

from etlctl.batch import Batch, Record
from etlctl.sdk import ReadContext


def read(options: dict[str, Any], after: Callable[[int], None] | None = None, **ctx: Any) -> list[Batch]:
    """Return all batches; ``after`` is told when so many were read."""

    async def all_of_it() -> list[Batch]:
        found = []
        async with aclosing(Database(**options).read(ReadContext(**ctx))) as batches:
            async for batch in batches:
                found.append(batch)
                if after is not None:
                    await asyncio.to_thread(after, len(found))
        return found

    return asyncio.run(all_of_it())


def records(options: dict[str, Any], **ctx: Any) -> list[Record]:
    """Return all records."""
    return [record for batch in read(options, **ctx) for record in batch.to_rows()]


def rest_after_failure(
    options: dict[str, Any], after: Callable[[int], None], **ctx: Any
) -> tuple[list[Record], Exception]:
    """Read until it fails, then on from the last position; return all records and what was raised."""
    found: list[Batch] = []

    async def until_it_fails() -> Exception:
        try:
            async with aclosing(Database(**options).read(ReadContext(**ctx))) as batches:
                async for batch in batches:
                    found.append(batch)
                    await asyncio.to_thread(after, len(found))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error
        raise AssertionError("it did not fail")

    error = asyncio.run(until_it_fails())
    rest = read(options, position=found[-1].position, **ctx)
    return [record for batch in [*found, *rest] for record in batch.to_rows()], error


def workspace(
    folder: Path, extract: str, load: str = "type: sqlite\npath: out.db\ntable: out\ncreate_table: true\n"
) -> Path:
    """Write a contract; return its folder."""
    contract = folder / "contracts" / "job"
    contract.mkdir(parents=True)
    (folder / "etlctl.yaml").write_text("name: t\n")
    (contract / "extract.yaml").write_text(f"type: database\n{extract}")
    (contract / "load.yaml").write_text(load)
    return contract
