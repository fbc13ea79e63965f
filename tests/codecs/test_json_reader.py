"""The JSON reader: where records are found, exact numbers, mistakes with their place, resuming."""

from __future__ import annotations

import gzip
import io
import json
import random
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etlctl.errors import FatalError
from etlctl.kit.codecs.json_reader import JsonReader
from etlctl.kit.codecs.json_scanner import JsonScanner, MalformedJson, exact_number
from etlctl.kit.sources import OpenSource


def source(content: bytes | str, name: str = "data.json") -> OpenSource:
    data = content.encode() if isinstance(content, str) else content
    return OpenSource(name, None, False, len(data), lambda: io.BytesIO(data))


def read(content, start=None, **options):
    chunks = list(JsonReader(**options).chunks(source(content), start))
    records = [record for chunk in chunks for record in chunk.records]
    bad = [piece for chunk in chunks for piece in chunk.unreadable]
    return records, bad, chunks


@pytest.mark.parametrize(
    ("document", "options", "expected"),
    [
        ([{"a": 1}], {}, [{"a": 1}]),
        ({"meta": 1, "results": [{"a": 1}, {"a": 2}]}, {}, [{"a": 1}, {"a": 2}]),
        ({"meta": 1, "items": [{"a": 1}, {"a": 2}]}, {}, [{"a": 1}, {"a": 2}]),
        ({"meta": 1, "records": [{"a": 1}]}, {}, [{"a": 1}]),
        ({"values": [{"a": 1}], "meta": {"b": [1]}}, {}, [{"a": 1}]),
        ({"data": [{"a": 1}]}, {}, [{"a": 1}]),
        ({"data": []}, {}, []),
        ([], {}, []),
        ({"meta": 1}, {}, [{"meta": 1}]),
        ({}, {}, [{}]),
        ({"id": 1, "values": [1, 2], "x": {"y": 1}}, {}, [{"id": 1, "values": [1, 2], "x": {"y": 1}}]),
        ({"id": 1, "data": {"items": [{"a": 1}]}}, {}, [{"id": 1, "data": {"items": [{"a": 1}]}}]),
        ({"z": [9], "data": {"n": 0, "items": [{"a": 1}]}}, {"records_path": "data.items"}, [{"a": 1}]),
        ({"data": {"a": 1}}, {"records_path": "data"}, [{"a": 1}]),
        ({"items": [], "data": [{"a": 1}]}, {}, [{"a": 1}]),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_where_the_records_are(document, options, expected, indent):
    records, bad, _ = read(json.dumps(document, indent=indent), **options)
    assert (records, bad) == (expected, [])


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"data": {"itmes": []}}, "data.items", "no field 'items' (fields there: itmes)"),
        ([1], "data.items", "the top of the document is an array"),
        ({"data": [1]}, "data.items", "data is an array"),
        ({"data": 1}, "data.items", "data is a plain value"),
        ({"data": None}, "data", "leads to null, not to an array"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_that_shows_the_way(document, path, message):
    with pytest.raises(FatalError) as raised:
        read(json.dumps(document), records_path=path)
    assert message in str(raised.value)
    assert "data.json" in str(raised.value)


def test_a_misspelt_path_gets_a_suggestion():
    with pytest.raises(FatalError) as raised:
        read('{"features": []}', records_path="featuers")
    assert raised.value.help == "did you mean 'features'?"


def test_two_places_that_could_be_the_records_are_an_error():
    with pytest.raises(FatalError, match="under 'items' and under 'data'"):
        read('{"items": [{"a": 1}], "data": [{"b": 1}]}')


def test_numbers_are_exact():
    text = "[" + ",".join(
        f'{{"n": {number}}}'
        for number in (
            "9223372036854775808",
            "123456789012345678901234567890",
            "0.1",
            "1.50",
            "12345678.123456789012345",
            "1e400",
            "1e-400",
            "-0.0",
            "1E2",
            "0.30000000000000004",
        )
    ) + "]"  # fmt: skip
    records, _, _ = read(text)
    assert [record["n"] for record in records] == [
        9223372036854775808,
        123456789012345678901234567890,
        0.1,
        1.5,
        Decimal("12345678.123456789012345"),
        Decimal("1e400"),
        Decimal("1e-400"),
        -0.0,
        100.0,
        0.30000000000000004,
    ]
    assert [type(record["n"]) for record in records[2:6]] == [float, float, Decimal, Decimal]


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_a_float_only_if_its_text_survives(number):
    exact = exact_number(str(number))
    assert Decimal(repr(exact) if isinstance(exact, float) else exact) == number


def test_an_item_that_is_no_object_is_unreadable_where_it_stands():
    records, bad, chunks = read('[{"a": 1},\n [1, 2],\n {"a": 3}, null]')
    assert records == [{"a": 1}, {"a": 3}]
    assert [(piece.index, piece.rule, piece.raw, piece.line) for piece in bad] == [
        (1, "json.not_an_object", "[1, 2]", 2),
        (3, "json.not_an_object", "null", 3),
    ]
    assert [chunks[0].line_of(n) for n in range(2)] == [1, 3]
    assert chunks[-1].next == {"record": 4}


def test_bad_text_costs_only_its_own_record():
    content = b'[{"a": "x"}, {"a": "\xff\xc3"}, {"a": "\\ud800"}, {"a": "\\ud83d\\ude00"}, {"a": "\xc3\xa9"}]'
    records, bad, _ = read(content)
    assert records == [{"a": "x"}, {"a": "😀"}, {"a": "é"}]
    assert [(piece.index, piece.rule, piece.raw) for piece in bad] == [
        (1, "json.text", '{"a": "\\xff\\xc3"}'),
        (2, "json.text", '{"a": "\\ud800"}'),
    ]


def test_not_a_number_costs_only_its_own_record():
    records, bad, _ = read('[{"a": 1}, {"a": NaN}, {"a": [-Infinity]}, {"a": 2}]')
    assert records == [{"a": 1}, {"a": 2}]
    assert [(piece.index, piece.rule, piece.message, piece.raw) for piece in bad] == [
        (1, "json.constant", "NaN is no JSON value", '{"a": NaN}'),
        (2, "json.constant", "-Infinity is no JSON value", '{"a": [-Infinity]}'),
    ]
    assert read('{"a": Infinity, "b": 1}')[1][0].raw == '{"a": null, "b": 1}'


def test_a_byte_order_mark_is_no_content():
    assert read(b'\xef\xbb\xbf[{"a": 1}]')[0] == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6", "expected ':', found '2'"),
        ('[\n  {"a": tru}]', "line 2, column 9", "expecting value"),
        ('[\n  {"a" 1}]', "line 2, column 8", "expecting ':' delimiter"),
        ("nope", "line 1, column 1", "expecting value"),
        ('{"meta": {"x": 1}, "items": [', "line 1, column 30", "the document ends too early"),
        ("{", "line 1, column 2", "expected a key"),
    ],
)
def test_a_document_malformed_before_its_first_record_fails_with_its_place(text, place, reason):
    with pytest.raises(FatalError) as raised:
        read(text)
    assert f"data.json, {place}: malformed JSON: {reason}" in str(raised.value)


