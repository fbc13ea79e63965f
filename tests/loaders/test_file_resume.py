"""Killed anywhere, resumed, every record comes once: the file loader with its commit tokens."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
import zstandard
from attempt import attempt, batch_of, records_of
from etlctl.loaders.file import File
from loading import leftovers

from etlctl.errors import DestinationBusy, FatalError, FencedError, LimitError
from etlctl.sdk import CommitToken, WriteContext, Writer
from etlctl.sdk.guard import ReplaceGuard

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

ROOT = Path(__file__).resolve().parents[2]
BATCHES, SIZE = 5, 7
FILES = ["o.jsonl", "o.csv", "o.parquet", "o.json", "o.jsonl.gz", "o.csv.zst", "o.xlsx", "o/:parquet", "o/:jsonl"]


@dataclass(frozen=True)
class Case:
    """A destination, and what a run writes to it."""

    folder: Path
    name: str
    method: str
    interval: int | None = 1
    batches: int = BATCHES
    size: int = SIZE

    @property
    def path(self) -> str:
        return self.name.partition(":")[0]

    @property
    def late(self) -> int:
        """CSV cannot add a column to an existing file."""
        return 1 if "csv" in self.name and self.method == "append" else 4

    @property
    def options(self) -> dict[str, Any]:
        form = self.name.partition(":")[2]
        return {"path": self.path, "write_method": self.method, **({"format": form} if form else {})}

    def given(self, *, run: str = "run_1", resume: bool = True, fence: int = 1, close: bool = True) -> dict[str, Any]:
        ctx = {
            "base_dir": str(self.folder),
            "run_id": run,
            "stream": "orders",
            "fence": fence,
            "resume": resume,
            "commit_interval": self.interval,
        }
        return {
            "options": self.options,
            "ctx": ctx,
            "batches": self.batches,
            "size": self.size,
            "late": self.late,
            "close": close,
        }

    def run(self, **how: Any) -> dict[str, Any]:
        return asyncio.run(attempt(self.given(**how)))

    def child(self, fault: str = "", **how: Any) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if name != "ETLCTL_FAULT"}
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("attempt.py")), json.dumps(self.given(**how))],
            cwd=ROOT,
            env={**env, **({"ETLCTL_FAULT": fault} if fault else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def killed(self, fault: str, **how: Any) -> None:
        with self.child(f"{fault}=kill", **how) as child:
            _, err = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, err

    def before(self) -> list[dict[str, Any]]:
        """Write the records that are there before the run, with another run."""
        old = replace(self, batches=1, size=3)
        old.run(run="run_0", resume=False)
        return records_of(1, 3, self.late)

    def new(self) -> list[dict[str, Any]]:
        return [one for seq in range(1, self.batches + 1) for one in records_of(seq, self.size, self.late)]

    def expected(self, before: list[dict[str, Any]]) -> list[str]:
        return canonical([*(before if self.method == "append" else []), *self.new()])

    def found(self) -> list[str]:
        path = self.folder / self.path
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return canonical([record for file in files for record in records_in(file)])


def records_in(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".xlsx":
        header, *rows = openpyxl.load_workbook(path).active.values
        return [dict(zip(header, row, strict=True)) for row in rows]
    if ".csv" in path.name:
        return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    return json.loads(data) if path.suffix == ".json" else [json.loads(line) for line in data.splitlines()]


def canonical(records: list[dict[str, Any]]) -> list[str]:
    """In order, values as text where a format has nothing else, nulls as good as no field."""

    def text(value: Any) -> str:
        return f"{float(value):g}" if not isinstance(value, str) or value.replace(".", "").isdigit() else value

    return [
        json.dumps({name: text(value) for name, value in one.items() if value not in (None, "")}) for one in records
    ]


def publishing(case: Case) -> list[str]:
    """The instants inside the publication of a case."""
    if case.name.startswith("o/"):
        steps = BATCHES + 1 if case.method == "append" else 2
        return [f"publish.during:{step}" for step in range(1, steps + 1)]
    extends = case.method == "append" and ".json" != case.name[-5:] and case.name not in {"o.parquet", "o.xlsx"}
    return ["publish.during:1", "publish.during:2"] if extends else ["publish.during:1"]


@pytest.fixture(params=[(name, method) for name in FILES for method in ("replace", "append")], ids=":".join)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, *request.param)


class TestKilled:
    def test_while_it_writes(self, case: Case) -> None:
        before = case.before()
        case.killed("load.write:3", resume=False)
        done = case.run(fence=2)
        assert (done["begun"], done["records"]) == (2, BATCHES * SIZE)
        assert case.found() == case.expected(before)

    def test_while_it_commits_and_again(self, case: Case) -> None:
        before = case.before()
        case.killed("load.before_commit:2", resume=False)
        case.killed("load.before_commit:3", fence=2)
        done = case.run(fence=3)
        assert (done["begun"], done["records"]) == (3, BATCHES * SIZE)
        assert case.found() == case.expected(before)

    def test_while_it_publishes(self, case: Case) -> None:
        before = case.before()
        instants = publishing(case)
        for fence, instant in enumerate(instants, 1):
            case.killed(instant, fence=fence, resume=fence > 1) if fence == 1 else self.anywhere(case, instant, fence)
        done = case.run(fence=9)
        assert done["records"] == BATCHES * SIZE
        assert case.found() == case.expected(before)
        assert [name for name in leftovers(case.folder) if not name.endswith("manifest.json")] == []

    def anywhere(self, case: Case, instant: str, fence: int) -> None:
        """A later attempt may find less left to do, and get through."""
        with case.child(f"{instant}=kill", fence=fence, close=False) as child:
            _, err = child.communicate(timeout=120)
        assert child.returncode in {0, -signal.SIGKILL}, err

    def test_after_it_published(self, case: Case) -> None:
        before = case.before()
        case.killed("publish.after", resume=False)
        assert case.found() == case.expected(before)
        first = case.run(fence=2, close=False)
        again = case.run(fence=3)
        assert first == again
        assert again == {
            "begun": BATCHES,
            "finished": True,
            "places": [str(case.folder / case.path.rstrip("/"))],
            "records": BATCHES * SIZE,
        }
        assert case.found() == case.expected(before)
        assert [name for name in leftovers(case.folder) if not name.endswith("manifest.json")] == []

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", range(int(os.environ.get("ETLCTL_TEST_SEEDS", "10"))))
    def test_at_random_instants_of_every_format(self, case: Case, seed: int) -> None:
        self.at_random(case, seed)

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", ["o.jsonl", "o.csv.zst", "o.parquet", "o/:jsonl"])
    def test_at_random_instants(self, tmp_path: Path, name: str, seed: int) -> None:
        self.at_random(Case(tmp_path, name, "append" if seed % 2 else "replace"), seed)

    def at_random(self, case: Case, seed: int) -> None:
        dice = random.Random(seed)
        case = replace(case, batches=12, size=200, interval=dice.choice([1, 3]))
        before = case.before()
        for fence in range(1, 7):
            with case.child(fence=fence, resume=fence > 1, close=False) as child:
                child.stdout.readline()
                time.sleep(dice.random() * 0.15)
                child.kill()
        done = case.run(fence=9)
        assert done["records"] == len(case.new())
        assert case.found() == case.expected(before)


class TestTakenOver:
    """An attempt that was stopped wakes after a newer one has taken over: it must not change anything any more."""

    @pytest.mark.parametrize(
        ("name", "method", "instant"),
        [
            (name, method, instant)
            for name in ["o.jsonl", "o.csv.zst", "o.parquet", "o.json", "o/:jsonl"]
            for method in ("replace", "append")
            for instant in ["load.write:3", "load.before_commit:3", *publishing(Case(Path(), name, method))]
        ],
    )
    def test_a_stopped_holder_is_shut_out(self, tmp_path: Path, name: str, method: str, instant: str) -> None:
        case = Case(tmp_path, name, method)
        before = case.before()
        with case.child(f"{instant}=stop", resume=False) as old:
            try:
                _, status = os.waitpid(old.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status)
                with pytest.raises(DestinationBusy, match="run_1 "):
                    case.run(fence=1)
                done = case.run(fence=2)
                assert done["records"] == BATCHES * SIZE
                assert case.found() == case.expected(before)
            finally:
                old.send_signal(signal.SIGCONT)
            _, err = old.communicate(timeout=120)
        assert old.returncode == 1
        assert "has been taken over by a newer attempt" in err
        assert case.found() == case.expected(before)
        assert [one for one in leftovers(tmp_path) if not one.endswith("manifest.json")] == []

    def test_while_the_newer_attempt_is_at_work(self, tmp_path: Path) -> None:
        """The old one wakes and goes on writing to files it has open while the new one writes too."""
        case = Case(tmp_path, "o.jsonl", "append")
        before = case.before()

        async def both() -> None:
            old, new = await opened(case, resume=False), None
            for seq in (1, 2):
                await put(case, old, seq)
            new = await opened(case, fence=2)
            assert (await new.committed()).seq == 2
            await old.write(batch_of(old, 3, SIZE, case.late))
            await put(case, new, 3, fence=2)
            with pytest.raises(FencedError, match="taken over"):
                await old.commit(token(3), now=True)
            with pytest.raises(FencedError, match="taken over"):
                await old.finish()
            await old.suspend()
            for seq in (4, 5):
                await put(case, new, seq, fence=2)
            await new.finish()
            await old.abort()
            await new.close()

        asyncio.run(both())
        assert case.found() == case.expected(before)

    def test_a_third_takes_over_from_the_second(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.csv", "replace")

        async def three() -> None:
            writers = [await opened(case, fence=fence, resume=fence > 1) for fence in (1, 2, 3)]
            for old in writers[:2]:
                with pytest.raises(FencedError):
                    await old.commit(token(1), now=True)
            for seq in range(1, BATCHES + 1):
                await put(case, writers[2], seq, fence=3)
            await writers[0].abort()
            await writers[2].finish()
            await writers[2].close()
            await writers[1].abort()

        asyncio.run(three())
        assert case.found() == case.expected([])
        assert leftovers(tmp_path) == []

    def test_another_stream_or_an_older_fence_must_wait(self, tmp_path: Path) -> None:
        case = Case(tmp_path, "o.csv", "replace")

        async def meet() -> None:
            holder = await opened(case, fence=5)
            for stream, fence in (("orders", 5), ("orders", 4), ("others", 9)):
                with pytest.raises(DestinationBusy):
                    await File(**case.options).open(context_of(case, fence=fence, stream=stream))
            await put(case, holder, 1, fence=5)
            await holder.suspend()
            late = await opened(case, fence=4)
            assert ((await late.committed()).seq, (await late.committed()).fence) == (1, 5)
            with pytest.raises(FencedError):
                await put(case, late, 2, fence=4)
            await late.abort()
            again = await opened(case, fence=6)
            assert (await again.committed()).seq == 1
            await again.suspend()
            claimed = await opened(case, fence=5)
            with pytest.raises(FencedError):
                await claimed.commit(token(2, 5), now=True)
            await claimed.abort()

        asyncio.run(meet())


def context_of(case: Case, *, stream: str = "orders", **more: Any) -> WriteContext:
    ctx = {**case.given()["ctx"], "base_dir": case.folder, "stream": stream, **more}
    return WriteContext(**ctx)


async def opened(case: Case, **more: Any) -> Writer:
    return await File(**case.options).open(context_of(case, **{"fence": 1, **more}))


def token(seq: int, fence: int = 1, run: str = "run_1") -> CommitToken:
    return CommitToken("orders", run, seq, fence, {"next": seq})


async def put(case: Case, writer: Writer, seq: int, *, fence: int = 1, run: str = "run_1") -> bool:
    await writer.write(batch_of(writer, seq, case.size, case.late))
    return await writer.commit(token(seq, fence, run))


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
        monkeypatch.setattr("etlctl.loaders.file.time.monotonic", lambda: clock[0])

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
        with pytest.raises(FatalError, match="token.json is damaged: its checksum does not fit"):
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


async def suspended(case: Case) -> None:
    """Run to the end, and suspend when that fails, as the engine does."""
    writer = await opened(case, resume=False)
    try:
        for seq in range(1, case.batches + 1):
            await put(case, writer, seq)
        await writer.finish()
    finally:
        await writer.suspend()


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


async def finished(case: Case, **more: Any) -> None:
    writer = await opened(case, **more)
    try:
        for seq in range(1, case.batches + 1):
            await put(case, writer, seq)
        await writer.finish()
        await writer.close()
    except BaseException:
        await writer.abort()
        raise


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
