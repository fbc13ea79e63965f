"""Reading objects from a server that speaks S3: patterns, formats, positions, broken answers, memory, errors."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from etlctl.extractors.cloud_storage import CloudStorage
from pydantic import ValidationError
from s3_proxy import s3_proxy
from s3_shelf import Shelf

from etlctl.errors import FatalError, RetryableError, SourceUnavailable
from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor, read_all


@pytest.fixture
def shelf(s3_server: str, s3_bucket: str) -> Shelf:
    return Shelf(s3_server, s3_bucket)


def source(shelf: Shelf, path: Any = None, **more: Any) -> CloudStorage:
    return CloudStorage(**{**shelf.options, **({"path": path} if path else {}), **more})


async def read(shelf: Shelf, path: Any = None, *, position: Any = None, warn: Any = None, **more: Any) -> list[Any]:
    ctx = ReadContext(base_dir=Path(), position=position, warn=warn or (lambda _text: None))
    return (await read_all(source(shelf, path, **more), ctx)).records


def line(number: int) -> bytes:
    return json.dumps({"n": number}).encode() + b"\n"


# --- which objects -----------------------------------------------------------------------------------------------


TREE = ["a.jsonl", "b/1.jsonl", "b/2.jsonl", "b/c/3.jsonl", "b/.hidden/4.jsonl", ".b.etlctl/5.jsonl", "bb/6.jsonl"]
PATTERNS = [
    ("b/1.jsonl", [1]),
    ("b/*.jsonl", [1, 2]),
    ("b/[2-9].jsonl", [2]),
    ("b*/?.jsonl", [1, 2, 6]),
    ("b/**/*.jsonl", [1, 2, 3]),
    ("**", [0, 1, 2, 3, 6]),
    (["bb/6.jsonl", "b/*"], [6, 1, 2]),
    (None, [0, 1, 2, 3, 6]),
]


@pytest.mark.parametrize(("pattern", "found"), PATTERNS, ids=[str(pattern) for pattern, _ in PATTERNS])
async def test_patterns(shelf: Shelf, pattern: Any, found: list[int]) -> None:
    for number, key in enumerate(TREE):
        shelf.put(key, line(number))
    assert [one["n"] for one in await read(shelf, pattern)] == found
    if isinstance(pattern, str):
        url = {"url": f"s3://{shelf.bucket}/", "provider": None, "bucket": None}
        assert [one["n"] for one in await read(shelf, pattern, **url)] == found


async def test_only_what_a_pattern_can_match_is_listed(shelf: Shelf) -> None:
    for key in ("x/y/day=1/a.jsonl", "x/y/day=2/b.jsonl", "x/z/day=1/c.jsonl", "other/d.jsonl"):
        shelf.put(key, line(1))
    with s3_proxy(shelf.server) as proxy:
        assert len(await read(shelf, "x/y/*/*.jsonl", endpoint=proxy.url)) == 2
        listed = {path.split("prefix=")[1].split("&")[0] for _, path in proxy.requests if "prefix=" in path}
    assert listed == {"x%2Fy%2F", "x%2Fy%2Fday%3D1%2F", "x%2Fy%2Fday%3D2%2F"}


async def test_long_listings_and_odd_keys(shelf: Shelf) -> None:
    keys = [f"many/{number:04}.jsonl" for number in range(1_001)]
    with_threads = [asyncio.to_thread(shelf.put, key, b"") for key in keys[1:]]
    shelf.put(keys[0], line(0))
    await asyncio.gather(*with_threads)
    assert len(await read(shelf, "many/*.jsonl")) == 1
    for number, key in enumerate(("odd/a b%2Fc=é+&.jsonl", "odd/[x].jsonl")):
        shelf.put(key, line(number))
    assert [one["n"] for one in await read(shelf, "odd/*")] == [1, 0]
    assert [one["n"] for one in await read(shelf, "odd/[[]x].jsonl")] == [1]


# --- formats -----------------------------------------------------------------------------------------------------


def contents() -> dict[str, bytes]:
    frame = pl.DataFrame({"id": [str(number) for number in range(500)], "text": ["é, x"] * 500})
    csv, parquet, book, archive = frame.write_csv().encode(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    frame.write_excel(book)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("one.csv", frame[:200].write_csv())
        made.writestr("two.csv", frame[200:].write_csv())
    rows = frame.to_dicts()
    xml = "".join(f"<r><id>{one['id']}</id><text>{one['text']}</text></r>" for one in rows)
    return {
        "f.csv": csv,
        "f.csv.gz": gzip.compress(csv),
        "f.csv.zst": zstandard.compress(csv),
        "f.zip": archive.getvalue(),
        "f.json": json.dumps(rows).encode(),
        "f.jsonl": frame.write_ndjson().encode(),
        "f.parquet": parquet.getvalue(),
        "f.xlsx": book.getvalue(),
        "f.xml": f"<all>{xml}</all>".encode(),
    }


@pytest.mark.parametrize("key", contents())
async def test_every_format_and_the_law_of_positions(shelf: Shelf, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etlctl.kit.objects.reading.BLOCK", 700)
    monkeypatch.setattr("etlctl.kit.objects.reading.ObjectReader.__init__.__defaults__", (700,))
    shelf.put(key, contents()[key])
    shelf.put(f"z-{key}", contents()[key])
    extractor = source(shelf, ["f.*", "z-f.*"])
    ctx = ReadContext(base_dir=Path(), chunk_bytes=4_000)
    rows = (await read_all(extractor, ctx)).records
    assert [str(row["id"]) for row in rows] == [str(number) for number in range(500)] * 2
    await asyncio.to_thread(check_extractor, extractor, ctx)


async def test_bad_records_and_their_places(shelf: Shelf) -> None:
    shelf.put("a.jsonl", b'{"n": 1}\n[1]\n')
    batches = [batch async for batch in source(shelf, "*.jsonl").read(ReadContext(base_dir=Path()))]
    (rejected,) = [one for batch in batches for one in batch.rejected]
    assert (rejected.rule, rejected.location) == ("jsonl.not_an_object", f"s3://{shelf.bucket}/a.jsonl:2")
    with pytest.raises(FatalError, match="not_an_object"):
        await read(shelf, "*.jsonl", on_bad_record="fail")


# --- going on ----------------------------------------------------------------------------------------------------


async def middle(shelf: Shelf) -> Any:
    """Read up to the middle of the second object; return the position."""
    for number in (1, 2, 3):
        shelf.put(f"d/{number}.jsonl", b"".join(line(10 * number + one) for one in range(10)))
    reading = await read_all(source(shelf, "d/*"), ReadContext(base_dir=Path(), chunk_bytes=20))
    return next(position for position, count, _ in reading.places if 12 <= count <= 17)


async def test_new_objects_are_read_and_a_replaced_one_is_refused(shelf: Shelf) -> None:
    position, warnings = await middle(shelf), []
    shelf.put("d/4.jsonl", line(99))
    shelf.put("d/0.jsonl", line(0))
    rest = [one["n"] for one in await read(shelf, "d/*", position=position, warn=warnings.append)]
    assert rest[0] > 20
    assert rest[-11:] == [*range(30, 40), 99]
    assert "1 file(s) that come before" in warnings[0]
    shelf.put("d/2.jsonl", shelf.get("d/2.jsonl") + line(7))
    with pytest.raises(FatalError, match="is not the file any more in which this run stopped"):
        await read(shelf, "d/*", position=position)
    shelf.client.delete_object(Bucket=shelf.bucket, Key="d/2.jsonl")
    with pytest.raises(FatalError, match="is not there any more"):
        await read(shelf, "d/*", position=position)


async def test_an_object_replaced_while_it_is_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etlctl.kit.objects.reading.ObjectReader.__init__.__defaults__", (1_000,))
    shelf.put("a.jsonl", b"".join(line(one) for one in range(5_000)))
    batches = source(shelf, "a.jsonl").read(ReadContext(base_dir=Path(), chunk_bytes=500))
    await anext(batches)
    shelf.put("a.jsonl", b"".join(line(one + 1) for one in range(5_000)))
    with pytest.raises(SourceUnavailable, match="replaced or removed while it was being read"):
        [batch async for batch in batches]


# --- broken answers ----------------------------------------------------------------------------------------------


async def test_a_body_that_breaks_off_is_asked_for_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etlctl.kit.objects.reading.ObjectReader.__init__.__defaults__", (50_000,))
    monkeypatch.setattr("etlctl.kit.objects.reading._FIRST_WAIT", 0.01)
    shelf.put("a.jsonl", b"".join(line(one) for one in range(20_000)))
    with s3_proxy(shelf.server) as proxy:
        gets: list[int] = []

        def third(method: str, path: str) -> bool:
            if method != "GET" or not path.endswith("a.jsonl"):
                return False
            gets.append(1)
            return len(gets) % 3 == 1

        for how in ("cut", "short"):
            setattr(proxy, how, third)
            rows = await read(shelf, "a.jsonl", endpoint=proxy.url)
            assert [one["n"] for one in rows] == list(range(20_000))
            setattr(proxy, how, lambda *_: False)
        proxy.cut = lambda method, path: method == "GET" and path.endswith("a.jsonl")
        with pytest.raises(RetryableError, match=r"a\.jsonl"):
            await read(shelf, "a.jsonl", endpoint=proxy.url, max_retries=0)
        assert len(gets) > 12


def xml(code: str, message: str = "no", more: str = "") -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"


REFUSALS = [
    (403, "AccessDenied", "access denied", SourceUnavailable),
    (403, "SignatureDoesNotMatch", "does not accept the credentials", SourceUnavailable),
    (403, "InvalidAccessKeyId", "does not accept the credentials", SourceUnavailable),
    (403, "RequestTimeTooSkewed", "the clock of this machine", SourceUnavailable),
    (301, "PermanentRedirect", "another region", SourceUnavailable),
    (
        400,
        "AuthorizationHeaderMalformed",
        "another region than the one asked for; it is in eu-north-1",
        SourceUnavailable,
    ),
    (503, "SlowDown", "the store has trouble", RetryableError),
]


@pytest.mark.parametrize(("status", "code", "said", "kind"), REFUSALS, ids=[one[1] for one in REFUSALS])
async def test_refusals_are_told(shelf: Shelf, status: int, code: str, said: str, kind: type[Exception]) -> None:
    with s3_proxy(shelf.server) as proxy:
        proxy.refuse = lambda *_: (status, xml(code, "no-secret-at-all is wrong", "<Region>eu-north-1</Region>"))
        with pytest.raises(kind, match=said) as caught:
            await read(shelf, "d/*", endpoint=proxy.url, max_retries=0)
    assert "no-secret-at-all" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_what_is_not_there(shelf: Shelf) -> None:
    with pytest.raises(SourceUnavailable, match=r"there is no object s3://.*/none\.csv"):
        await read(shelf, "none.csv")
    with pytest.raises(SourceUnavailable, match="no object matches"):
        await read(shelf, "none/*.csv")
    with pytest.raises(SourceUnavailable, match="there is no such bucket"):
        await read(shelf, "*.csv", bucket="not-there")
    with pytest.raises(RetryableError, match="cannot be reached"):
        await read(shelf, "*.csv", endpoint="http://127.0.0.1:9", max_retries=0)


async def test_a_parquet_object_larger_than_allowed(shelf: Shelf) -> None:
    shelf.put("a.parquet", bytes(3 << 20))
    with pytest.raises(FatalError, match="larger than the 1,048,576 bytes") as caught:
        await read(shelf, "a.parquet", max_download_mb=1)
    assert "max_download_mb" in (caught.value.help or "")


# --- memory ------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from etlctl.extractors.cloud_storage import CloudStorage
from etlctl.sdk import ReadContext

async def main(options):
    count = 0
    async for batch in CloudStorage(**options).read(ReadContext(base_dir=Path(), chunk_bytes=1 << 20)):
        count += len(batch)
    return count

count = asyncio.run(main(json.loads(sys.argv[1])))
status = Path("/proc/self/status").read_text()
print(json.dumps([count, int(status.split("VmHWM:")[1].split()[0])]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak of a process")
def test_a_large_object_in_constant_memory(shelf: Shelf) -> None:
    some = "".join(f"{number},{'x' * 90}\n" for number in range(10_000)).encode()
    used = {}
    for times in (1, 100):
        with io.BytesIO(b"id,text\n" + some * times) as body:
            shelf.client.upload_fileobj(body, shelf.bucket, f"{times}.csv")
        options = json.dumps({**shelf.options, "path": f"{times}.csv"})
        done = subprocess.run([sys.executable, "-c", PROGRAM, options], capture_output=True, text=True, check=True)
        count, used[times] = json.loads(done.stdout)
        assert count == 10_000 * times
    assert used[100] - used[1] < 60 << 10, f"KB used for 1 MB: {used[1]:,}, for 96 MB: {used[100]:,}"


# --- options -----------------------------------------------------------------------------------------------------

WRONG = [
    ({"path": "x.csv"}, "say where the objects are"),
    ({"url": "ftp://x/y"}, "names no object store"),
    ({"url": "s3:///y"}, "names no bucket"),
    ({"url": "s3://b3b/x.csv", "bucket": "b"}, "remove provider and bucket"),
    ({"url": "s3://b3b/x.csv", "account_key": "x"}, "account_key means nothing to provider s3"),
    ({"url": "s3://b3b/x.csv", "access_key_id": "x"}, "belong together"),
    ({"url": "s3://b3b/x.csv", "endpoint": "http://minio:9000"}, "allow_http"),
    ({"url": "s3://b3b/x.csv", "endpoint": "minio:9000"}, "is no URL"),
    ({"url": "s3://b b/x.csv"}, "is no name of a bucket"),
    ({"url": "s3://b3b/x.bin"}, "does not tell the format"),
    ({"url": "s3://b3b/x.csv", "json_options": {}}, "json_options has no effect"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CloudStorage(**options)
