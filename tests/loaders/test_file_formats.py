"""What stands in the files: every format against an independent reader, byte by byte where that is the promise."""

# ruff: noqa: DTZ001 - times without a zone are part of what is tested
from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import openpyxl
import polars as pl
import pyarrow.parquet as pq
import pytest
import zstandard

from etlctl.errors import ConversionError, FatalError

NAN = float("nan")
BIG = 2**64 + 1

EVERYTHING = [
    {
        "text": 'a,"b"\nc',
        "empty": "",
        "none": None,
        "yes": True,
        "whole": 2**63 - 1,
        "small": 1,
        "ratio": 0.1,
        "price": Decimal("1.10"),
        "utc": datetime(2013, 1, 1, 10, tzinfo=UTC),
        "micro": datetime(2013, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC),
        "naive": datetime(2013, 1, 1, 10),
        "day": date(2013, 1, 1),
        "clock": time(1, 2, 3),
        "span": timedelta(days=1, microseconds=5),
        "raw": b"\x00\xff",
        "list": [1, None],
        "object": {"a": 1, "b": None},
    }
]
EVERYTHING_JSON = (
    '{"text":"a,\\"b\\"\\nc","empty":"","none":null,"yes":true,"whole":9223372036854775807,"small":1,"ratio":0.1,'
    '"price":1.10,"utc":"2013-01-01T10:00:00Z","micro":"2013-01-01T10:00:00.500000Z","naive":"2013-01-01T10:00:00",'
    '"day":"2013-01-01","clock":"01:02:03","span":"PT86400.000005S","raw":"AP8=","list":[1,null],"object":{"a":1,"b":null}}\n'
)
EVERYTHING_CSV = (
    "text,empty,none,yes,whole,small,ratio,price,utc,micro,naive,day,clock,span,raw,list,object\n"
    '"a,""b""\nc","",,true,9223372036854775807,1,0.1,1.10,2013-01-01T10:00:00Z,2013-01-01T10:00:00.500000Z,'
    '2013-01-01T10:00:00,2013-01-01,01:02:03,PT86400.000005S,AP8=,"[1,null]","{""a"":1,""b"":null}"\n'
)


def everything_frame() -> pl.DataFrame:
    return pl.DataFrame(EVERYTHING, schema_overrides={"price": pl.Decimal(38, 2)})


@pytest.mark.parametrize("form", ["rows", "encoded", "frame"])
async def test_jsonl_says_every_kind_of_value_exactly(load, tmp_path, form) -> None:
    content = everything_frame() if form == "frame" else EVERYTHING
    await load("out.jsonl", [content], encoded=form == "encoded")
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == EVERYTHING_JSON


@pytest.mark.parametrize("form", ["rows", "encoded", "frame"])
async def test_csv_says_every_kind_of_value_exactly(load, tmp_path, form) -> None:
    content = everything_frame() if form == "frame" else EVERYTHING
    await load("out.csv", [content], encoded=form == "encoded")
    assert (tmp_path / "out.csv").read_bytes().decode() == EVERYTHING_CSV


@pytest.mark.parametrize("form", ["rows", "frame"])
async def test_json_is_an_array_with_the_same_text(load, tmp_path, form) -> None:
    await load("out.json", [everything_frame() if form == "frame" else EVERYTHING] * 2)
    line = EVERYTHING_JSON.rstrip("\n")
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == f"[\n{line},\n{line}\n]\n"


async def test_json_indent_spreads_the_same_text(load, tmp_path) -> None:
    rows = [{"a": Decimal("1.10"), "b": [], "c": {}, "d": [1, {"e": 'x,{\\"[:'}]}, {"a": 2}]
    await load("out.json", [rows], json_options={"indent": 2})
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    assert text == (
        '[\n  {\n    "a": 1.10,\n    "b": [],\n    "c": {},\n    "d": [\n      1,\n      {\n'
        '        "e": "x,{\\\\\\"[:"\n      }\n    ]\n  },\n  {\n    "a": 2\n  }\n]\n'
    )
    assert json.loads(text)[0]["d"][1]["e"] == 'x,{\\"[:'


