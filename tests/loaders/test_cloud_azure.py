"""The same loader and extractor against Azurite: conditions, values beside objects, folders, large objects."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from attempt import batch_of, records_of
from etlctl.extractors.cloud_storage import CloudStorage as Source
from etlctl.loaders.cloud_storage import CloudStorage
from loading import as_batch

from etlctl.errors import FencedError, SourceUnavailable
from etlctl.sdk import CommitToken, ReadContext, WriteContext
from etlctl.testing import read_all

# The well-known key of Azurite's only account.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture
def place(azure_server: str) -> dict[str, Any]:
    name = f"test{uuid4().hex}"
    _create_container(azure_server, name)
    access = {"account_name": "devstoreaccount1", "account_key": KEY, "endpoint": azure_server, "allow_http": True}
    return {"url": f"az://{name}/", **access, "max_retries": 1}


def _create_container(server: str, name: str) -> None:
    """Azure has no way to do this in the library of object stores: the request is signed by hand."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
    # The account stands in the path as well as before it: Azurite's addresses have it there.
    text = "PUT" + "\n" * 12 + canonical + f"/devstoreaccount1/devstoreaccount1/{name}\nrestype:container"
    signed = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey devstoreaccount1:{signed}", "Content-Length": "0"}
    connection = http.client.HTTPConnection(server.split("/")[2], timeout=30)
    connection.request("PUT", f"/devstoreaccount1/{name}?restype=container", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


def context(**more: Any) -> WriteContext:
    return WriteContext(
        **{"base_dir": Path(), "run_id": "run_1", "stream": "s", "fence": 1, "commit_interval": 1, **more}
    )


async def put(writer: Any, seq: int, fence: int = 1) -> None:
    await writer.write(batch_of(writer, seq, 5, 3))
    await writer.commit(CommitToken("s", "run_1", seq, fence, {"next": seq}))


@pytest.mark.parametrize("path", ["a/o.jsonl", "a/set/"])
async def test_a_run_is_taken_over_and_ends(place: dict[str, Any], path: str) -> None:
    warnings: list[str] = []
    loader = CloudStorage(**place, path=path, format="jsonl", write_method="append")
    older = await loader.open(context(warn=warnings.append))
    await put(older, 1)
    newer = await loader.open(context(fence=2, resume=True, warn=warnings.append))
    token = await newer.committed()
    assert token is not None
    assert token.seq == 1
    with pytest.raises(FencedError):
        await put(older, 2)
    await older.abort()
    await put(newer, 2, 2)
    await newer.finish()
    again = await loader.open(context(fence=3, resume=True, warn=warnings.append))
    token = await again.committed()
    assert token is not None
    assert token.finished
    await again.finish()
    await again.close()
    assert warnings == []
    reading = await read_all(Source(**place, path="a/**/*.jsonl"), ReadContext(base_dir=Path()))
    assert [one["id"] for one in reading.records] == [one["id"] for seq in (1, 2) for one in records_of(seq, 5, 3)]


async def test_a_large_object_and_what_is_not_there(place: dict[str, Any]) -> None:
    frame = pl.DataFrame({"id": range(200_000), "text": ["x" * 100] * 200_000})
    writer = await CloudStorage(**place, path="big.parquet", parquet_options={"compression": "none"}).open(context())
    await writer.write(as_batch(frame, 1))
    await writer.finish()
    await writer.close()
    reading = await read_all(Source(**place, path="*.parquet"), ReadContext(base_dir=Path()))
    assert pl.DataFrame(reading.records).equals(frame)
    with pytest.raises(SourceUnavailable, match="there is no such bucket or container"):
        await CloudStorage(**{**place, "url": "az://nowhere/x.csv"}).open(context())
    wrong = {**place, "account_key": "d3Jvbmc="}
    with pytest.raises(SourceUnavailable, match=r"does not accept the credentials|access denied"):
        await read_all(Source(**wrong, path="*.parquet"), ReadContext(base_dir=Path()))
