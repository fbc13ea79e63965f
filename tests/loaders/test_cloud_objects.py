"""Writing objects to a server that speaks S3: what is seen when, partitions, fences, stores that ignore conditions."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from attempt import batch_of
from cloud_shop import Case
from etlctl.loaders.cloud_storage import CloudStorage
from loading import as_batch
from pydantic import ValidationError
from s3_proxy import s3_proxy
from s3_shelf import Shelf

from etlctl.errors import FatalError, FencedError, LimitError, RetryableError, SourceUnavailable
from etlctl.sdk import CommitToken, Delivery, WriteContext, Writer
from etlctl.sdk.guard import ReplaceGuard

MANIFEST = ".set.manifest.json"


@pytest.fixture
def shelf(s3_server: str, s3_bucket: str) -> Shelf:
    return Shelf(s3_server, s3_bucket)


def context(**more: Any) -> WriteContext:
    return WriteContext(**{"base_dir": Path(), "run_id": "run_1", "stream": "orders", "fence": 1, **more})


async def load(shelf: Shelf, batches: list[Any], *, ctx: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    """Load to the end; returns the rejections."""
    writer = await CloudStorage(**{**shelf.options, **options}).open(context(**(ctx or {})))
    rejected: list[Any] = []
    try:
        for seq, content in enumerate(batches, 1):
            rejected += (await writer.write(as_batch(content, seq))).rejected
        await writer.finish()
        await writer.close()
    except BaseException:
        await writer.abort()
        raise
    return rejected


async def put(writer: Writer, seq: int, fence: int = 1) -> None:
    await writer.write(batch_of(writer, seq, 5, 3))
    await writer.commit(CommitToken("orders", "run_1", seq, fence, {"next": seq}))


# --- data sets ---------------------------------------------------------------------------------------------------

ODD = ["a/b", "..", "x=y", "é ü", "100%", "", None, "a\\b\n", "AT"]


@pytest.mark.parametrize("form", ["rows", "frame"])
async def test_partitions_are_read_by_others_and_by_us(shelf: Shelf, form: str, tmp_path: Path) -> None:
    rows = [{"id": number, "country": name, "day": date(2026, 1, 1 + number % 2)} for number, name in enumerate(ODD)]
    content = pl.DataFrame(rows) if form == "frame" else rows
    loader = {"path": "lake/set/", "format": "parquet", "partition_by": ["country", "day"]}
    await load(shelf, [content, content], **loader)
    keys = shelf.shown("lake/set/")
    assert "lake/set/country=AT/day=2026-01-01/part-run_1-000002.parquet" in keys
    assert all(len(key.split("/")) == 5 for key in keys)
    for key in keys:
        file = tmp_path / "copy" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(shelf.get(key))
    found = pl.read_parquet(tmp_path / "copy/lake/set/**/*.parquet", hive_partitioning=True)
    assert sorted(zip(found["id"], found["country"], strict=True), key=str) == sorted(
        [(row["id"], row["country"]) for row in rows] * 2, key=str
    )
    manifest = shelf.manifest("lake/.set.manifest.json")
    assert sum(part["records"] for part in manifest["parts"]) == 2 * len(rows)
    contents = await CloudStorage(**shelf.options, **loader).contents(context())
    assert contents == {
        json.dumps(
            {**({"country": row["country"]} if row["country"] is not None else {}), "day": str(row["day"]), "id": row["id"]},
            sort_keys=True, ensure_ascii=False, separators=(",", ":"),
        ): 2
        for row in rows
    }  # fmt: skip


async def test_records_that_name_no_folder_are_rejected(shelf: Shelf) -> None:
    rows = [{"id": 1, "c": [1]}, {"id": 2, "c": "x" * 300}, {"id": 3, "c": Decimal("1.50")}, {"id": 4}, {"c": "only"}]
    rejected = await load(shelf, [rows], path="set/", format="jsonl", partition_by="c")
    assert [(one.index, one.rule) for one in rejected[:2]] == [(0, "load.partition"), (1, "load.partition")]
    assert [key for key in shelf.shown("set/") if "only" not in key] == [
        "set/c=1.50/part-run_1-000001.jsonl",
        "set/c=__HIVE_DEFAULT_PARTITION__/part-run_1-000001.jsonl",
    ]
    many = [{"id": number, "c": str(number)} for number in range(4)]
    with pytest.raises(FatalError, match="one batch would go to 4 folders"):
        await load(shelf, [many], path="set/", format="jsonl", partition_by="c", max_partitions=3)


async def test_replacing_and_appending_a_data_set(shelf: Shelf) -> None:
    set_of = {"path": "set/", "format": "jsonl"}
    await load(shelf, [[{"n": 1}], [{"n": 2}]], **set_of)
    await load(shelf, [[{"n": 3}]], ctx={"run_id": "run_2"}, **set_of, write_method="append")
    await load(shelf, [[{"n": 4}]], ctx={"run_id": "run_3", "stream": "other"}, **set_of, write_method="append")
    assert len(shelf.shown("set/")) == len(shelf.manifest(MANIFEST)["parts"]) == 4
    await load(shelf, [[{"n": 5}]], ctx={"run_id": "run_4"}, **set_of)
    assert shelf.shown("set/") == ["set/part-run_4-000001.jsonl"]
    assert shelf.get("set/part-run_4-000001.jsonl") == b'{"n":5}\n'
    assert shelf.hidden() == [MANIFEST]
    shelf.put("set/notes.txt", b"mine")
    with pytest.raises(FatalError, match=r"it holds 'notes.txt', which is no part"):
        await load(shelf, [[{"n": 6}]], **set_of)


async def test_two_streams_publish_one_data_set_at_once(shelf: Shelf) -> None:
    options = {"path": "set/", "format": "jsonl", "write_method": "append"}
    runs = [
        load(shelf, [[{"n": number}]], ctx={"run_id": f"run_{number}", "stream": f"s{number}"}, **options)
        for number in range(4)
    ]
    await asyncio.gather(*runs)
    assert len(shelf.manifest(MANIFEST)["parts"]) == 4


# --- nothing is seen before its time -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.csv", "set/:jsonl"])
async def test_nothing_is_seen_before_the_end_and_little_stays(shelf: Shelf, tmp_path: Path, name: str) -> None:
    case = Case(shelf, tmp_path, name, "replace")
    writer = await case.opened()
    for seq in (1, 2, 3):
        await put(writer, seq)
        assert shelf.shown() == []
    await writer.suspend()
    assert any(key.endswith(".json") for key in shelf.hidden())
    held = await CloudStorage(**case.options).held(context())
    assert held is not None
    assert (held.seq, held.visible) == (3, False)
    unfinished = await CloudStorage(**case.options).unfinished(context())
    assert [token.seq for token in unfinished] == [3]
    await CloudStorage(**case.options).forget(context(), ["orders"])
    assert shelf.keys() == []
    writer = await case.opened()
    await put(writer, 1)
    await writer.abort()
    assert shelf.keys() == []


async def test_a_large_object_goes_up_in_parts(shelf: Shelf, tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(200_000), "text": ["x" * 100] * 200_000})
    with s3_proxy(shelf.server) as proxy:
        await load(shelf, [frame], path="big.csv", endpoint=proxy.url)
        assert sum("partNumber=" in path for method, path in proxy.requests if method == "PUT") >= 2
    found = shelf.client.head_object(Bucket=shelf.bucket, Key="big.csv")
    assert found["Metadata"] == {"etlctlrun": "run_1"}
    assert pl.read_csv(shelf.get("big.csv")).equals(frame)


PROGRAM = """
import asyncio, json, sys
from pathlib import Path
import polars as pl
from etlctl.batch import Batch
from etlctl.loaders.cloud_storage import CloudStorage
from etlctl.sdk import WriteContext

