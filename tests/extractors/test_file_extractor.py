"""The file extractor: files found, opened, read and resumed, whatever their format and compression."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
import zstandard
from etlctl.extractors.file import File
from pydantic import ValidationError

from etlctl.errors import FatalError
from etlctl.sdk import ReadContext

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases" / "extract_cases.yaml").read_text("utf-8"))["cases"]


async def read(folder: Path, position=None, *, chunk_bytes: int = 8 << 20, warn=lambda _text: None, **options: Any):
    ctx = ReadContext(base_dir=folder, position=position, chunk_bytes=chunk_bytes, batch_size=3, warn=warn)
    return [batch async for batch in File(**options).read(ctx)]


def records(batches) -> list[dict[str, Any]]:
    return [record for batch in batches for record in batch.to_rows()]


def rejected(batches) -> list[tuple[str, str | None, Any]]:
    return [(one.rule, one.location, one.raw) for batch in batches for one in batch.rejected]


# --- acceptance cases --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [case for case in CASES if "format" not in case["expect"]], ids=lambda case: case["id"]
)
async def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    given, expect = case["given"], case["expect"]
    options = {name: value for name, value in given.get("extract", {}).items() if name != "type"}
    options.setdefault("path", _place(given, tmp_path))
    if expect.get("success") is False:
        with pytest.raises(FatalError, match=expect["error_contains"]) as caught:
            await read(tmp_path, **options)
        assert caught.value.exit_code == 1
        return
    batches = await read(tmp_path, **options)
    rows = records(batches)
    if "rows" in expect:
        wanted = expect["rows"]
        renames = given.get("transform_config", {}).get("transform", {}).get("rename", {})
        back = {new: old for old, new in renames.items()}
        assert rows == [{back.get(name, name): value for name, value in row.items()} for row in wanted]
    if "row_count" in expect:
        assert len(rows) == expect["row_count"]
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert len(rejected(batches)) == expect.get("rejected", 0)


def _place(given: dict[str, Any], folder: Path) -> str:
    for kind in ("csv", "jsonl", "json"):
        if f"source_{kind}" in given:
            content = given[f"source_{kind}"]
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / f"data.{kind}").write_text(text, encoding="utf-8")
            return f"data.{kind}"
    for name, content in given.get("files", {}).items():
        (folder / name).write_text(content, encoding="utf-8")
    if "gzip of" in given["path"]:
        (folder / "z.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
        return "z.csv.gz"
    return given["path"]


@pytest.mark.parametrize("case", [case for case in CASES if "format" in case["expect"]], ids=lambda case: case["id"])
def test_format_is_told_by_the_extension(case: dict[str, Any]) -> None:
    from etlctl.kit.codecs import format_of

    assert format_of(case["given"]["path"]) == case["expect"]["format"]


# --- the law of positions ----------------------------------------------------------------------------------------

_CSV = b'id,text\n1,"a\nb"\n2\n3,x\n\n4,"y""\n"\n5,z\n6,\xff\n7,q\n8,r'
_JSONL = b'{"id": 1}\n[2]\n\n{"id": 3, "t": {"u": [1]}}\n{"id": 4}\n{"id":\n{"id": 6}'


def _csv_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.csv", b"id,text\n20,b\n21,c\n")
        archive.writestr("a.csv", _CSV)
        archive.writestr("__MACOSX/._a.csv", b"junk")
        archive.writestr("readme.txt", b"not this")
    return out.getvalue()


def _parquet() -> bytes:
    import polars as pl

    out = io.BytesIO()
    pl.DataFrame({"id": list(range(10)), "t": [str(n) for n in range(10)]}).write_parquet(out, row_group_size=4)
    return out.getvalue()


FILES: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "csv": ({"a.csv": _CSV}, {"path": "a.csv"}),
    "tsv": ({"a.tsv": _CSV.replace(b",", b"\t")}, {"path": "a.tsv"}),
    "csv.gz": ({"a.csv.gz": gzip.compress(_CSV[:20]) + gzip.compress(_CSV[20:])}, {"path": "a.csv.gz"}),
    "csv.zst": ({"a.csv.zst": zstandard.compress(_CSV[:9]) + zstandard.compress(_CSV[9:])}, {"path": "a.csv.zst"}),
    "zip": ({"a.zip": _csv_zip()}, {"path": "a.zip"}),
    "utf-16": (
        {"a.csv": "id,t\n1,é\n2\n3,€\n".encode("utf-16")},
        {"path": "a.csv", "csv_options": {"encoding": "utf-16"}},
    ),
    "jsonl": ({"a.jsonl": b"\xef\xbb\xbf" + _JSONL}, {"path": "a.jsonl"}),
    "ndjson.gz": ({"a.ndjson.gz": gzip.compress(_JSONL)}, {"path": "a.ndjson.gz"}),
    "json": ({"a.json": json.dumps({"items": [{"id": n} for n in range(9)]}).encode()}, {"path": "a.json"}),
    "json.zst": ({"a.json.zst": zstandard.compress(b'[{"a":1},2,{"a":3}]')}, {"path": "a.json.zst"}),
    "parquet": ({"a.parquet": _parquet()}, {"path": "a.parquet"}),
    "parquet.gz": ({"a.parquet.gz": gzip.compress(_parquet())}, {"path": "a.parquet.gz"}),
    "xml": ({"a.xml": b"<r>" + b"".join(b"<x><id>%d</id></x>" % n for n in range(9)) + b"</r>"}, {"path": "a.xml"}),
    "glob": (
        {f"d/{n}/{n}.csv": b"id,text\n%d,x\n%d\n%d,z\n" % (n, n, n) for n in range(4)},
        {"path": "d/**/*.csv"},
    ),
    "list": ({"z.csv": b"a\n1\n2\n", "a.csv": b"a\n3\n"}, {"path": ["z.csv", "*.csv"]}),
}


@pytest.mark.parametrize("chunk_bytes", [1, 16, 40, 1 << 20])
@pytest.mark.parametrize("name", FILES)
async def test_reading_on_from_any_position_gives_the_rest(name: str, chunk_bytes: int, tmp_path: Path) -> None:
    files, options = FILES[name]
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(content)
    batches = await read(tmp_path, chunk_bytes=chunk_bytes, **options)
    assert records(batches)
    for number, batch in enumerate(batches, 1):
        position = json.loads(json.dumps(batch.position))
        rest = await read(tmp_path, position, chunk_bytes=chunk_bytes + 5, **options)
        assert records(rest) == records(batches[number:])
        assert rejected(rest) == rejected(batches[number:])


async def test_lines_and_locations_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(_CSV)
    for chunk_bytes in (1, 30, 1 << 20):
        batches = await read(tmp_path, path="a.csv", chunk_bytes=chunk_bytes)
        places = [batch.locate(n) for batch in batches for n in range(len(batch))]
        assert places == [f"a.csv:{line}" for line in (2, 5, 7, 9, 11, 12)]
        assert rejected(batches) == [("csv.short_row", "a.csv:4", "2"), ("text.utf8", "a.csv:10", "6,\\xff")]


async def test_a_glob_whose_files_changed_goes_on_after_the_files_that_are_finished(tmp_path: Path) -> None:
    for name in "bdf":
        (tmp_path / f"{name}.csv").write_text(f"v\n{name}1\n{name}2\n", encoding="utf-8")
    batches = await read(tmp_path, path="*.csv", chunk_bytes=4)
    after_d1 = next(batch.position for batch in batches if records([batch]) == [{"v": "d1"}])
    for name in "ace":
        (tmp_path / f"{name}.csv").write_text(f"v\n{name}1\n", encoding="utf-8")
    warnings: list[str] = []
    rest = await read(tmp_path, after_d1, path="*.csv", warn=warnings.append)
    assert [record["v"] for record in records(rest)] == ["d2", "e1", "f1", "f2"]
    assert len(warnings) == 1
    assert "2 file(s) that come before d.csv are new" in warnings[0]
    (tmp_path / "b.csv").unlink()
    (tmp_path / "a.csv").unlink()
    rest = await read(tmp_path, after_d1, path="*.csv")
    assert [record["v"] for record in records(rest)] == ["d2", "e1", "f1", "f2"]
    (tmp_path / "d.csv").unlink()
    with pytest.raises(FatalError, match=r"d\.csv, the file in which this run stopped, is not there"):
        await read(tmp_path, after_d1, path="*.csv")


# --- finding files ------------------------------------------------------------------------------------------------


async def test_a_missing_file_is_named_with_its_whole_path(tmp_path: Path) -> None:
    for path in ("nope.csv", "nope*.csv", ["nope.csv"]):
        with pytest.raises(FatalError, match="File not found") as caught:
            await read(tmp_path, path=path)
        assert str(tmp_path / "nope") in caught.value.message
        assert "relative paths start at the contract's folder" in (caught.value.help or "")
    with pytest.raises(FatalError, match="is a folder"):
        await read(tmp_path.parent, path=tmp_path.name, format="csv")


async def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "odd [1]"
    folder.mkdir()
    (folder / "a[b].csv").write_text("x\n1\n", encoding="utf-8")
    assert records(await read(folder, path="a[b].csv")) == [{"x": "1"}]
    assert records(await read(folder, path="*.csv")) == [{"x": "1"}]


def test_what_does_not_fit_together_is_refused_before_anything_is_read() -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"path": "x.dat"}, "extension '.dat' does not tell the format.*csv, tsv, json, jsonl, parquet, excel, xml"),
        ({"path": "-"}, "standard input does not tell its format"),
        ({"path": ["-", "a.csv"]}, "cannot be read together"),
        ({"path": "a.csv", "json_options": {}}, "json_options has no effect on format csv"),
        ({"path": "a.csv", "csv_options": {"columns": ["a"]}}, "add header: false"),
        ({"path": "a.csv", "csv_options": {"header": False, "columns": ["a", "a"]}}, "differ from each other"),
        ({"path": "a.csv", "csv_options": {"delimiter": "€"}}, "single ASCII character"),
        ({"path": "a.csv", "csv_options": {"delimiter": '"'}}, "both"),
        ({"path": "a.csv", "csv_options": {"encoding": "klingon"}}, "unknown text encoding 'klingon'"),
    ]
    for options, text in bad:
        with pytest.raises(ValidationError, match=text):
            File(**options)
    File(path="${param:source}", csv_options={}, json_options={})
    File(path="a.*", csv_options={})


async def test_an_extension_that_only_the_files_tell(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("x\n1\n", encoding="utf-8")
    with pytest.raises(FatalError, match="does not tell the format"):
        await read(tmp_path, path="a.*")
    assert records(await read(tmp_path, path="a.*", format="csv")) == [{"x": "1"}]


# --- compression --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gz", "zst", "zip"])
@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
async def test_damaged_archives_are_errors_and_never_an_early_end(suffix: str, damage: str, tmp_path: Path) -> None:
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (n * 7919 % 10007, n) for n in range(20_000))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    zstd = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    packed = {"gz": gzip.compress(content), "zst": zstd, "zip": out.getvalue()}[suffix]
    middle = len(packed) // 2
    broken = {
        "cut": packed[:-20],
        "flip": packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :],
        "other": b"this is no archive at all",
    }[damage]
    (tmp_path / f"a.csv.{suffix}").write_bytes(broken)
    with pytest.raises(FatalError, match=rf"a\.csv\.{suffix}"):
        await read(tmp_path, path=f"a.csv.{suffix}", chunk_bytes=5000)


async def test_compression_by_option_and_members_of_archives(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(gzip.compress(b"a\n1\n"))
    assert records(await read(tmp_path, path="plain", format="csv", compression="gzip")) == [{"a": "1"}]
    (tmp_path / "not.csv.gz").write_bytes(b"a\n1\n")
    assert records(await read(tmp_path, path="not.csv.gz", compression="none")) == [{"a": "1"}]
    with zipfile.ZipFile(tmp_path / "one.csv.zip", "w") as archive:
        archive.writestr("export.txt", "a\n1\n")
    batches = await read(tmp_path, path="one.csv.zip")
    assert records(batches) == [{"a": "1"}]
    assert batches[-1].locate(0) == "one.csv.zip/export.txt:2"
    with zipfile.ZipFile(tmp_path / "one.csv.zip", "a") as archive:
        archive.writestr("b.txt", "")
    with pytest.raises(FatalError, match=r"one\.csv\.zip holds no json file; it holds b\.txt, export\.txt"):
        await read(tmp_path, path="one.csv.zip", format="json")
    (tmp_path / "empty.csv.gz").write_bytes(b"")
    with pytest.raises(FatalError, match="it is empty"):
        await read(tmp_path, path="empty.csv.gz")


# --- bad records --------------------------------------------------------------------------------------------------


async def test_on_bad_record_fail_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n3\n")
    with pytest.raises(FatalError, match=r"a\.csv:3: 1 field\(s\) where 2 belong \(csv\.short_row\): '3'"):
        await read(tmp_path, path="a.csv", on_bad_record="fail")


async def test_fields_are_told_by_the_header_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b"\xff" * 100)
    (tmp_path / "b.csv").write_bytes(b"a,c\n")
    (tmp_path / "c.parquet").write_bytes(_parquet())
    base = str(tmp_path)
    assert File(path="a.csv").fields(base) == {"a": "string", "b": "string"}
    assert File(path="*.csv").fields(base) is None
    assert File(path="none.csv").fields(base) is None
    assert File(path="-", format="csv").fields(base) is None
    assert File(path="c.parquet").fields(base) == {"id": "any", "t": "any"}


# --- threads, handles, stdin --------------------------------------------------------------------------------------


def _big_csv(folder: Path) -> None:
    (folder / "big.csv").write_bytes(b"a,b\n" + b"1,2\n" * 200_000)


async def test_the_thread_and_the_file_are_released_when_the_consumer_stops(tmp_path: Path) -> None:
    _big_csv(tmp_path)
    for suffix, content in (("csv", None), ("csv.gz", gzip.compress((tmp_path / "big.csv").read_bytes()))):
        path = tmp_path / f"big.{suffix}"
        if content is not None:
            path.write_bytes(content)
        threads = _readers()
        stream = File(path=path.name).read(ReadContext(base_dir=tmp_path, chunk_bytes=4096))
        async for _batch in stream:
            break
        assert len(_readers()) == len(threads) + 1
        await stream.aclose()  # type: ignore[attr-defined]
        assert _readers() == threads
        assert str(path) not in {file.path for file in psutil.Process().open_files()}


def _readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "etlctl-read-ahead"}


async def test_reading_ahead_is_bounded(tmp_path: Path) -> None:
    from etlctl.kit.read_ahead import read_ahead

    made: list[int] = []

    def items():
        for n in range(100):
            made.append(n)
            yield n

    stream = read_ahead(items, depth=2)
    assert await anext(stream) == 0
    await asyncio.sleep(0.2)
    assert len(made) <= 4
    await stream.aclose()
    assert not _readers()


async def test_an_error_on_the_thread_arrives_after_the_items_before_it() -> None:
    from etlctl.kit.read_ahead import read_ahead

    def items():
        yield 1
        raise KeyError("boom")

    stream = read_ahead(items)
    assert await anext(stream) == 1
    with pytest.raises(KeyError, match="boom"):
        await anext(stream)
    assert not _readers()


async def test_the_event_loop_is_never_held_up(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b,c\n" + b'1,"x,y",3\n' * 1_500_000)
    lags: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - before - 0.005)

    watcher = asyncio.create_task(watch())
    batches = await read(tmp_path, path="a.csv")
    watcher.cancel()
    assert sum(map(len, batches)) == 1_500_000
    assert sorted(lags)[len(lags) // 2] < 0.1


_STDIN = """
import asyncio, sys
from etlctl.extractors.file import File
from etlctl.sdk import ReadContext
async def main():
    n = 0
    async for batch in File(path="-", format=sys.argv[1], compression=sys.argv[2]).read(ReadContext()):
        if batch.is_position: continue
        n += len(batch)
        print(n, flush=True)
        if len(sys.argv) > 3: break
