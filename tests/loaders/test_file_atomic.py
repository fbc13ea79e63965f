"""Nothing half-written under a final name: replace, append, abort, full disks, dead runs, two writers at once."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from etlctl.loaders.file import File
from loading import as_batch, context, leftovers

from etlctl.errors import ConversionError, DestinationBusy, FatalError
from etlctl.sdk import Delivery

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["o.csv", "o.tsv", "o.json", "o.jsonl", "o.jsonl.gz", "o.csv.zst", "o.parquet", "o.xlsx"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and signals")
not_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")


def records(path: Path) -> list[dict]:
    name = path.name
    if name.endswith(".parquet"):
        return pl.read_parquet(path).to_dicts()
    if name.endswith(".xlsx"):
        header, *rows = openpyxl.load_workbook(path).active.values
        return [dict(zip(header, row, strict=True)) for row in rows]
    if ".csv" in name or ".tsv" in name:
        frame = pl.read_csv(path, separator="\t" if ".tsv" in name else ",")
        return frame.to_dicts()
    data = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    return json.loads(data) if ".jsonl" not in name else [json.loads(line) for line in data.splitlines()]


class TestReplace:
    @pytest.mark.parametrize("name", NAMES)
    async def test_the_old_content_stands_until_the_end(self, load, tmp_path, name) -> None:
        await load(name, [[{"a": 1}]])
        before = (tmp_path / name).read_bytes()
        writer = await File(path=name).open(context(tmp_path))
        await writer.write(as_batch([{"a": 2}] * 3000, 1))
        assert (tmp_path / name).read_bytes() == before
        await writer.finish()
        assert len(records(tmp_path / name)) == 3000
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("written", [0, 1, 2])
    async def test_abort_leaves_everything_as_it_was(self, load, tmp_path, name, written) -> None:
        await load(name, [[{"a": 1}]])
        before = (tmp_path / name).read_bytes()
        for method in ("replace", "append"):
            writer = await File(path=name, write_method=method).open(context(tmp_path))
            for seq in range(written):
                await writer.write(as_batch(pl.DataFrame({"a": range(60_000)}), seq + 1))
            await writer.abort()
            await writer.abort()
            assert (tmp_path / name).read_bytes() == before
            assert leftovers(tmp_path) == []

    @posix
    async def test_permissions_and_links_are_kept(self, load, tmp_path) -> None:
        real = tmp_path / "real.jsonl"
        real.write_text("old\n")
        real.chmod(0o600)
        (tmp_path / "link.jsonl").symlink_to(real)
        await load("link.jsonl", [[{"a": 1}]])
        assert (tmp_path / "link.jsonl").is_symlink()
        assert real.read_text() == '{"a":1}\n'
        assert real.stat().st_mode & 0o777 == 0o600

    async def test_seed_spelling(self, load, tmp_path) -> None:
        await load("o.jsonl", [[{"a": 1}]], write_mode="overwrite")
        await load("o.jsonl", [[{"a": 2}]], write_mode="overwrite")
        assert records(tmp_path / "o.jsonl") == [{"a": 2}]
        await load("o.jsonl", [[{"a": 3}]], write_mode="append")
        await load("o.jsonl", [[{"a": 4}]], write_method="insert")
        assert records(tmp_path / "o.jsonl") == [{"a": 2}, {"a": 3}, {"a": 4}]


class TestAppend:
    @pytest.mark.parametrize("name", NAMES)
    async def test_comes_after_what_is_there(self, load, tmp_path, name) -> None:
        for value in (1, 2, 3):
            await load(name, [[{"a": value, "b": "x"}]], write_method="append", run_id=f"run_{value}")
        assert records(tmp_path / name) == [{"a": value, "b": "x"} for value in (1, 2, 3)]
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("name", ["o.json", "o.jsonl", "o.parquet", "o.xlsx"])
    async def test_new_columns_are_united(self, load, tmp_path, name) -> None:
        await load(name, [[{"a": 1}]])
        await load(name, [[{"b": "x"}]], write_method="append")
        assert [{k: v for k, v in one.items() if v is not None} for one in records(tmp_path / name)] == [
            {"a": 1},
            {"b": "x"},
        ]

    async def test_nothing_new_changes_nothing(self, load, tmp_path) -> None:
        for name in ("o.csv", "o.jsonl", "o.json", "o.parquet"):
            await load(name, [[{"a": 1}]])
            await load(name, [], write_method="append")
            assert records(tmp_path / name) == [{"a": 1}]

    async def test_csv_keeps_the_order_of_the_file(self, load, tmp_path) -> None:
        (tmp_path / "o.csv").write_text('"b",a,c\n1,2,3')
        await load("o.csv", [[{"a": "A", "b": "B"}], pl.DataFrame({"c": [True], "a": ["x"]})], write_method="append")
        assert (tmp_path / "o.csv").read_text() == '"b",a,c\n1,2,3\nB,A,\n,x,true\n'

    async def test_csv_refuses_a_column_the_file_does_not_have(self, load, tmp_path) -> None:
        (tmp_path / "o.csv").write_text("a\n1\n")
        with pytest.raises(
            FatalError, match=r"cannot add the columns 'b', 'c' to .*o.csv: the file has no such column"
        ):
            await load("o.csv", [[{"a": 1}], [{"a": 1, "b": 2, "c": 3}]], write_method="append")
        assert (tmp_path / "o.csv").read_text() == "a\n1\n"

    async def test_csv_without_header_counts_columns(self, load, tmp_path) -> None:
        (tmp_path / "o.csv").write_text("1,2\n")
        options = {"write_method": "append", "csv_options": {"header": False}}
        await load("o.csv", [[{"x": 3, "y": 4}]], **options)
        assert (tmp_path / "o.csv").read_text() == "1,2\n3,4\n"
        with pytest.raises(FatalError, match="has 2 columns and no header, the records have 3"):
            await load("o.csv", [[{"x": 3, "y": 4, "z": 5}]], **options)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("o.csv", 'a\n"open', "never closed"),
            ("o.csv", "a,a\n1,2\n", "stands twice"),
            ("o.jsonl", '{"a":1}\n{"a":', "cut short"),
            ("o.json", '{"a": 1}', "holds no JSON array but an object"),
            ("o.json", '[{"a": 1},', "no valid JSON"),
            ("o.parquet", "not parquet", "cannot be read as Parquet"),
            ("o.xlsx", "not a workbook", "no Excel workbook"),
        ],
    )
    async def test_a_damaged_file_is_not_made_worse(self, load, tmp_path, name, content, message) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(FatalError, match=message):
            await load(name, [[{"a": 1}]], write_method="append")
        assert (tmp_path / name).read_text() == content
        assert leftovers(tmp_path) == []

    async def test_missing_line_ends_are_made_up_for(self, load, tmp_path) -> None:
        (tmp_path / "o.jsonl").write_text('{"a":1}\n{"a":2}')
        (tmp_path / "z.jsonl.gz").write_bytes(gzip.compress(b'{"a":1}\n{"a":2}'))
        (tmp_path / "long.jsonl").write_text('{"a":"' + "x" * (3 << 20) + '"}')
        for name in ("o.jsonl", "z.jsonl.gz", "long.jsonl"):
            await load(name, [[{"a": 3}]], write_method="append")
            assert records(tmp_path / name)[-1] == {"a": 3}
        assert len(records(tmp_path / "long.jsonl")) == 2

    async def test_json_keeps_the_text_of_its_old_records(self, load, tmp_path) -> None:
        (tmp_path / "o.json").write_text(
            '\ufeff [ {"a": 1.10, "n": 12345678901234567890123} ,[[1]]\n] \n', encoding="utf-8"
        )
        await load("o.json", [[{"a": 2}]], write_method="append")
        assert (tmp_path / "o.json").read_text(encoding="utf-8") == (
            '[\n{"a": 1.10, "n": 12345678901234567890123} ,[[1]],\n{"a":2}\n]\n'
        )
        (tmp_path / "e.json").write_text("[ ]")
        await load("e.json", [[{"a": 2}]], write_method="append")
        assert (tmp_path / "e.json").read_text() == '[\n{"a":2}\n]\n'

    async def test_an_empty_file_is_begun(self, load, tmp_path) -> None:
        for name in ("o.csv", "o.json", "o.parquet", "o.xlsx"):
            (tmp_path / name).touch()
            await load(name, [[{"a": 1}]], write_method="append")
            assert records(tmp_path / name) == [{"a": 1}]

    async def test_parquet_clash_with_the_file(self, load, tmp_path) -> None:
        await load("o.parquet", [[{"a": 1}]])
        with pytest.raises(ConversionError, match="'a' is String"):
            await load("o.parquet", [[{"a": "x"}]], write_method="append")
        assert records(tmp_path / "o.parquet") == [{"a": 1}]

    async def test_a_workbook_that_would_lose_something_is_refused(self, load, tmp_path) -> None:
        book = openpyxl.Workbook()
        book.active.title = "Sheet1"
        book.create_sheet("Other")
        book.save(tmp_path / "two.xlsx")
        with pytest.raises(FatalError, match="sheets 'Sheet1', 'Other'"):
            await load("two.xlsx", [[{"a": 1}]], write_method="append")
        await load("mixed.xlsx", [[{"a": 1}, {"a": "x"}]])
        with pytest.raises(FatalError, match="column 'a' has text and other cells"):
            await load("mixed.xlsx", [[{"a": 1}]], write_method="append")

    def test_delivery_is_declared_honestly(self) -> None:
        assert File(path="a.csv").delivery() is Delivery.exactly_once
        assert File(path="a.csv", write_mode="append").delivery() is Delivery.exactly_once
        assert File(path="-", format="csv").delivery() is Delivery.at_least_once


class TestTwoWritersAtOnce:
    @pytest.mark.parametrize("method", ["append", "replace"])
    async def test_the_second_is_told_who_holds_the_file(self, tmp_path, method) -> None:
        first = await File(path="o.csv", write_method=method).open(context(tmp_path, "run_first"))
        with pytest.raises(DestinationBusy, match=rf"run_first \(process {os.getpid()} on .*\) is writing it now"):
            await File(path="o.csv").open(context(tmp_path, "run_second"))
        await first.write(as_batch([{"a": 1}], 1))
        await first.finish()
        assert (tmp_path / "o.csv").read_text() == "a\n1\n"
        again = await File(path="o.csv").open(context(tmp_path, "run_second"))
        await again.abort()
        assert leftovers(tmp_path) == []

    async def test_a_file_made_by_someone_else_meanwhile_is_kept(self, tmp_path) -> None:
        writer = await File(path="o.csv", write_method="append").open(context(tmp_path))
        await writer.write(as_batch([{"a": 1}], 1))
        (tmp_path / "o.csv").write_text("a\n0\n")
        with pytest.raises(FatalError, match="something else has made it"):
            await writer.finish()
        await writer.abort()
        assert (tmp_path / "o.csv").read_text() == "a\n0\n"


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
import polars as pl
from etlctl.batch import Batch
from etlctl.loaders.file import File
from etlctl.sdk import WriteContext
folder, name, method, where = sys.argv[1:]

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    writer = await File(path=name, write_method=method, format="jsonl" if name == "out/" else "auto").open(
        WriteContext(base_dir=Path(folder), run_id="run_dead")
    )
    for seq in range(4):
        if where == "write" and seq == 3:
            die()
        batch = Batch.of_frame(pl.DataFrame({"a": range(seq * 60000, seq * 60000 + 60000)}), {})
        batch.seq = seq + 1
        await writer.write(batch)
    if where == "rename":
        Path.replace = die
        Path.rename = die
    if where == "swap":
        from etlctl.kit import publication
        publication.exchange = lambda *_names: False
        real_rename = Path.rename
        def second(self, target):
            return real_rename(self, target) if Path(target).name == "old" else die()
        Path.rename = second
    await writer.finish()
asyncio.run(main())
"""