async def main(options, batches):
    frame = pl.DataFrame({"id": range(20_000), "text": ["x" * 100] * 20_000})
    writer = await CloudStorage(**options).open(WriteContext(base_dir=Path(), run_id="r", stream="s", fence=1))
    for seq in range(1, batches + 1):
        batch = Batch.of_frame(frame, {})
        batch.seq = seq
        await writer.write(batch)
    await writer.finish()

asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak of a process")
def test_a_large_object_is_written_in_constant_memory(shelf: Shelf) -> None:
    used = []
    for batches in (5, 40):
        options = json.dumps({**shelf.options, "path": f"{batches}.csv"})
        command = [sys.executable, "-c", PROGRAM, options, str(batches)]
        used.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert used[1] - used[0] < 60 << 10, f"KB used for 10 MB: {used[0]:,}, for 84 MB: {used[1]:,}"


# --- fences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.jsonl", "set/:jsonl"])
async def test_an_older_attempt_can_neither_commit_nor_publish(shelf: Shelf, tmp_path: Path, name: str) -> None:
    case = Case(shelf, tmp_path, name, "append")
    older = await case.opened()
    await put(older, 1)
    await older.write(batch_of(older, 2, 5, 3))
    newer = await case.opened(fence=2, resume=True)
    token = await newer.committed()
    assert token is not None
    assert token.seq == 1
    with pytest.raises(FencedError, match="taken over by a newer attempt"):
        await older.commit(CommitToken("orders", "run_1", 2, 1, {"next": 2}))
    with pytest.raises(FencedError):
        await older.finish()
    await older.abort()
    for seq in (2, 3, 4):
        await put(newer, seq, 2)
    await newer.finish()
    await newer.close()
    assert case.found() == case.expected([])
    late = await case.opened(fence=1)
    await late.abort()


