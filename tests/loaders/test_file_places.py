"""Folders of parts, standard output, dry runs, encoders and canceled runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from etlctl.loaders.file import File
from loading import as_batch, context, leftovers

from etlctl.errors import FatalError

ROOT = Path(__file__).resolve().parents[2]


class TestParts:
    @pytest.mark.parametrize("extension", ["parquet", "jsonl", "csv", "json"])
    async def test_one_part_for_each_batch(self, load, tmp_path, extension) -> None:
        frames = [pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [3]})]
        done = await load("out/", frames, format=extension)
        assert done.published.places == (str(tmp_path / "out"),)
        names = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert names == [f"part-000001.{extension}", f"part-000002.{extension}"]
        manifest = json.loads((tmp_path / ".out.manifest.json").read_text())
        assert [(one["name"], one["records"]) for one in manifest["parts"]] == [(names[0], 2), (names[1], 1)]
        if extension == "parquet":
            assert pl.read_parquet(tmp_path / "out")["a"].to_list() == [1, 2, 3]

    async def test_replace_swaps_the_whole_folder(self, load, tmp_path) -> None:
        await load("out/", [[{"a": i}] for i in range(5)], format="jsonl")
        writer = await File(path="out", partition="parts", format="jsonl").open(context(tmp_path))
        await writer.write(as_batch([{"a": 9}], 1))
        assert len(list((tmp_path / "out").iterdir())) == 5
        await writer.finish()
        assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ['{"a":9}\n']
        assert leftovers(tmp_path) == [".out.manifest.json"]

    async def test_append_adds_parts_of_their_own_names(self, load, tmp_path) -> None:
        for run in ("run_1", "run_2"):
            await load("out/", [[{"a": run}], [{"a": "x"}]], format="csv", write_method="append", run_id=run)
        names = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert names == [f"part-run_{run}-00000{part}.csv" for run in (1, 2) for part in (1, 2)]
        parts = json.loads((tmp_path / ".out.manifest.json").read_text())["parts"]
        assert [(one["name"], one["records"]) for one in parts] == [(name, 1) for name in names]

    async def test_an_existing_folder_needs_no_slash(self, load, tmp_path) -> None:
        (tmp_path / "out").mkdir()
        await load("out", [[{"a": 1}]], format="jsonl")
        assert (tmp_path / "out" / "part-000001.jsonl").exists()

    async def test_abort_leaves_no_trace(self, load, tmp_path) -> None:
        await load("out/", [[{"a": 1}]], format="csv")
        for method in ("append", "replace"):
            writer = await File(path="out/", format="csv", write_method=method).open(context(tmp_path))
            await writer.write(as_batch([{"a": 2}], 1))
            await writer.abort()
        assert (tmp_path / "out" / "part-000001.csv").read_text() == "a\n1\n"
        assert leftovers(tmp_path) == [".out.manifest.json"]

    async def test_parts_without_records_are_left_out(self, load, tmp_path) -> None:
        done = await load("out/", [[{"a": float("nan")}], pl.DataFrame({"a": []}), [{"a": 1.0}]], format="jsonl")
        assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ['{"a":1.0}\n']
        assert (len(done.rejected), done.published.records) == (1, 1)

    async def test_a_folder_of_other_things_is_not_replaced(self, load, tmp_path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.doc").write_text("years of work")
        with pytest.raises(FatalError, match=r"cannot replace the folder .*home: it holds 'thesis.doc'"):
            await load("home/", [[{"a": 1}]], format="csv")
        assert (tmp_path / "home" / "thesis.doc").read_text() == "years of work"
        assert leftovers(tmp_path) == []

    async def test_a_file_in_the_way(self, load, tmp_path) -> None:
        (tmp_path / "out").write_text("x")
        with pytest.raises(FatalError, match="it is a file, not a folder"):
            await load("out/", [[{"a": 1}]], format="csv")


STDOUT = """
import asyncio, sys
import polars as pl
from etlctl.batch import Batch
from etlctl.errors import OutputClosed
from etlctl.loaders.file import File
from etlctl.sdk import WriteContext

async def main():
    writer = await File(path="-", format=sys.argv[1]).open(WriteContext())
    try:
        for seq in range(int(sys.argv[2])):
            batch = Batch.of_frame(pl.DataFrame({{"a": [seq], "b": ["x"]}}), {{}}) if seq % 2 else Batch.of_rows([{{"a": seq, "b": "x"}}], {{}})
            await writer.write(batch)
            {between}
        print(await writer.finish(), file=sys.stderr)
    except OutputClosed as error:
        await writer.abort()
        print("closed", error.exit_code, file=sys.stderr)
        sys.exit(error.exit_code)