def run_child(folder: Path, name: str, method: str, where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), name, method, where],
        cwd=ROOT,
        env={**os.environ, "ETLCTL_FAULT": "publish.during=kill"} if where == "append" else None,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def kill_after(delay: float, command: list[str], folder: Path) -> None:
    """Kill a child so many seconds after it has begun to write."""
    child = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 20
    while not (folder / ".o.jsonl.etlctl").exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.005)
    time.sleep(delay)
    child.kill()
    child.wait()


@posix
class TestKilled:
    @pytest.mark.parametrize("where", ["write", "rename"])
    @pytest.mark.parametrize("name", NAMES)
    async def test_no_half_file_and_the_next_run_works(self, load, tmp_path, name, where) -> None:
        await load(name, [[{"a": 1}]])
        before = (tmp_path / name).read_bytes()
        run_child(tmp_path, name, "replace", where)
        assert (tmp_path / name).read_bytes() == before
        assert leftovers(tmp_path) == [f".{name}.etlctl"]
        await load(name, [[{"a": 2}]])
        assert records(tmp_path / name) == [{"a": 2}]
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("name", ["o.csv", "o.jsonl", "o.jsonl.gz", "o.csv.zst"])
    @pytest.mark.parametrize("method", ["append", "replace"])
    async def test_a_half_append_is_undone_by_the_next_run(self, load, tmp_path, name, method) -> None:
        await load(name, [[{"a": 1}]])
        before = (tmp_path / name).stat().st_size
        run_child(tmp_path, name, "append", "append")
        assert (tmp_path / name).stat().st_size > before + 1000
        await load(name, [[{"a": 2}]], write_method=method)
        assert records(tmp_path / name) == ([{"a": 1}, {"a": 2}] if method == "append" else [{"a": 2}])
        assert leftovers(tmp_path) == []

    async def test_what_others_wrote_behind_a_half_append_is_not_cut_off(self, load, tmp_path) -> None:
        await load("o.jsonl", [[{"a": 1}]])
        run_child(tmp_path, "o.jsonl", "append", "append")
        with (tmp_path / "o.jsonl").open("a") as file:
            file.write("x" * 10_000_000)
        size = (tmp_path / "o.jsonl").stat().st_size
        with pytest.raises(FatalError, match="something else has written behind it") as caught:
            await load("o.jsonl", [[{"a": 2}]], write_method="append")
        assert "journal.json" in caught.value.help
        assert (tmp_path / "o.jsonl").stat().st_size == size

    async def test_a_replaced_file_is_not_cut_off(self, load, tmp_path) -> None:
        await load("o.jsonl", [[{"a": 1}]])
        run_child(tmp_path, "o.jsonl", "append", "append")
        (tmp_path / "fresh").write_text('{"a":9}\n' * 20_000)
        (tmp_path / "fresh").replace(tmp_path / "o.jsonl")
        await load("o.jsonl", [[{"a": 2}]], write_method="append")
        assert len(records(tmp_path / "o.jsonl")) == 20_001

    async def test_a_half_swap_of_a_folder_is_undone(self, load, tmp_path) -> None:
        await load("out/", [[{"a": 1}]], format="jsonl")
        run_child(tmp_path, "out/", "replace", "swap")
        assert not (tmp_path / "out").exists()
        writer = await File(path="out/", format="jsonl").open(context(tmp_path))
        assert (tmp_path / "out" / "part-000001.jsonl").read_text() == '{"a":1}\n'
        await writer.abort()

    async def test_killed_at_any_moment(self, load, tmp_path) -> None:
        await load("o.jsonl", [[{"a": 1}]])
        code = textwrap.dedent(CHILD)
        for delay in (0.0, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2):
            kill_after(delay, [sys.executable, "-c", code, str(tmp_path), "o.jsonl", "append", "none"], tmp_path)
            await load("o.jsonl", [], write_method="append", run_id="run_next")
            values = [one["a"] for one in records(tmp_path / "o.jsonl")]
            assert values[0] == 1
            assert (len(values) - 1) % 240_000 == 0