def test_an_empty_file_is_an_error():
    with pytest.raises(FatalError, match=r"data\.json is empty"):
        read(" \n")


def test_json_lines_under_the_wrong_name_are_recognised():
    with pytest.raises(FatalError) as raised:
        read('{"a": 1}\n{"a": 2}\n')
    assert "jsonl" in raised.value.help


@pytest.mark.parametrize(
    ("text", "good", "line", "reason"),
    [
        ('[{"a": 1},\n{"a": 2},\n{"a": 3', 2, 3, "the document ends too early"),
        ('[{"a": 1},\n{"a": 2', 1, 2, "the document ends too early"),
        ('[{"a": 1},\n{"a": "x}]', 1, 2, "unterminated string"),
        ('[{"a": 1},\n{"a": 2}', 2, 2, "expected ',' or ']'"),
        ('{"items": [{"a": 1}]\n', 1, 2, "expected ',' or '}'"),
        ('[{"a": 1},\n{"a": 2}\n{"a": 3}]', 2, 3, "expected ',' or ']', found '{'"),
        ('[{"a": 1}] x', 1, 1, "more text"),
    ],
)
def test_a_document_that_breaks_later_keeps_its_records_and_stops(text, good, line, reason):
    records, bad, chunks = read(text)
    assert len(records) == good
    assert [(piece.rule, piece.index, piece.line) for piece in bad] == [("json.malformed", good, line)]
    assert reason in bad[0].message
    assert read(text, start=chunks[-1].next)[:2] == ([], [])


