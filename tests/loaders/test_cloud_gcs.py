"""Google Cloud Storage has no server to test with: the S3 server behind a proxy that speaks its headers stands in.

What object stores of both kinds are asked for differs in the headers of conditions (generations), values and copies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from attempt import batch_of, records_of
from etlctl.extractors.cloud_storage import CloudStorage as Source
from etlctl.loaders.cloud_storage import CloudStorage
from loading import as_batch
from s3_proxy import s3_proxy

from etlctl.errors import FencedError
from etlctl.sdk import CommitToken, ReadContext, WriteContext
from etlctl.testing import read_all

SIGNED = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=s"


@pytest.fixture
def place(s3_server: str, s3_bucket: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    etags: dict[str, str] = {}

    def generation(etag: str) -> str:
        number = str(int(etag.strip('"').replace("-", "")[:14], 16))
        etags[number] = etag
        return number

    def ask(headers: dict[str, str]) -> dict[str, str]:
        made = {}
        for name, value in headers.items():
            if name.lower() == "x-goog-if-generation-match":
                condition = ("If-None-Match", "*") if value == "0" else ("If-Match", etags.get(value, '"gone"'))
                made[condition[0]] = condition[1]
            else:
                made[name.lower().replace("x-goog-", "x-amz-")] = value
        return {**made, "authorization": SIGNED}

    def answer(headers: dict[str, str]) -> dict[str, str]:
        made = {name.lower().replace("x-amz-", "x-goog-"): value for name, value in headers.items()}
        return {**made, "x-goog-generation": generation(made["etag"])} if "etag" in made else made

    with s3_proxy(s3_server) as proxy:
        proxy.ask, proxy.answer = ask, answer
        account = tmp_path / "account.json"
        nothing = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        account.write_text(json.dumps({**nothing, "gcs_base_url": proxy.url, "disable_oauth": True}))
        more = {"service_account_path": str(account), "allow_http": True, "max_retries": 1}
        yield {"url": f"gs://{s3_bucket}/", **more}


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
    again = await loader.open(context(fence=3, resume=True))
    token = await again.committed()
    assert token is not None
    assert token.finished
    await again.close()
    assert warnings == []
    reading = await read_all(Source(**place, path="a/**/*.jsonl"), ReadContext(base_dir=Path()))
    assert [one["id"] for one in reading.records] == [one["id"] for seq in (1, 2) for one in records_of(seq, 5, 3)]


async def test_a_large_object(place: dict[str, Any]) -> None:
    frame = pl.DataFrame({"id": range(200_000), "text": ["x" * 100] * 200_000})
    writer = await CloudStorage(**place, path="big.parquet", parquet_options={"compression": "none"}).open(context())
    await writer.write(as_batch(frame, 1))
    await writer.finish()
    await writer.close()
    reading = await read_all(Source(**place, path="*.parquet"), ReadContext(base_dir=Path()))
    assert pl.DataFrame(reading.records).equals(frame)
