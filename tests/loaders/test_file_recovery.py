"""Suspended runs, other streams, damage, full disks, the replace guard, trials: the file loader around a resumed run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from attempt import attempt, batch_of, records_of
from etlctl.loaders.file import File
from loading import leftovers
from resuming import (
    BATCHES,
    FILES,
    SIZE,
    Case,
    canonical,
    context_of,
    finished,
    opened,
    put,
    suspended,
    token,
)

from etlctl.errors import FatalError, LimitError
from etlctl.sdk.guard import ReplaceGuard

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(params=[(name, method) for name in FILES for method in ("replace", "append")], ids=":".join)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, *request.param)


class TestSuspended:
    def test_uncommitted_batches_are_gone_committed_ones_stay(self, case: Case) -> None:
        before = case.before()
        lazy = replace(case, interval=2)

        async def first() -> None:
            writer = await opened(lazy, resume=False)
            assert await writer.committed() is None
            assert [await put(lazy, writer, seq) for seq in range(1, 6)] == [False, True, False, True, False]
            await writer.suspend()

        asyncio.run(first())
        done = case.run(fence=2)
        assert (done["begun"], done["records"]) == (4, BATCHES * SIZE)
        assert case.found() == case.expected(before)

    @pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.json", "o.jsonl.gz"])
    def test_what_had_reached_the_file_uncommitted_is_cut_off(self, tmp_path: Path, name: str) -> None:
        case = Case(tmp_path, name, "replace", interval=3, batches=4, size=30_000)

        async def first() -> None:
            writer = await opened(case, resume=False)
            assert [await put(case, writer, seq) for seq in range(1, 5)] == [False, False, True, False]
            await writer.suspend()

        asyncio.run(first())
        assert case.run(fence=2)["begun"] == 3
        assert case.found() == case.expected([])

    def test_nothing_committed_leaves_nothing(self, tmp_path: Path) -> None:
        for interval, resumable in ((None, True), (1, False)):
            case = Case(tmp_path, "o.jsonl", "replace", interval)

            async def first(case: Case = case, *, resumable: bool = resumable) -> None:
                writer = await opened(case, resumable=resumable)
                assert [await put(case, writer, seq) for seq in (1, 2, 3)] == [False] * 3
                assert await writer.commit(token(3), now=True) is resumable
                if resumable:
                    await writer.abort()
                else:
                    await writer.suspend()

            asyncio.run(first())
            assert leftovers(tmp_path) == []

    def test_by_itself_it_commits_when_some_seconds_have_passed(self, tmp_path: Path, monkeypatch: Any) -> None:
        case = Case(tmp_path, "o.jsonl", "replace", None)
        clock = [0.0]
        monkeypatch.setattr("etlctl.sdk.place_writer.time.monotonic", lambda: clock[0])

        async def first() -> list[bool]:
            writer = await opened(case)
            made = []
            for seq, now in enumerate((1.0, 4.9, 5.1, 9.0, 10.2), 1):
                clock[0] = now
                made.append(await put(case, writer, seq))
            await writer.abort()
            return made

        assert asyncio.run(first()) == [False, False, True, False, True]

    def test_a_new_run_of_the_stream_removes_it_others_keep_it(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.jsonl", "replace")

        async def first() -> None:
            writer = await opened(case, resume=False)
            await put(case, writer, 1)
            await writer.suspend()
            other = await File(**case.options).open(context_of(case, stream="others", run_id="run_2"))
            assert await other.committed() is None
            await other.write(batch_of(other, 1, 1, 9))
            await other.finish()
            await other.close()
            back = await opened(case, fence=2)
            assert (await back.committed()).seq == 1
            await back.suspend()
            fresh = await opened(case, fence=3, resume=False, run_id="run_3")
            assert await fresh.committed() is None
            await fresh.abort()

        asyncio.run(first())
        assert leftovers(tmp_path) == []
        assert len(case.found()) == 1

    def test_what_another_stream_appended_by_half_is_undone_and_done_again(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o/:jsonl", "append")
        before = case.before()
        case.killed("publish.during:2", resume=False)

        async def other() -> None:
            writer = await File(**case.options).open(context_of(case, stream="others", run_id="run_2"))
            await writer.write(batch_of(writer, 7, SIZE, 9))
            await writer.finish()

        asyncio.run(other())
        assert sorted(case.found()) == sorted(canonical([*before, *records_of(7, SIZE, 9)]))
        done = case.run(fence=2)
        assert done["begun"] == BATCHES
        assert sorted(case.found()) == sorted(case.expected([*before, *records_of(7, SIZE, 9)]))

    def test_a_published_run_of_another_stream_stays_known(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.jsonl", "append")
        case.killed("publish.after", resume=False)

        async def other() -> None:
            writer = await File(**case.options).open(context_of(case, stream="others", run_id="run_2"))
            await writer.write(batch_of(writer, 9, SIZE, 99))
            await writer.finish()

        asyncio.run(other())
        assert case.run(fence=2)["finished"]
        assert case.found() == canonical([*case.new(), *records_of(9, SIZE, 99)])

    @pytest.mark.parametrize("name", ["o.jsonl", "o.json", "o.parquet"])
    def test_a_file_that_others_changed_meanwhile_is_an_error(self, tmp_path: Path, name: str) -> None:
        case = Case(tmp_path, name, "append")
        case.before()
        case.killed("load.write:3", resume=False)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data + b" \n")
        with pytest.raises(FatalError, match="something else has changed it since this run began"):
            case.run(fence=2)
        assert (tmp_path / name).read_bytes() == data + b" \n"


class TestDamaged:
    def spoiled(self, folder: Path, name: str) -> Path:
        (found,) = (folder / ".o.jsonl.etlctl").glob(f"work-*/{name}")
        return found

    def test_a_flipped_token_is_found_out(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.jsonl", "replace")
        case.killed("load.write:3", resume=False)
        path = self.spoiled(tmp_path, "token.json")
        path.write_text(path.read_text().replace('\\"seq\\": 2', '\\"seq\\": 1'))
        with pytest.raises(FatalError, match=r"token\.json is damaged: its checksum does not fit"):
            case.run(fence=2)
        path.write_text('{"version": 99, "sha256": "", "body": ""}')
        with pytest.raises(FatalError, match="written by a newer etlctl"):
            case.run(fence=2)
        assert case.run(fence=2, resume=False)["begun"] == 0
        assert case.found() == case.expected([])

    def test_a_file_shorter_than_the_token_says(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.jsonl", "replace")
        case.killed("load.write:3", resume=False)
        path = self.spoiled(tmp_path, "data")
        os.truncate(path, 10)
        with pytest.raises(FatalError, match="it has 10 bytes, the run had made"):
            case.run(fence=2)
        assert path.exists()


class TestRetried:
    @pytest.mark.parametrize("fault", ["load.write:3=retry", "load.before_commit:3=retry"])
    def test_a_batch_that_is_written_again_comes_once(self, tmp_path: Path, monkeypatch: Any, fault: str) -> None:
        from etlctl import faults
        from etlctl.errors import RetryableError

        monkeypatch.setattr(faults, "_plan", faults._Plan(fault))
        case = Case(tmp_path, "o.jsonl", "append")

        async def run() -> None:
            writer = await opened(case)
            for seq in range(1, BATCHES + 1):
                try:
                    await put(case, writer, seq)
                except RetryableError:
                    assert seq == 3
                    assert await put(case, writer, seq)
            assert (await writer.finish()).records == BATCHES * SIZE
            await writer.close()

        asyncio.run(run())
        assert case.found() == case.expected([])


class TestFullDisk:
    @pytest.mark.parametrize("method", ["replace", "append"])
    @pytest.mark.parametrize("name", ["o.jsonl", "o.csv.zst", "o.parquet", "o/:jsonl"])
    def test_goes_on_when_there_is_space_again(self, small_disk: Path, name: str, method: str) -> None:
        case = Case(small_disk, name, method, batches=40, size=60)
        before = case.before()
        content = case.found()
        filler = small_disk / "filler"
        filler.write_bytes(b"")
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(b"x" * (free - (24_000 if name.endswith(".zst") else 90_000)))
        with pytest.raises(FatalError, match=r"cannot write .*: the disk is full"):
            asyncio.run(suspended(case))
        assert case.found() == content
        filler.unlink()
        done = case.run(fence=2)
        assert done["begun"] > 0
        assert case.found() == case.expected(before)

    @pytest.mark.parametrize("name", ["o.jsonl", "o.parquet"])
    def test_an_error_of_fsync_is_no_commit(self, tmp_path: Path, monkeypatch: Any, name: str) -> None:
        case = Case(tmp_path, name, "replace")

        async def run() -> None:
            writer = await opened(case)
            await put(case, writer, 1)
            with monkeypatch.context() as broken:
                broken.setattr(os, "fsync", fail)
                with pytest.raises(FatalError, match="Input/output error"):
                    await put(case, writer, 2)
            await writer.suspend()

        def fail(_descriptor: int) -> None:
            raise OSError(5, os.strerror(5))

        asyncio.run(run())
        assert case.run(fence=2)["begun"] == 1
        assert case.found() == case.expected([])


class TestGuard:
    @pytest.mark.parametrize("name", FILES)
    def test_nothing_does_not_replace_something(self, tmp_path: Path, name: str) -> None:
        case = Case(tmp_path, name, "replace")
        case.run()
        before = case.found()
        with pytest.raises(LimitError, match=r"refused to replace .*o.* by nothing"):
            asyncio.run(suspended(replace(case, batches=0)))
        assert case.found() == before
        empty = replace(case, batches=0)
        asyncio.run(finished(empty, guard=ReplaceGuard(allow_empty=True)))
        asyncio.run(finished(empty))

    @pytest.mark.parametrize("name", FILES)
    def test_a_shrinking_replace(self, tmp_path: Path, name: str) -> None:
        case = Case(tmp_path, name, "replace", batches=10)
        case.run()
        before = case.found()
        small = replace(case, batches=1)
        guard = ReplaceGuard(max_shrink_percent=50)
        with pytest.raises(LimitError, match=r"refused to replace 70 records of .*o.* by 7: 90.0 % fewer"):
            asyncio.run(finished(small, guard=guard))
        assert case.found() == before
        asyncio.run(finished(replace(case, batches=5), guard=guard))
        assert len(case.found()) == 5 * SIZE

    def test_what_cannot_be_counted_is_replaced_with_a_warning(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.parquet", "replace", batches=1)
        (tmp_path / "o.parquet").write_text("no parquet")
        warnings: list[str] = []
        asyncio.run(finished(case, guard=ReplaceGuard(max_shrink_percent=1), warn=warnings.append))
        assert "cannot count the records in" in warnings[0]
        assert case.found() == case.expected([])


class TestAroundARun:
    def test_contents_are_the_same_in_every_format(self, case: Case) -> None:
        before = case.before()
        case.run()
        found = asyncio.run(File(**case.options).contents(context_of(case)))
        assert found.total() == len(case.new()) + (len(before) if case.method == "append" else 0)
        assert {json.loads(one)["text"] for one in found} == {one["text"] for one in case.new()}
        assert max(found.values()) == (2 if case.method == "append" else 1)

    def test_scratch_begins_with_a_copy(self, case: Case, tmp_path: Path) -> None:
        before = case.before()
        loader = File(**case.options).scratch(tmp_path / "trial", context_of(case))
        asyncio.run(attempt({**case.given(), "options": loader.model_dump(exclude_none=True)}))
        assert replace(case, folder=tmp_path / "trial").found() == case.expected(before)
        assert case.found() == canonical(before)

    def test_additive_appends(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.jsonl", "replace")
        case.run()
        adding = File(path="o.jsonl", write_mode="overwrite").additive()
        assert adding.appends
        assert adding.additive() is adding
        asyncio.run(attempt({**case.given(run="run_2"), "options": adding.model_dump(exclude_none=True)}))
        assert case.found() == canonical([*case.new(), *case.new()])

    def test_standard_output_has_no_tokens(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "-:jsonl", "replace")

        async def run() -> None:
            writer = await opened(case)
            assert not writer.keeps_tokens
            assert await writer.committed() is None
            assert not await writer.commit(token(1), now=True)
            await writer.abort()

        asyncio.run(run())
        for call in (lambda one: one.scratch(tmp_path, context_of(case)), lambda one: asyncio.run(one.contents(None))):
            with pytest.raises(FatalError, match="standard output"):
                call(File(**case.options))
