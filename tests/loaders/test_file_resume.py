"""Killed or taken over anywhere, resumed, every record comes once: the file loader with its commit tokens."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from attempt import batch_of
from etlctl.loaders.file import File
from loading import leftovers
from resuming import BATCHES, FILES, SIZE, Case, context_of, opened, publishing, put, token

from etlctl.errors import DestinationBusy, FencedError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


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
        case = Case(tmp_path, "o.jsonl", "append", size=20_000)
        before = case.before()

        async def both() -> None:
            old, new = await opened(case, resume=False), None
            for seq in (1, 2):
                await put(case, old, seq)
            new = await opened(case, fence=2)
            assert (await new.committed()).seq == 2
            await old.write(batch_of(old, 4, case.size, case.late))  # enough to reach the file at once
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