async def test_numbers_beyond_the_machine_keep_every_digit(load, tmp_path) -> None:
    rows = [{"n": BIG, "d": Decimal("123456789012345678901234567890.123456789")}, {"n": -BIG, "d": Decimal("1E+3")}]
    await load("out.jsonl", [rows])
    await load("out.csv", [rows])
    expected = [f'{{"n":{BIG},"d":123456789012345678901234567890.123456789}}', f'{{"n":{-BIG},"d":1000}}']
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines() == expected
    assert list(csv.reader((tmp_path / "out.csv").open(encoding="utf-8")))[1:] == [
        [str(BIG), "123456789012345678901234567890.123456789"],
        [str(-BIG), "1000"],
    ]


async def test_128_bit_columns_keep_every_digit(load, tmp_path) -> None:
    frame = pl.DataFrame(
        {"n": pl.Series([2**100, None], dtype=pl.Int128), "u": pl.Series([2**64 - 1, 0], dtype=pl.UInt64)}
    )
    for name in ("out.jsonl", "out.csv", "out.parquet"):
        await load(name, [frame])
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {"n": 2**100, "u": 2**64 - 1}
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == f"n,u\n{2**100},{2**64 - 1}\n,0\n"
    assert pq.read_table(tmp_path / "out.parquet").to_pylist()[0] == {"n": Decimal(2**100), "u": 2**64 - 1}


async def test_zones_nested_times_and_nanoseconds_in_frames(load, tmp_path) -> None:
    frame = pl.DataFrame(
        {
            "z": pl.Series([datetime(2013, 7, 1), datetime(2013, 1, 1)]).dt.replace_time_zone("Europe/London"),
            "n": pl.Series([1_500_000_001, 1_500_000_000]).cast(pl.Datetime("ns")),
            "l": [[{"t": time(1, 2, 3, 4), "u": datetime(2013, 1, 1)}], None],
            "c": pl.Series(["x", None], dtype=pl.Categorical),
        }
    )
    await load("out.jsonl", [frame])
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines() == [
        (
            '{"z":"2013-07-01T00:00:00+01:00","n":"1970-01-01T00:00:01.500000001",'
            '"l":[{"t":"01:02:03.000004","u":"2013-01-01T00:00:00"}],"c":"x"}'
        ),
        '{"z":"2013-01-01T00:00:00Z","n":"1970-01-01T00:00:01.500000","l":null,"c":null}',
    ]


async def test_rows_with_zones_of_their_own(load, tmp_path) -> None:
    rows = [
        {"t": datetime(2013, 7, 1, tzinfo=ZoneInfo("Europe/London"))},
        {"t": datetime(2013, 1, 1, tzinfo=ZoneInfo("Europe/London"))},
        {"t": time(1, tzinfo=timezone(timedelta(hours=2)))},
    ]
    await load("out.jsonl", [rows])
    await load("out.csv", [rows])
    expected = ["2013-07-01T00:00:00+01:00", "2013-01-01T00:00:00Z", "01:00:00+02:00"]
    assert [
        json.loads(line)["t"] for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ] == expected
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1:] == expected


async def test_decimals_inside_lists_and_objects(load, tmp_path) -> None:
    frame = pl.DataFrame({"l": [[Decimal("1.10")]], "o": [{"p": Decimal("2.50")}], 'q"': [Decimal("3.00")], "s": ["x"]})
    await load("out.jsonl", [frame])
    await load("out.csv", [frame])
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == '{"l":[1.10],"o":{"p":2.50},"q\\"":3.00,"s":"x"}\n'
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == 'l,o,"q""",s\n[1.10],"{""p"":2.50}",3.00,x\n'


@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.xlsx"])
async def test_a_number_that_is_none_is_refused_and_the_rest_is_kept(load, tmp_path, form, name) -> None:
    rows = [{"a": 1.5}, {"a": NAN}, {"a": None}, {"a": float("-inf")}]
    done = await load(name, [pl.DataFrame(rows) if form == "frame" else rows])
    assert [(one.index, one.rule, one.stage, one.field) for one in done.rejected] == [
        (1, "load.not_finite", "load", "a"),
        (3, "load.not_finite", "load", "a"),
    ]
    assert done.rejected[1].raw == {"a": float("-inf")}
    assert done.published.records == 2