async def test_who_comes_late_sees_the_newer_fence(shelf: Shelf, tmp_path: Path) -> None:
    case = Case(shelf, tmp_path, "o.jsonl", "replace")
    newer = await case.opened(fence=5)
    late = await case.opened(fence=4, resume=True)
    token = await late.committed()
    assert token is not None
    assert token.fence == 5
    await late.abort()
    await put(newer, 1, 5)
    await newer.finish()
    await newer.close()


async def test_a_large_object_is_not_completed_by_an_older_attempt(shelf: Shelf, tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(200_000), "text": ["x" * 100] * 200_000})
    taken: list[Writer] = []
    case = Case(shelf, tmp_path, "big.csv", "replace")
    with s3_proxy(shelf.server) as proxy:
        older = await CloudStorage(**{**case.options, "endpoint": proxy.url}).open(context())
        await older.write(as_batch(frame, 1))
        loop = asyncio.get_running_loop()

        def overtake(method: str, path: str) -> bool:
            if method == "POST" and "uploads" in path and not taken:
                taken.append(asyncio.run_coroutine_threadsafe(case.opened(fence=2), loop).result(30))
            return False

        proxy.cut = overtake
        with pytest.raises(FencedError):
            await older.finish()
    await older.abort()
    assert shelf.shown() == []
    await taken[0].abort()


@pytest.mark.parametrize("name", ["o.jsonl", "set/:jsonl"])
async def test_answers_that_are_lost(shelf: Shelf, tmp_path: Path, name: str) -> None:
    """A conditional write whose answer is lost was done; repeated, it is refused, and that is no newer holder."""
    case = Case(shelf, tmp_path, name, "append")
    before = await asyncio.to_thread(case.before)
    with s3_proxy(shelf.server) as proxy:
        writer = await CloudStorage(**{**case.options, "endpoint": proxy.url}).open(context(commit_interval=1))
        lost: list[str] = []

        def drop(method: str, path: str) -> bool:
            if method == "PUT" and path not in lost and path.endswith((".json", ".jsonl")):
                lost.append(path)
                return True
            return False

        proxy.drop = drop
        for seq in range(1, 5):
            await put(writer, seq)
        lost.clear()
        await writer.finish()
        await writer.close()
        assert lost
    assert case.found() == case.expected(before)


async def test_an_unknown_outcome_is_found_out(shelf: Shelf, tmp_path: Path) -> None:
    case = Case(shelf, tmp_path, "o.jsonl", "replace")
    with s3_proxy(shelf.server) as proxy:
        options = {**case.options, "endpoint": proxy.url, "max_retries": 0}
        writer = await CloudStorage(**options).open(context(commit_interval=1))
        await put(writer, 1)
        proxy.drop = lambda method, path: method == "PUT" and path.endswith(".json")
        with pytest.raises(RetryableError):
            await put(writer, 2)
        proxy.drop = lambda *_: False
        token = await writer.committed()
        assert token is not None
        assert token.seq == 2
        await put(writer, 3)
        await writer.suspend()
    again = await case.opened(resume=True, fence=2)
    token = await again.committed()
    assert token is not None
    assert token.seq == 3
    await again.abort()


async def test_a_store_that_ignores_conditions_is_found_out(shelf: Shelf, tmp_path: Path) -> None:
    case, warnings = Case(shelf, tmp_path, "o.jsonl", "replace"), []
    with s3_proxy(shelf.server) as proxy:
        proxy.deaf = True
        options = {**case.options, "endpoint": proxy.url}
        for fence in (1, 2):
            writer = await CloudStorage(**options).open(context(fence=fence, commit_interval=1, warn=warnings.append))
            await put(writer, 1, fence)
            await writer.finish()
            await writer.close()
        told = await CloudStorage(**options, conditional_writes=False).open(context(warn=warnings.append))
        await told.abort()
    assert len(warnings) == 3
    assert "does not hold to conditional writes" in warnings[0]
    assert len(shelf.get("o.jsonl").splitlines()) == 5
    assert CloudStorage(**options).delivery() is Delivery.exactly_once
    assert CloudStorage(**options, conditional_writes=False).delivery() is Delivery.at_least_once
    assert CloudStorage(provider="local", bucket="b", path="x.csv").delivery() is Delivery.at_least_once


