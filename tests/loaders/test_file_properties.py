"""Whatever goes in comes out: random records through every format, against independent readers."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import shutil
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pyarrow.parquet as pq
from etlctl.loaders.file import File
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import as_batch, context

from etlctl.batch import frame_to_rows, rows_to_frame

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", '"', ",", "\n", "\r\n", "\r", "null", "NaN", " x ", "'", "\t", "\\", "\x00", "\u2028", "é😀", "#", "1", "true"]
)
names = st.sampled_from(["*", "^.*$", "a", "", ","]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6
)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12)
moments = st.datetimes(timezones=st.sampled_from([None, UTC]))
columns = {
    "text": texts,
    "whole": st.integers(-(2**63), 2**63 - 1),
    "big": st.integers(-(10**37), 10**37),
    "ratio": floats,
    "price": decimals,
    "yes": st.booleans(),
    "naive": st.datetimes(),
    "utc": st.datetimes(timezones=st.just(UTC)),
    "day": st.dates(),
    "clock": st.times(),
    "span": st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000)),
    "raw": st.binary(max_size=8),
    "list": st.lists(st.none() | texts, max_size=3),
    "object": st.fixed_dictionaries({"x": st.none() | texts, "y": st.none() | floats}),
}
table = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in columns.items()}), max_size=8)
relaxed = settings(
    max_examples=int(os.environ.get("ETLCTL_TEST_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


HOME = tempfile.TemporaryDirectory(prefix="etlctl-test-")


def written(name: str, batches: list[Any], **options: Any) -> tuple[bytes, Path]:
    folder = Path(HOME.name) / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    async def run() -> None:
        writer = await File(path=name, **options).open(context(folder))
        for seq, content in enumerate(batches, 1):
            receipt = await writer.write(as_batch(content, seq))
            assert not receipt.rejected
        await writer.finish()

    asyncio.run(run())
    return (folder / name).read_bytes(), folder / name


def iso(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z")


def span(value: timedelta) -> str:
    micros = value // timedelta(microseconds=1)
    fraction = f".{abs(micros) % 10**6:06}" if micros % 10**6 else ""
    return f"{'-' if micros < 0 else ''}PT{abs(micros) // 10**6}{fraction}S"


def base64(value: bytes) -> str:
    import base64 as b

    return b.b64encode(value).decode()


def plain(value: Any) -> Any:
    """What JSON should say of a value; decimals stay decimals."""
    if isinstance(value, datetime | date | time):
        return iso(value)
    if isinstance(value, timedelta):
        return span(value)
    if isinstance(value, bytes):
        return base64(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


class Exact(json.JSONDecoder):
    """Keeps floats apart from decimals by comparing both ways."""

    def __init__(self) -> None:
        super().__init__(parse_float=str)


def same(read: Any, value: Any) -> bool:
    if isinstance(value, float):
        return float(read) == value and math.copysign(1, float(read)) == math.copysign(1, value)
    if isinstance(value, Decimal):
        return str(read) == f"{value:f}"
    if isinstance(value, dict):
        return (
            isinstance(read, dict) and read.keys() == value.keys() and all(same(read[k], v) for k, v in value.items())
        )
    if isinstance(value, list):
        return len(read) == len(value) and all(map(same, read, value))
    return type(read) is type(value) and read == value


def lines(data: bytes) -> list[Any]:
    return [Exact().decode(line) for line in data.decode("utf-8").split("\n")[:-1]]


@relaxed
@given(table)
def test_jsonl_of_records(rows) -> None:
    data, _ = written("o.jsonl", [rows])
    assert same(lines(data), [plain(row) for row in rows])


@relaxed
@given(table)
def test_jsonl_of_frames_says_the_same_as_of_records(rows) -> None:
    if not rows:
        return
    frame = rows_to_frame(rows)
    data, _ = written("o.jsonl", [frame])
    assert same(lines(data), [plain(row) for row in frame_to_rows(frame)])


free = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | floats
    | texts
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@relaxed
@given(st.lists(st.dictionaries(texts, free, max_size=4), max_size=6), st.sampled_from([None, 0, 2]))
def test_json_of_anything(rows, indent) -> None:
    data, _ = written("o.json", [rows[:3], rows[3:]], json_options={"indent": indent})
    assert same(Exact().decode(data.decode()), rows)
    appended, _ = written("o.jsonl", [rows])
    assert same(lines(appended), rows)


def csv_cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list | dict):
        return value
    return str(plain(value)) if not isinstance(value, float) else value


def same_cell(read: str, value: Any) -> bool:
    cell = csv_cell(value)
    if cell is None:
        return read == ""
    if isinstance(cell, float):
        return float(read) == cell
    if isinstance(cell, list | dict):
        return same(Exact().decode(read), plain(cell))
    return read == cell


@relaxed
@given(table, st.booleans(), st.sampled_from(["necessary", "non_numeric", "always"]))
def test_csv_by_pythons_reader(rows, as_frame, quotes) -> None:
    content = rows_to_frame(rows) if as_frame and rows else rows
    kept = frame_to_rows(content) if as_frame and rows else rows
    _, path = written("o.csv", [content], csv_options={"quote_style": quotes})
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file, strict=True))
    assert len(read) == len(kept)
    for got, row in zip(read, kept, strict=True):
        assert got.keys() == row.keys()
        for name, value in row.items():
            assert same_cell(got[name], value), (name, got[name], value)


@relaxed
@given(st.lists(st.tuples(st.none() | texts, st.none() | texts), min_size=1, max_size=8), st.booleans())
def test_csv_tells_null_from_empty_text(pairs, as_frame) -> None:
    rows = [{"a": a, "b": b} for a, b in pairs if not any("\x00" in (x or "") for x in (a, b))]
    if not rows:
        return
    content = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}) if as_frame else rows
    _, path = written("o.csv", [content])
    read = pl.read_csv(path, infer_schema=False)
    assert read.to_dicts() == rows


@relaxed
@given(
    st.lists(
        st.dictionaries(names, st.none() | texts | st.integers(), min_size=1, max_size=4), min_size=1, max_size=10
    ),
    st.data(),
)
def test_csv_does_not_depend_on_how_records_are_cut(rows, data) -> None:
    whole, _ = written("o.csv", [rows])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    cut, _ = written("o.csv", parts)
    assert cut == whole
    first, rest = parts[0], [row for part in parts[1:] for row in part]
    if first and not {name for row in rest for name in row} - {name for row in first for name in row}:
        assert written("o.csv", [first, rest])[0] == whole


@relaxed
@given(table, st.integers(0, 8))
def test_parquet_by_pyarrow(rows, cut) -> None:
    _, path = written("o.parquet", [rows[:cut], rows[cut:]])
    read = pq.read_table(path).to_pylist()
    assert len(read) == len(rows)
    for got, row in zip(read, rows, strict=True):
        for name, value in row.items():
            kept = got.get(name)
            assert kept == value, (name, kept, value)
            if isinstance(value, float):
                assert math.copysign(1, kept) == math.copysign(1, value)


printable = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufffe\uffff"), min_size=1, max_size=12
)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"t": printable, "n": st.integers(-(2**53), 2**53), "f": floats, "b": st.booleans()}),
        max_size=5,
    )
)
def test_excel_by_openpyxl(rows) -> None:
    _, path = written("o.xlsx", [[{"t": "x", "n": 0, "f": 0.5, "b": True}, *rows]])
    header, _, *read = openpyxl.load_workbook(path).active.values
    assert header == ("t", "n", "f", "b")
    for got, row in zip(read, rows, strict=True):
        text, whole, ratio, yes = got
        assert openpyxl.utils.escape.unescape(text or "") == row["t"] or text == row["t"]
        assert (whole, ratio, yes) == (row["n"], row["f"], row["b"])
