"""Reads an HTTP source the way the engine does, for tests."""

from __future__ import annotations

import json
from typing import Any

from etlctl.extractors.http import Http

from etlctl.batch import Batch
from etlctl.errors import EtlctlError
from etlctl.sdk import ReadContext


async def batches(source: Http, position: Any = None, **context: Any) -> list[Batch]:
    """Return the batches of a source from a position on."""
    ctx = ReadContext(position=position, **context)
    return [batch async for batch in source.read(ctx)]


async def records(source: Http, position: Any = None, **context: Any) -> list[dict[str, Any]]:
    """Return the records of a source from a position on."""
    return [record for batch in await batches(source, position, **context) for record in batch.to_rows()]


async def read_until_it_fails(source: Http, **context: Any) -> tuple[list[dict[str, Any]], Any, EtlctlError]:
    """Return the records before a failure, the position reached (None: the beginning), and the failure."""
    found: list[dict[str, Any]] = []
    position = None
    try:
        async for batch in source.read(ReadContext(**{"batch_size": 1, **context})):
            found += batch.to_rows()
            position = json.loads(json.dumps(dict(batch.position)))
    except EtlctlError as error:
        return found, position, error
    raise AssertionError("it did not fail")