# --- one object --------------------------------------------------------------------------------------------------


async def test_an_object_that_others_change_is_not_appended_to(shelf: Shelf) -> None:
    shelf.put("o.csv", b"id,text\n1,a\n")
    writer = await CloudStorage(**shelf.options, path="o.csv", write_method="append").open(context())
    await writer.write(as_batch([{"id": 2, "text": "b"}], 1))
    shelf.put("o.csv", b"id,text\n1,changed\n")
    with pytest.raises(FatalError, match="something else has made, replaced or removed it"):
        await writer.finish()
    await writer.abort()
    assert shelf.get("o.csv") == b"id,text\n1,changed\n"
    assert shelf.hidden() == []


async def test_the_guard_keeps_what_is_there(shelf: Shelf) -> None:
    for path, more in (("o.jsonl", {}), ("set/", {"format": "jsonl"})):
        await load(shelf, [[{"n": number} for number in range(10)]], path=path, **more)
        guard = ReplaceGuard(max_shrink_percent=50)
        with pytest.raises(LimitError):
            await load(shelf, [[{"n": 1}]], ctx={"guard": guard, "run_id": "run_2"}, path=path, **more)
        found = await CloudStorage(**shelf.options, path=path, **more).contents(context())
        assert found.total() == 10


async def test_a_copy_in_a_folder_is_like_the_original(shelf: Shelf, tmp_path: Path) -> None:
    for path, more in (("a/o.csv", {}), ("a/set/", {"format": "jsonl"})):
        await load(shelf, [[{"n": "1"}, {"n": "2"}]], path=path, **more)
        real = CloudStorage(**shelf.options, path=path, write_method="append", **more)
        scratch = real.scratch(tmp_path / "copy", context())
        again = CloudStorage.model_validate_json(scratch.model_dump_json())
        assert await again.contents(context()) == await real.contents(context())
        writer = await again.open(context(run_id="run_2"))
        await writer.write(as_batch([{"n": "3"}], 1))
        await writer.finish()
        await writer.close()
        stored = await again.stored(context())
        assert [one["n"] for one in stored.records()] == ["1", "2", "3"]
        assert (await real.contents(context())).total() == 2


async def test_a_dry_run_and_the_reading_of_options_send_nothing(shelf: Shelf) -> None:
    nowhere = {**shelf.options, "endpoint": "http://127.0.0.1:9", "path": "x.csv"}
    loader = CloudStorage(**nowhere)
    assert loader.identity(Path()) == ("s3", "http://127.0.0.1:9", "", shelf.bucket, "x.csv")
    assert loader.places(Path()) == ()
    writer = await loader.open(context(dry_run=True))
    assert (await writer.write(as_batch([{"a": 1}], 1))).records == 1
    with pytest.raises(RetryableError, match="cannot be reached"):
        await CloudStorage(**{**nowhere, "max_retries": 0}).open(context())
    with pytest.raises(SourceUnavailable, match="there is no such bucket"):
        await CloudStorage(**{**shelf.options, "bucket": "not-there", "path": "x.csv"}).open(context())


WRONG = [
    ({"path": "x.csv", "partition_by": "a"}, "end the path with /"),
    ({"path": "x/", "format": "csv", "partition_by": ["a", "a"]}, "names a field twice"),
    ({"path": "x/"}, "a folder does not tell the format"),
    ({"path": "x/../y.csv"}, "no part of it may be empty"),
    ({"path": "x.csv", "write_method": "append", "write_mode": "replace"}, "contradict each other"),
    ({"path": "x.parquet", "compression": "gzip"}, "not compressed as a whole"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CloudStorage(url="s3://bucket", **options)


def test_a_workbook_and_its_old_rows(shelf: Shelf) -> None:
    asyncio.run(load(shelf, [[{"n": 1}]], path="b.xlsx"))
    asyncio.run(load(shelf, [[{"n": 2}]], ctx={"run_id": "run_2"}, path="b.xlsx", write_method="append"))
    assert pl.read_excel(io.BytesIO(shelf.get("b.xlsx")))["n"].to_list() == [1, 2]
