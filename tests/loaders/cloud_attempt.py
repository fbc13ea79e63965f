"""One attempt of a run against the object store loader, as the engine makes it; run as a program it may be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attempt import batch_of
from etlctl.loaders.cloud_storage import CloudStorage

from etlctl.faults import fault
from etlctl.sdk import CommitToken, WriteContext


async def attempt(given: Mapping[str, Any]) -> dict[str, Any]:
    """Run to the end: go on after the committed batch, publish, close.

    Args:
        given: ``options`` of the loader, ``ctx`` of the writing, ``batches``, ``size``, ``late`` (first batch with one
            more column) and ``close`` (whether to).
    """
    ctx = WriteContext(**{**given["ctx"], "base_dir": Path(given["ctx"]["base_dir"])})
    writer = await CloudStorage(**given["options"]).open(ctx)
    print("open", flush=True)
    token = await writer.committed()
    begun = token.seq if token is not None else 0
    assert token is None or token.seq == 0 or token.position == {"next": token.seq}
    was_finished = token is not None and token.finished
    for seq in range(begun + 1, 0 if was_finished else given["batches"] + 1):
        receipt = await writer.write(batch_of(writer, seq, given["size"], given["late"]))
        assert receipt.records == given["size"]
        account = {"loaded": seq * given["size"]}
        await writer.commit(CommitToken(ctx.stream, ctx.run_id, seq, ctx.fence, {"next": seq}, account))
        fault("load.after_commit")
    published = await writer.finish()
    fault("publish.after")
    if given.get("close", True):
        await writer.close()
    return {"begun": begun, "finished": was_finished, "places": list(published.places), "records": published.records}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(attempt(json.loads(sys.argv[1])))), flush=True)
