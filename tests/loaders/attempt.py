"""One attempt of a run against the file loader, as the engine makes it; run as a program it may be killed.

Batch ``n`` has the records ``(n - 1) * size … n * size - 1``; rows, frames and encoded rows take turns.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from etlctl.loaders.file import File

from etlctl.batch import Batch
from etlctl.faults import fault
from etlctl.sdk import CommitToken, WriteContext, Writer


def records_of(seq: int, size: int, late: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range((seq - 1) * size, seq * size):
        record: dict[str, Any] = {"id": number, "text": f"text, {number} é", "ratio": number / 4}
        if seq >= late:
            record["late"] = f"came later {number}"
        made.append(record)
    return made


def batch_of(writer: Writer, seq: int, size: int, late: int) -> Batch:
    records, encoder = records_of(seq, size, late), writer.encoder()
    if seq % 3 == 0:
        batch = Batch.of_frame(pl.DataFrame(records), {"next": seq})
    elif seq % 3 == 1 or encoder is None:
        batch = Batch.of_rows(records, {"next": seq})
    else:
        batch = Batch(None, None, {"next": seq}, encoded=[encoder(records[:2]), encoder(records[2:])])
    batch.seq = seq
    return batch


async def attempt(given: Mapping[str, Any]) -> dict[str, Any]:
    """Run to the end: go on after the committed batch, publish, close.

    Args:
        given: ``options`` of the loader, ``ctx`` of the writing, ``batches``, ``size``, ``late`` (first batch with one
            more column) and ``close`` (whether to).
    """
    ctx = WriteContext(**{**given["ctx"], "base_dir": Path(given["ctx"]["base_dir"])})
    writer = await File(**given["options"]).open(ctx)
    print("open", flush=True)
    token = await writer.committed()
    begun = token.seq if token is not None else 0
    assert token is None or token.seq == 0 or token.position == {"next": token.seq}
    was_finished = token is not None and token.finished
    for seq in range(begun + 1, 0 if was_finished else given["batches"] + 1):
        receipt = await writer.write(batch_of(writer, seq, given["size"], given["late"]))
        assert receipt.records == given["size"]
        account = {"loaded": seq * given["size"]}
        token = CommitToken(ctx.stream, ctx.run_id, seq, ctx.fence, {"next": seq}, account)
        await writer.commit(token)
        fault("load.after_commit")
    published = await writer.finish()
    fault("publish.after")
    if given.get("close", True):
        await writer.close()
    return {"begun": begun, "finished": was_finished, "places": list(published.places), "records": published.records}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(attempt(json.loads(sys.argv[1])))), flush=True)
