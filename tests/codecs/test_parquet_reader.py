"""The Parquet reader: every type kept, slices, resuming, damaged files, flat memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from etlctl.errors import FatalError
from etlctl.kit.codecs.parquet_reader import ParquetReader
from etlctl.kit.sources import OpenSource


def source(path: Path, *, packed: bool = False) -> OpenSource:
    opener = (lambda: gzip.open(path)) if packed else (lambda: path.open("rb"))  # noqa: SIM115
    return OpenSource(path.name, path, packed, path.stat().st_size, opener)


def all_types(rows: int) -> pl.DataFrame:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)
    return pl.DataFrame(
        {
            "text": ["007", None] * (rows // 2),
            "small": pl.Series([-128] * rows, dtype=pl.Int8),
            "big": pl.Series([2**64 - 1] * rows, dtype=pl.UInt64),
            "real": [0.1] * rows,
            "single": pl.Series([0.5] * rows, dtype=pl.Float32),
            "money": [Decimal("12345678901234567890.12")] * rows,
            "flag": [True, False] * (rows // 2),
            "day": [date(2024, 2, 29)] * rows,
            "moment": pl.Series([moment] * rows, dtype=pl.Datetime("us", "UTC")),
            "nanos": pl.Series([moment.replace(tzinfo=None)] * rows, dtype=pl.Datetime("ns")),
            "clock": [time(1, 2, 3)] * rows,
            "span": [timedelta(days=1, microseconds=1)] * rows,
            "raw": [b"\x00\xff"] * rows,
            "tags": [["a", None]] * rows,
            "deep": [{"x": [{"y": 1}]}] * rows,
            "kind": pl.Series(["a", "b"] * (rows // 2), dtype=pl.Categorical),
        }
    )


def test_every_type_is_kept_over_slices(tmp_path):
    path = tmp_path / "t.parquet"
    frame = all_types(5_000)
    frame.write_parquet(path, row_group_size=777)
    chunks = list(ParquetReader(chunk_bytes=1).chunks(source(path), None))
    assert len(chunks) == 5
    assert_frame_equal(pl.concat([chunk.frame for chunk in chunks]), frame, categorical_as_str=True)
    assert all(chunk.frame.schema == frame.schema for chunk in chunks)


def test_resuming_at_every_token_gives_exactly_the_rest(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"n": range(5_500)}).write_parquet(path, row_group_size=700)
    chunks = list(ParquetReader(chunk_bytes=1).chunks(source(path), None))
    for chunk in chunks:
        token = json.loads(json.dumps(chunk.next))
        rest = [n for later in ParquetReader().chunks(source(path), token) for n in later.frame["n"]]
        assert rest == list(range(chunk.frame["n"][-1] + 1, 5_500))


def test_an_empty_file_still_tells_its_columns(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame(schema={"a": pl.Int64, "b": pl.String}).write_parquet(path)
    (chunk,) = ParquetReader().chunks(source(path), None)
    assert chunk.frame.schema == {"a": pl.Int64, "b": pl.String}
    assert list(ParquetReader().chunks(source(path), chunk.next)) == []


def test_a_compressed_file_goes_through_a_temporary_one(tmp_path):
    plain = tmp_path / "t.parquet"
    pl.DataFrame({"n": [1, 2]}).write_parquet(plain)
    packed = tmp_path / "t.parquet.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    (chunk,) = ParquetReader().chunks(source(packed, packed=True), None)
    assert chunk.frame["n"].to_list() == [1, 2]


@pytest.mark.parametrize("kept", [0, 3, 50, -1, -100])
def test_a_file_cut_off_anywhere_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"n": range(1_000)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FatalError, match=r"t\.parquet cannot be read as Parquet"):
        list(ParquetReader().chunks(source(path), None))


def test_a_page_damaged_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"n": [str(n) * 5 for n in range(5_000)]}).write_parquet(path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[4:64] = b"\xaa" * 60
    path.write_bytes(bytes(data))
    with pytest.raises(FatalError, match=r"t\.parquet cannot be read as Parquet from row 0"):
        list(ParquetReader().chunks(source(path), None))


def test_columns_come_from_the_footer(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(path)
    assert ParquetReader().columns(source(path)) == ["a", "b"]
    path.write_bytes(b"no")
    assert ParquetReader().columns(source(path)) is None


_PEAK = """
import sys, psutil
from pathlib import Path
from etlctl.kit.codecs.parquet_reader import ParquetReader
from etlctl.kit.sources import OpenSource
path, process, peak = Path(sys.argv[1]), psutil.Process(), 0
for chunk in ParquetReader().chunks(OpenSource("s", path, False, None, None), None):
    peak = max(peak, process.memory_info().rss)
print(peak >> 20)
"""


def test_memory_is_flat_even_in_one_huge_row_group(tmp_path):
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.parquet"
        frame = pl.DataFrame({"n": range(rows)}).with_columns(t=pl.format("some text number {}", pl.col("n") * 7))
        frame.write_parquet(path, row_group_size=rows)
        done = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert peak(2_000_000) < peak(200_000) + 64