async def test_nan_hidden_in_lists_is_refused_too(load) -> None:
    rows = [{"a": [{"b": [1.0, NAN]}]}, {"a": [{"b": [2.0]}]}, {"a": None}]
    for content in (rows, pl.DataFrame(rows)):
        for name in ("out.jsonl", "out.csv"):
            done = await load(name, [content])
            assert [one.index for one in done.rejected] == [0], name
            assert done.published.records == 2


async def test_csv_and_parquet_have_words_for_nan(load, tmp_path) -> None:
    rows = [{"a": NAN}, {"a": float("inf")}, {"a": 1.0}]
    await load("rows.csv", [rows])
    await load("frame.csv", [pl.DataFrame(rows)])
    await load("out.parquet", [rows])
    assert (tmp_path / "rows.csv").read_text() == (tmp_path / "frame.csv").read_text() == "a\nNaN\ninf\n1.0\n"
    assert pl.read_parquet(tmp_path / "out.parquet")["a"].is_nan().to_list() == [True, False, False]


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.csv", "out.parquet", "out.xlsx"])
async def test_half_a_surrogate_pair_is_refused(load, name) -> None:
    done = await load(name, [[{"a": "good"}, {"a": "bad \ud800"}, {"a": "fine"}]])
    assert [(one.index, one.rule) for one in done.rejected] == [(1, "load.not_utf8")]
    assert "'a'" in done.rejected[0].message
    assert done.published.records == 2


@pytest.mark.parametrize(
    ("value", "rule"), [({1, 2}, "load.not_json"), ({1: 2}, "load.not_json"), (object(), "load.not_json")]
)
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.xlsx"])
async def test_what_json_cannot_hold_is_refused(load, value, rule, name) -> None:
    done = await load(name, [[{"a": value}, {"a": "ok"}]])
    assert [(one.index, one.rule, one.field) for one in done.rejected] == [(0, rule, "a")]