asyncio.run(main())
"""


def _stdin(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _STDIN, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_standard_input_is_read_as_it_comes() -> None:
    with _stdin("csv", "none") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"a,b\n1,2\n3,4\n5,")
        process.stdin.flush()
        assert process.stdout.readline().strip() == b"2"
        process.stdin.write(b"6\n")
        process.stdin.close()
        assert process.stdout.readline().strip() == b"3"
        assert process.wait(20) == 0


def test_compressed_standard_input() -> None:
    with _stdin("jsonl", "gzip") as process:
        out, _ = process.communicate(gzip.compress(b'{"a":1}\n' * 10), timeout=30)
        assert out.split() == [b"10"]


@pytest.mark.skipif(sys.platform == "win32", reason="a read of a Windows pipe cannot be interrupted")
def test_a_consumer_that_stops_does_not_wait_for_standard_input() -> None:
    with _stdin("csv", "none", "stop") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"a\n1\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == b"1"
        assert process.wait(4) == 0  # standard input is still open


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    row = b"1234567,some text here,2024-01-01,12.50,abcdefgh,x\n"
    script = (
        "import asyncio, pathlib, sys, psutil\n"
        "from etlctl.extractors.file import File\n"
        "from etlctl.sdk import ReadContext\n"
        "peak = 0\n"
        "async def main():\n"
        "    global peak\n"
        "    async for batch in File(path=sys.argv[1]).read(ReadContext(base_dir=pathlib.Path(sys.argv[2]))):\n"
        "        peak = max(peak, psutil.Process().memory_info().rss)\n"
        "asyncio.run(main())\n"
        "print(peak)\n"
    )
    peaks = []
    for times in (1_000_000, 5_000_000):
        path = tmp_path / "big.csv"
        with path.open("wb") as file:
            file.write(b"a,b,c,d,e,f\n")
            for _ in range(times // 100_000):
                file.write(row * 100_000)
        out = subprocess.run([sys.executable, "-c", script, "big.csv", str(tmp_path)], capture_output=True, check=True)
        peaks.append(int(out.stdout))
    path.unlink()
    assert peaks[1] <= peaks[0] * 1.25


def test_the_columns_of_whole_trees_are_not_looked_up(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    assert File(path="*.csv").fields(str(tmp_path)) == {"x": "string", "y": "string"}
    assert File(path="**/*.csv").fields(str(tmp_path)) is None