def test_a_value_nested_beyond_reason_does_not_crash():
    records, bad, _ = read('[{"a": 1}, {"a": ' + "[" * 200_000 + "]" * 200_000 + "}]")
    assert records == [{"a": 1}]
    assert bad[0].rule == "json.malformed"


def _random_value(rng: random.Random, depth: int):
    kind = rng.randrange(8 if depth else 6)
    if kind < 6:
        return [None, rng.random(), rng.randrange(10**20), True, 'te"x\\t\n{}[],:é😀' * rng.randrange(3), ""][kind]
    if kind == 6:
        return [_random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {f"k{n}": _random_value(rng, depth - 1) for n in range(rng.randrange(4))}


@pytest.mark.parametrize("seed", range(20))
def test_any_window_size_gives_the_same_records(seed):
    rng = random.Random(seed)
    records = [{"n": n, "v": _random_value(rng, 3)} for n in range(30)]
    document = {"skip": [_random_value(rng, 3)], "deep": {"rows": records, "after": _random_value(rng, 2)}}
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
    for size in (1, 2, 3, 7, 64, 1000):
        assert read(text, records_path="deep.rows", chunk_bytes=size)[0] == records


@given(st.text(max_size=40), st.integers(1, 9))
@settings(max_examples=300)
def test_the_scanner_accepts_and_refuses_what_the_standard_parser_does(text, block):
    try:
        expected = json.loads(text, parse_float=exact_number, parse_constant=lambda _: None)
    except ValueError:
        expected = ValueError
    scanner = JsonScanner(io.BytesIO(text.encode("utf-8", "surrogatepass")), block)
    try:
        found = scanner.value()
        found = ValueError if scanner.peek() else found
    except MalformedJson:
        found = ValueError
    if not any("\ud800" <= character <= "\udfff" or character == "\ufeff" for character in text):
        assert found == expected


@given(st.lists(st.sampled_from(list('{}[]:,"\\ntrue0123-.eE ab\n')), max_size=30).map("".join), st.integers(1, 9))
@settings(max_examples=1000)
def test_json_like_noise_too(text, block):
    test_the_scanner_accepts_and_refuses_what_the_standard_parser_does.hypothesis.inner_test(text, block)


def test_resuming_at_every_token_gives_exactly_the_rest():
    items = [{"n": n} if n % 5 else n for n in range(40)]
    text = json.dumps({"meta": {"a": [1]}, "data": items[1:]})
    whole, bad, chunks = read(text, chunk_rows=3)
    assert len(whole) + len(bad) == 39
    for place, chunk in enumerate(chunks):
        records, unreadable, _ = read(text, start=json.loads(json.dumps(chunk.next)), chunk_rows=7)
        assert records == [record for later in chunks[place + 1 :] for record in later.records]
        assert len(unreadable) == sum(len(later.unreadable) for later in chunks[place + 1 :])


def test_a_compressed_file_is_read_through_its_stream(tmp_path: Path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'[{"a": 1}]'))
    packed = OpenSource("a.json.gz", path, True, path.stat().st_size, lambda: gzip.open(path))  # noqa: SIM115
    (chunk,) = JsonReader().chunks(packed, None)
    assert chunk.records == [{"a": 1}]


def test_closing_early_closes_the_stream():
    stream = io.BytesIO(b'[{"a": 1}, {"a": 2}]')
    chunks = JsonReader(chunk_rows=1).chunks(OpenSource("s", None, False, None, lambda: stream), None)
    next(chunks)
    chunks.close()
    assert stream.closed


def test_memory_stays_flat_whatever_the_length(tmp_path: Path):
    def peak(records: int) -> int:
        path = tmp_path / f"{records}.json"
        with path.open("w") as file:
            file.write("[")
            for n in range(records):
                file.write(f'{{"id": {n}, "name": "some text that takes room"}},\n')
            file.write('{"id": -1}]')
        long = OpenSource("s", path, False, None, lambda: path.open("rb"))
        tracemalloc.start()
        count = sum(len(chunk) for chunk in JsonReader(chunk_rows=1_000, chunk_bytes=1 << 16).chunks(long, None))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == records + 1
        return top

    peak(1_000)
    assert peak(60_000) < 1.5 * peak(6_000)
