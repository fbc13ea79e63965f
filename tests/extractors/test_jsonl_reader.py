"""JSON lines: every line judged on its own, every number exact."""

from __future__ import annotations

import io
import json
import math
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etlctl.errors import FatalError
from etlctl.kit.codecs.jsonl_reader import JsonlReader
from etlctl.kit.sources import OpenSource

sizes = st.sampled_from([1, 5, 64, 1 << 20])


def source(data: bytes) -> OpenSource:
    return OpenSource("x.jsonl", None, compressed=True, size=None, opener=lambda: io.BytesIO(data))


def read(data: bytes, start=None, **options):
    rows, bad, lines, tokens = [], [], [], []
    for chunk in JsonlReader(**options).chunks(source(data), start):
        assert chunk.records is not None
        lines += [chunk.line_of(n) for n in range(len(chunk.records))] if chunk.line_of else []
        rows += chunk.records
        bad += [(piece.line, piece.rule) for piece in chunk.unreadable]
        tokens.append((chunk.next, len(rows), len(bad)))
    return rows, bad, lines, tokens


def same(one, other) -> bool:
    """Equal in value and in kind, so that 1 is not 1.0 and no float stands for a Decimal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(codec="utf-8"))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), values, max_size=4), max_size=6),
    sizes,
    st.booleans(),
)
@settings(deadline=None)
def test_any_records_written_by_python_read_back_exactly(rows, size, ascii_only) -> None:
    data = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()
    got, bad, lines, _ = read(data, chunk_bytes=size)
    assert same(got, rows)
    assert (bad, lines) == ([], list(range(1, len(rows) + 1)))


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.sampled_from(['{"n":%s}', '{"n" : %s}', '{"n":[1,%s]}', '{"a":"x:%s","n": %s}']),
)
@settings(max_examples=500, deadline=None)
@example("0.1", '{"n":%s}')
@example("18446744073709551616", '{"n":%s}')
def test_any_number_keeps_its_value(text: str, line: str) -> None:
    data = line.replace("%s", text).encode()
    (row,), bad, _, _ = read(data + b"\n" + data.replace(text.encode(), b"1")[:0])
    value = row["n"][1] if isinstance(row["n"], list) else row["n"]
    assert bad == []
    assert Decimal(repr(value) if isinstance(value, float) else value) == Decimal(text)
    assert not isinstance(value, float) or math.isfinite(value)


pieces = st.lists(
    st.sampled_from(
        [
            b'{"a":1}',
            b"\n",
            b"\r\n",
            b'{"a":',
            b"1}",
            b",",
            b"[1,2]",
            b" ",
            b'"x',
            b"\xff",
            b'{"a":NaN}',
            b'{"a":"\\ud800"}',
            b"7",
            b"null",
            b'{"a":1e400}',
            b'{"b":"\xc3\xa9"}',
            b"\0",
            b"{}",
            b"{",
        ]
    ),
    max_size=25,
).map(b"".join)


def _reference(data: bytes):
    good, bad = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip(b" \t\r"):
            continue
        try:
            text = line.decode()
            value = json.loads(text, parse_constant=lambda name: 1 / 0)
            json.dumps(value, ensure_ascii=False).encode()
            assert isinstance(value, dict)
        except Exception:  # noqa: BLE001
            bad.append(number)
        else:
            good.append(number)
    return good, bad


@given(pieces, sizes)
@settings(max_examples=500, deadline=None)
@example(b'{"a":1},{"a":1}\n{"a":1\n"b":2}', 1 << 20)
def test_broken_files_give_just_what_line_by_line_reading_finds(data: bytes, size: int) -> None:
    rows, bad, lines, tokens = read(data, chunk_bytes=size)
    assert (lines, [line for line, _ in bad]) == _reference(data)
    for token, rows_before, bad_before in tokens:
        rest, bad_rest, _, _ = read(data, start=token, chunk_bytes=size + 2)
        assert rest == rows[rows_before:]
        assert bad_rest == bad[bad_before:]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"a":', "jsonl.malformed"),
        (b'{"a":1}{"b":2}', "jsonl.malformed"),
        (b'{"a":NaN}', "jsonl.constant"),
        (b'{"a":-Infinity}', "jsonl.constant"),
        (b'{"a":"\\ud800"}', "jsonl.text"),
        (b'{"a":"\xff"}', "text.utf8"),
        (b"[1,2]", "jsonl.not_an_object"),
        (b"null", "jsonl.not_an_object"),
        (b'{"a":' + b"[" * 100_000, "jsonl.too_deep"),
        (b'{"a":' + b"9" * 5000 + b"}", "jsonl.malformed"),
        (b'{"a":1e9999999999999999999}', "jsonl.malformed"),
    ],
)
def test_each_rule(line: bytes, rule: str) -> None:
    rows, bad, lines, _ = read(b'{"z":1}\n' + line + b'\n{"z":2}\n')
    assert (rows, bad, lines) == ([{"z": 1}, {"z": 2}], [(2, rule)], [1, 3])


def test_a_line_that_is_too_long_is_dropped_alone() -> None:
    data = b'{"a":1}\n{"a":"' + b"x" * 50_000 + b'"}\n{"a":2}\n'
    for size in (10, 3000, 1 << 20):
        rows, bad, lines, tokens = read(data, chunk_bytes=size, max_record_bytes=2000)
        assert (rows, bad, lines) == ([{"a": 1}, {"a": 2}], [(2, "jsonl.too_long")], [1, 3])
        assert tokens[-1][0]["offset"] == len(data)


def test_utf_16_is_refused_with_advice() -> None:
    with pytest.raises(FatalError, match=r"x\.jsonl: it is UTF-16"):
        read('{"a":1}'.encode("utf-16"))