async def test_records_nested_too_deep_are_refused(load) -> None:
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    done = await load("out.jsonl", [[{"a": deep}, {"a": 1}]])
    assert [one.rule for one in done.rejected] == ["load.too_deep"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.xlsx"])
async def test_a_table_refuses_records_without_fields(load, name) -> None:
    done = await load(name, [[{"a": 1}, {}], pl.DataFrame([{}, {}])])
    assert [one.rule for one in done.rejected] == ["load.empty_record"] * 3
    assert done.published.records == 1


async def test_jsonl_holds_records_without_fields(load, tmp_path) -> None:
    await load("out.jsonl", [[{}], pl.DataFrame([{}, {}])])
    assert (tmp_path / "out.jsonl").read_text() == "{}\n{}\n{}\n"


class TestColumnsThatComeLater:
    async def test_csv_gets_all_columns_and_blanks(self, load, tmp_path) -> None:
        batches = [
            [{"a": 'x\n"y",'}, {"a": ""}],
            [{"b": 1, "a": "z"}],
            pl.DataFrame({"c": [True]}),
            [{"a": "end"}],
        ]
        await load("out.csv", batches)
        assert (tmp_path / "out.csv").read_bytes().decode() == 'a,b,c\n"x\n""y"",",,\n"",,\nz,1,\n,,true\nend,,\n'

    async def test_csv_with_every_option(self, load, tmp_path) -> None:
        options = {"delimiter": ";", "null_value": "NA", "header": False}
        await load("out.csv", [[{"a": "NA"}, {"a": None}], [{"a": "x", "b": 2}]], csv_options=options)
        assert (tmp_path / "out.csv").read_text() == '"NA";NA\nNA;NA\n"x";2\n'

    async def test_quotes_over_block_borders(self, load, tmp_path) -> None:
        rows = [{"a": f'{"n" * (i % 7)}\n"{i}"\n'} for i in range(300_000)]
        await load("out.csv", [pl.DataFrame(rows), [{"a": "last", "b": "B"}]])
        with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        assert [row["a"] for row in read[:-1]] == [row["a"] for row in rows]
        assert {row["b"] for row in read[:-1]} == {""}
        assert read[-1] == {"a": "last", "b": "B"}

    async def test_compressed_csv(self, load, tmp_path) -> None:
        await load("out.csv.gz", [[{"a": 1}], [{"b": 2}]])
        assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == b"a,b\n1,\n,2\n"

    async def test_parquet_widens_without_changing_a_value(self, load, tmp_path) -> None:
        batches = [
            [{"a": 1, "b": None, "o": {"x": 1}}] * 3,
            [{"a": 2.5, "b": "text", "o": {"y": "n"}}],
            pl.DataFrame({"c": [Decimal("1.5")], "a": pl.Series([7], dtype=pl.UInt8)}),
            [{"c": Decimal("2.25")}, {"c": 3}],
        ]
        # Large batches so that each is already on its way to disk when the next comes.
        await load(
            "out.parquet", [pl.concat([b] * 60_000) if isinstance(b, pl.DataFrame) else b * 60_000 for b in batches]
        )
        read = pq.read_table(tmp_path / "out.parquet")
        assert [(f.name, str(f.type)) for f in read.schema] == [
            ("a", "double"),
            ("b", "large_string"),
            ("o", "struct<x: int64, y: large_string>"),
            ("c", "decimal128(38, 2)"),
        ]
        rows = read.to_pylist()
        assert len(rows) == 60_000 * 7
        assert rows[0] == {"a": 1.0, "b": None, "o": {"x": 1, "y": None}, "c": None}
        assert rows[180_000] == {"a": 2.5, "b": "text", "o": {"x": None, "y": "n"}, "c": None}
        assert rows[-1] == {"a": None, "b": None, "o": None, "c": Decimal("3.00")}
        assert rows[240_000]["a"] == 7.0

    @pytest.mark.parametrize("times", [1, 60_000])
    async def test_parquet_refuses_to_lose_digits(self, load, tmp_path, times) -> None:
        with pytest.raises(ConversionError, match="'a'"):
            await load("out.parquet", [[{"a": 2**53 + 1}] * times, [{"a": 0.5}] * times])
        assert list(tmp_path.iterdir()) == []

    async def test_parquet_names_field_and_record_of_a_clash(self, load) -> None:
        with pytest.raises(ConversionError, match=r"'a' is String \('x' in record 2 of batch 2\) but Int64") as caught:
            await load("out.parquet", [[{"a": 1}], [{"a": None}, {"a": "x"}]])
        assert "convert: {a: string}" in caught.value.help
        with pytest.raises(ConversionError, match=r"'a' mixes int and str .* first str is 'x' in record 3 of batch 1"):
            await load("out.parquet", [[{"a": 1}, {"a": 2}, {"a": "x"}]])


async def test_columns_may_come_in_another_order(load, tmp_path) -> None:
    frames = [pl.DataFrame({"a": [1], "b": ["x"]}), pl.DataFrame({"b": ["y"], "a": [2]})]
    await load("out.csv", frames)
    await load("out.parquet", frames)
    assert (tmp_path / "out.csv").read_text() == "a,b\n1,x\n2,y\n"
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == [(1, "x"), (2, "y")]


@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize("name", ["o.jsonl", "o.json", "o.csv", "o.parquet", "o.xlsx"])
async def test_names_that_polars_takes_for_patterns(load, tmp_path, name, form) -> None:
    rows = [
        {"a": 1, "*": time(1), "^.*$": Decimal("1.10"), "o": {"*": 1, "^a$": date(2013, 1, 1)}, "l": [{"*": NAN}]},
        {"a": 2, "*": None, "^.*$": None, "o": None, "l": [{"*": 0.5}]},
    ]
    first = {"a": 0, "*": None}
    batches = [pl.DataFrame(first), pl.DataFrame(rows)] if form == "frame" else [[first], rows]
    done = await load(name, batches)
    if name == "o.parquet":
        assert done.published.records == 3
        assert str(pq.read_table(tmp_path / name).drop_columns("l").to_pylist()) == str(
            [
                {"a": 0, "*": None, "^.*$": None, "o": None},
                *[{k: v for k, v in row.items() if k != "l"} for row in rows],
            ]
        )
        return
    assert [(one.rule, one.field) for one in done.rejected] == [("load.not_finite", "l")]
    if name == "o.jsonl":
        last = (tmp_path / name).read_text().splitlines()[-1]
        assert last == '{"a":2,"*":null,"^.*$":null,"o":null,"l":[{"*":0.5}]}'
    if name == "o.csv":
        assert (tmp_path / name).read_text() == 'a,*,^.*$,o,l\n0,,,,\n2,,,,"[{""*"":0.5}]"\n'


async def test_jsonl_takes_any_mix(load, tmp_path) -> None:
    rows = [{"a": 1}, {"a": "x", "b": [1, "y", {"z": None}]}, {"b": 1.5}]
    await load("out.jsonl", [rows, pl.DataFrame({"a": [True]})])
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [*rows, {"a": True}]


async def test_csv_cells_of_mixed_kinds_keep_their_text(load, tmp_path) -> None:
    await load("out.csv", [[{"a": 1}, {"a": 1.5}, {"a": "x"}, {"a": True}, {"a": [1]}, {"a": Decimal("2.50")}]])
    assert (tmp_path / "out.csv").read_text() == "a\n1\n1.5\nx\ntrue\n[1]\n2.50\n"


async def test_tsv_and_compressions(load, tmp_path) -> None:
    rows = [{"a": "x\ty", "b": 1}]
    await load("out.tsv", [rows])
    await load("out.jsonl.zst", [rows])
    await load("out.json.gz", [rows])
    await load("plain", [rows], format="jsonl", compression="gzip")
    assert (tmp_path / "out.tsv").read_text() == 'a\tb\n"x\ty"\t1\n'
    unpacked = zstandard.ZstdDecompressor().stream_reader(io.BytesIO((tmp_path / "out.jsonl.zst").read_bytes())).read()
    assert json.loads(unpacked) == rows[0]
    assert json.loads(gzip.decompress((tmp_path / "out.json.gz").read_bytes())) == rows
    assert json.loads(gzip.decompress((tmp_path / "plain").read_bytes())) == rows[0]


@pytest.mark.parametrize("codec", ["zstd", "snappy", "lz4", "gzip", "none"])
async def test_parquet_codecs_and_row_groups(load, tmp_path, codec) -> None:
    frame = pl.DataFrame({"a": range(25_000)})
    await load("out.parquet", [frame] * 2, parquet_options={"compression": codec, "row_group_rows": 20_000})
    meta = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [20_000, 20_000, 10_000]
    codecs = {"none": "UNCOMPRESSED"}
    assert meta.row_group(0).column(0).compression == codecs.get(codec, codec.upper())


async def test_many_small_batches_make_large_row_groups(load, tmp_path) -> None:
    frames = [pl.DataFrame({"a": range(i * 1000, i * 1000 + 1000)}) for i in range(300)]
    await load("out.parquet", frames)
    meta = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert meta.num_rows == 300_000
    assert meta.num_row_groups == 3
    assert pl.read_parquet(tmp_path / "out.parquet")["a"].to_list() == list(range(300_000))


class TestNothingToLoad:
    @pytest.mark.parametrize(("name", "content"), [("o.csv", b""), ("o.jsonl", b""), ("o.json", b"[\n]\n")])
    async def test_without_batches(self, load, tmp_path, name, content) -> None:
        done = await load(name, [])
        assert (tmp_path / name).read_bytes() == content
        assert done.published.records == 0

    async def test_known_columns_are_kept(self, load, tmp_path) -> None:
        empty = pl.DataFrame(schema={"a": pl.Int64, "b": pl.String})
        for name in ("o.csv", "o.parquet", "o.xlsx"):
            await load(name, [empty])
        assert (tmp_path / "o.csv").read_bytes() == b"a,b\n"
        assert dict(pl.read_parquet_schema(tmp_path / "o.parquet")) == {"a": pl.Int64, "b": pl.String}
        assert list(openpyxl.load_workbook(tmp_path / "o.xlsx").active.values) == [("a", "b")]

    async def test_empty_parquet_and_workbook_are_valid(self, load, tmp_path) -> None:
        await load("o.parquet", [])
        await load("o.xlsx", [])
        assert pl.read_parquet(tmp_path / "o.parquet").shape == (0, 0)
        assert openpyxl.load_workbook(tmp_path / "o.xlsx").active.dimensions == "A1:A1"


class TestExcel:
    async def test_cells_are_what_excel_can_hold_exactly(self, load, tmp_path) -> None:
        third = 0.1 + 0.2
        row = {
            "text": "=1+1",
            "whole": 2**53,
            "huge": 2**53 + 1,
            "ratio": third,
            "exact": Decimal("1.10"),
            "long": Decimal("1.2345678901234567890"),
            "yes": True,
            "naive": datetime(2013, 1, 1, 10, 0, 0, 250_000),
            "micro": datetime(2013, 1, 1, 10, 0, 0, 1),
            "utc": datetime(2013, 1, 1, 10, tzinfo=UTC),
            "day": date(2013, 1, 1),
            "old": date(1815, 6, 18),
            "clock": time(10, 30),
            "list": [1, "x"],
            "raw": b"x",
            "none": None,
        }
        for content in ([row], pl.DataFrame([{k: v for k, v in row.items() if k != "list"}])):
            await load("o.xlsx", [content])
            values = list(openpyxl.load_workbook(tmp_path / "o.xlsx")["Sheet1"].values)
            read = dict(zip(*values, strict=True))
            assert read["text"] == "=1+1"
            assert read["whole"] == 2**53
            assert read["huge"] == str(2**53 + 1)
            assert read["ratio"] == third
            assert read["yes"] is True
            assert read["naive"] == datetime(2013, 1, 1, 10, 0, 0, 250_000)
            assert read["micro"] == "2013-01-01T10:00:00.000001"
            assert read["utc"] == "2013-01-01T10:00:00Z"
            assert read["day"] == datetime(2013, 1, 1)
            assert read["old"] == "1815-06-18"
            assert read["clock"] == time(10, 30)
            assert read["raw"] == "eA=="
            assert read["none"] is None
            assert read["long"] in {"1.2345678901234567890", "1.23456789012345678900"}
        await load("o.xlsx", [[row]])
        read = dict(zip(*openpyxl.load_workbook(tmp_path / "o.xlsx")["Sheet1"].values, strict=True))
        assert (read["exact"], read["list"]) == (1.1, '[1,"x"]')

    async def test_later_columns_and_sheet_name(self, load, tmp_path) -> None:
        await load("o.xlsx", [[{"a": 1}], [{"b": "x"}]], excel_options={"sheet": "Orders"})
        assert list(openpyxl.load_workbook(tmp_path / "o.xlsx")["Orders"].values) == [
            ("a", "b"),
            (1, None),
            (None, "x"),
        ]

    async def test_limits_are_clear_errors(self, load) -> None:
        done = await load("o.xlsx", [[{"a": "x" * 32_768}, {"a": "x" * 32_767}]])
        assert [(one.rule, one.index) for one in done.rejected] == [("load.excel_text", 0)]
        with pytest.raises(FatalError, match="16,384 columns"):
            await load("o.xlsx", [[{f"c{i}": 1 for i in range(16_385)}]])
        with pytest.raises(FatalError, match="1,048,576 rows"):
            await load("o.xlsx", [pl.DataFrame({"a": pl.repeat(1, 1_048_576, eager=True)})])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "out"}, "the path has no extension"),
        ({"path": "out.xls"}, "extension '.xls' does not tell the format"),
        ({"path": "-"}, "set format"),
        ({"path": "out/"}, "set format"),
        ({"path": "-", "format": "parquet"}, "cannot be written to standard output"),
        ({"path": "a.parquet.gz"}, "parquet_options"),
        ({"path": "a.jsonl", "csv_options": {"header": True}}, "csv_options has no effect on format jsonl"),
        ({"path": "a.csv", "csv_options": {"delimiter": '"'}}, "cannot be one"),
        ({"path": "a.csv", "write_method": "append", "write_mode": "overwrite"}, "contradict each other"),
        ({"path": "a.parquet", "parquet_options": {"compression": "snappy", "level": 3}}, "does not go with"),
        ({"path": "a.csv", "write_method": "upsert"}, "write_method"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, message) -> None:
    from etlctl.loaders.file import File
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match=message):
        File(**options)