class TestTheSystemRefuses:
    async def test_folder_missing(self, tmp_path) -> None:
        with pytest.raises(FatalError, match=r"no/such.*folder does not exist") as caught:
            await File(path="no/such/o.csv", make_dirs=False).open(context(tmp_path))
        assert "make_dirs: true" in caught.value.help
        writer = await File(path="no/such/o.csv").open(context(tmp_path))
        await writer.finish()
        assert (tmp_path / "no/such/o.csv").exists()

    async def test_part_of_the_path_is_a_file(self, tmp_path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FatalError, match="file"):
            await File(path="file/o.csv").open(context(tmp_path))

    @posix
    async def test_special_files_are_not_replaced(self, tmp_path) -> None:
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(FatalError, match="no regular file"):
            await File(path="pipe.csv").open(context(tmp_path))

    @posix
    @not_root
    async def test_read_only_folder(self, tmp_path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(FatalError, match="permission denied"):
            await File(path="o.csv").open(context(tmp_path))

    @posix
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("method", ["replace", "append"])
    async def test_file_too_large_for_the_system(self, load, tmp_path, name, method) -> None:
        await load(name, [[{"a": "1"}]])
        before = (tmp_path / name).read_bytes()
        code = LIMITED.format(prepare="resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))")
        done = run_limited(code, tmp_path, name, method)
        assert done.stdout.startswith("FatalError cannot write "), done.stdout + done.stderr
        assert "larger than the system allows" in done.stdout
        assert (tmp_path / name).read_bytes() == before
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("method", ["replace", "append"])
    async def test_disk_full(self, small_disk, name, method) -> None:
        writer = await File(path=name).open(context(small_disk))
        await writer.write(as_batch([{"a": "1"}], 1))
        await writer.finish()
        before = (small_disk / name).read_bytes()
        done = run_limited(LIMITED.format(prepare="pass"), small_disk, name, method)
        assert "the disk is full" in done.stdout, done.stdout + done.stderr
        assert "free some space" in done.stdout
        assert (small_disk / name).read_bytes() == before
        assert leftovers(small_disk) == []
        writer = await File(path=name).open(context(small_disk))
        await writer.write(as_batch([{"a": "2"}], 1))
        await writer.finish()


LIMITED = """
import asyncio, os, resource, signal, sys
from pathlib import Path
import polars as pl
from etlctl.batch import Batch
from etlctl.errors import EtlctlError
from etlctl.loaders.file import File
from etlctl.sdk import WriteContext
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
{prepare}
folder, name, method = sys.argv[1:]

async def main():
    writer = await File(path=name, write_method=method).open(WriteContext(base_dir=Path(folder), run_id="run_x"))
    try:
        for seq in range(6):
            texts = [os.urandom(30).hex() for _ in range(20_000)]
            batch = Batch.of_frame(pl.DataFrame({{"a": texts}}), {{}})
            batch.seq = seq + 1
            await writer.write(batch)
        await writer.finish()
    except EtlctlError as error:
        print(type(error).__name__, error, error.help)
        await writer.abort()
asyncio.run(main())
"""


def run_limited(code: str, folder: Path, name: str, method: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), name, method],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