asyncio.run(main())
"""


def stdout_child(form: str, batches: int, between: str = "pass", **how) -> subprocess.Popen:
    code = textwrap.dedent(STDOUT.format(between=between))
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, form, str(batches)], cwd=ROOT, stdout=pipe, stderr=pipe, **how)


class TestStdout:
    @pytest.mark.parametrize(
        ("form", "text"),
        [
            ("jsonl", '{"a":0,"b":"x"}\n{"a":1,"b":"x"}\n'),
            ("json", '[\n{"a":0,"b":"x"},\n{"a":1,"b":"x"}\n]\n'),
            ("csv", "a,b\n0,x\n1,x\n"),
            ("tsv", "a\tb\n0\tx\n1\tx\n"),
        ],
    )
    def test_text_formats_go_out_as_they_are(self, form, text) -> None:
        out, err = stdout_child(form, 2).communicate(timeout=60)
        assert out.decode() == text
        assert b"standard output" in err

    @pytest.mark.parametrize("form", ["jsonl", "csv"])
    def test_records_go_out_while_the_run_is_going_on(self, form) -> None:
        with stdout_child(form, 2, between="sys.stdin.readline()", stdin=subprocess.PIPE) as child:
            if form == "csv":
                assert child.stdout.readline() == b"a,b\n"
            assert b"0" in child.stdout.readline()
            child.stdin.write(b"\n\n")
            child.stdin.close()
            assert b"1" in child.stdout.readline()

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
    def test_a_reader_that_leaves_ends_the_run_quietly(self) -> None:
        with stdout_child("jsonl", 100_000) as child:
            child.stdout.readline()
            child.stdout.close()
            err = child.stderr.read()
            assert child.wait(60) == 141
        assert err == b"closed 141\n"

    async def test_a_new_column_cannot_be_added_on_the_way(self, tmp_path, capfdbinary) -> None:
        writer = await File(path="-", format="csv").open(context(tmp_path))
        await writer.write(as_batch([{"a": 1}], 1))
        with pytest.raises(FatalError, match="cannot add the column 'b' to standard output"):
            await writer.write(as_batch([{"a": 1, "b": 2}], 2))
        await writer.abort()
        print("still open")
        sys.stdout.flush()
        assert capfdbinary.readouterr().out == b"a\n1\nstill open\n"


async def test_a_dry_run_writes_nothing(tmp_path) -> None:
    writer = await File(path="no/o.csv").open(context(tmp_path, dry_run=True))
    assert (await writer.write(as_batch([{"a": 1}], 1))).records == 1
    assert (await writer.finish()).records == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["o.jsonl", "o.json", "o.csv", "o.parquet"])
async def test_encoded_rows_make_the_same_file(load, tmp_path, name) -> None:
    rows = [
        {"a": 1, "b": "x"},
        {"a": float("nan") if "json" in name else 2.5, "b": None},
        {"a": 3},
        {"c": [1]},
        {"a": "\ud800"},
    ]
    rows = rows if name != "o.parquet" else rows[:4]
    plain = await load(name, [rows, rows])
    before = (tmp_path / name).read_bytes()
    encoded = await load(name, [rows, rows], encoded=True)
    assert (tmp_path / name).read_bytes() == before
    assert [(one.rule, one.field) for one in encoded.rejected] == [(one.rule, one.field) for one in plain.rejected]
    assert encoded.published.records == plain.published.records


async def test_rejections_know_where_the_record_came_from(tmp_path) -> None:
    writer = await File(path="o.jsonl").open(context(tmp_path))
    batch = as_batch([{"a": 1}, {"a": float("nan")}], 1)
    batch.locate = lambda index: f"in.csv:{index + 2}"
    (rejected,) = (await writer.write(batch)).rejected
    assert (rejected.location, rejected.step, rejected.stage) == ("in.csv:3", "load", "load")
    await writer.abort()


async def test_abort_waits_for_a_write_that_was_canceled(tmp_path, monkeypatch) -> None:
    from etlctl.kit.codecs.jsonl_writer import JsonlWriter

    going, may_end, events = threading.Event(), threading.Event(), []
    real = JsonlWriter.write

    def slow(self, batch):
        going.set()
        may_end.wait(10)
        events.append("written")
        return real(self, batch)

    monkeypatch.setattr(JsonlWriter, "write", slow)
    writer = await File(path="o.jsonl").open(context(tmp_path))
    task = asyncio.create_task(writer.write(as_batch([{"a": 1}], 1)))
    await asyncio.to_thread(going.wait, 10)
    task.cancel()
    aborting = asyncio.create_task(writer.abort())
    await asyncio.sleep(0.05)
    assert not aborting.done()
    may_end.set()
    await aborting
    assert events == ["written"]
    assert list(tmp_path.iterdir()) == []


async def write_all(writer, batches: int) -> None:
    for seq in range(batches):
        await writer.write(as_batch(pl.DataFrame({"a": range(60_000)}), seq + 1))


class TestParquetThread:
    def threads(self) -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("parquet ")]

    async def test_an_error_of_the_thread_surfaces_and_nothing_hangs(self, tmp_path, monkeypatch) -> None:
        from etlctl.kit.codecs import parquet_sink

        def broken(self, *_args):
            self._frames.get()
            raise OSError(28, "No space left on device")
            yield

        monkeypatch.setattr(parquet_sink.ParquetSink, "_source", broken)
        writer = await File(path="o.parquet").open(context(tmp_path))
        began = time.monotonic()
        with pytest.raises(FatalError, match="the disk is full"):
            await write_all(writer, 20)
        await writer.abort()
        assert time.monotonic() - began < 10
        assert self.threads() == []
        assert list(tmp_path.iterdir()) == []

    async def test_abort_ends_the_thread(self, tmp_path) -> None:
        for batches in (1, 3, 8):
            writer = await File(path="o.parquet").open(context(tmp_path))
            for seq in range(batches):
                await writer.write(as_batch(pl.DataFrame({"a": range(60_000)}), seq + 1))
            assert self.threads() == ["parquet data.0"]
            await writer.abort()
            assert self.threads() == []


async def test_home_folder(load, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    await load("~/o.csv", [[{"a": 1}]])
    assert (tmp_path / "me" / "o.csv").read_text() == f"a{os.linesep}1{os.linesep}".replace(os.linesep, "\n")
