"""Strict CSV reading: exact for every table, and for every broken file just what a slow reference reader finds."""

from __future__ import annotations

import csv
import io
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etlctl.errors import FatalError
from etlctl.kit.codecs.csv_reader import CsvReader
from etlctl.kit.sources import OpenSource

sys.path.insert(0, str(Path(__file__).parent))
import csv_reference

cell = st.text(
    alphabet=st.one_of(
        st.sampled_from('a1 ,"\n\r;é€😀\ufeff\t'), st.characters(codec="utf-8", exclude_characters="\0")
    ),
    max_size=8,
)
sizes = st.sampled_from([1, 7, 64, 200, 1000, 1 << 20])


def source(data: bytes) -> OpenSource:
    return OpenSource("x.csv", None, compressed=True, size=None, opener=lambda: io.BytesIO(data))


def read(data: bytes, start=None, **options):
    """Return all records, (line, rule) of the unreadable, lines of the records; checks chunk bookkeeping on the way."""
    rows, bad, lines, tokens = [], [], [], []
    for chunk in CsvReader(**options).chunks(source(data), start):
        assert chunk.frame is not None
        total = chunk.frame.height + len(chunk.unreadable)
        indexes = [piece.index for piece in chunk.unreadable]
        assert indexes == sorted(set(indexes))
        assert all(0 <= index < total for index in indexes)
        merged = [(chunk.line_of(n), "good") for n in range(chunk.frame.height)] if chunk.line_of else []
        for piece in chunk.unreadable:
            merged.insert(piece.index, (piece.line, "bad"))
        assert [line for line, _ in merged] == sorted(line for line, _ in merged)
        lines += [chunk.line_of(n) for n in range(chunk.frame.height)] if chunk.line_of else []
        rows += chunk.frame.rows()
        bad += [(piece.line, piece.rule) for piece in chunk.unreadable]
        tokens.append((chunk.next, len(rows), len(bad)))
    return rows, bad, lines, tokens


@st.composite
def tables(draw):
    width = draw(st.integers(1, 5))
    names = [f"c{n}" for n in range(width)]
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=12))
    return names, rows


@given(tables(), sizes, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_any_table_written_by_python_reads_back_exactly(table, size, ends, quoting) -> None:
    names, rows = table
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=quoting)
    writer.writerow(names)
    writer.writerows(rows)
    data = out.getvalue().encode()
    if ends == "\n" and "\r" not in "".join(value for row in rows for value in row):
        data = data.replace(b"\r\n", b"\n")
    got, bad, lines, _ = read(data, chunk_bytes=size)
    empty = "" if quoting == csv.QUOTE_ALL or len(names) == 1 else None
    assert got == [tuple(value or empty for value in row) for row in rows]
    assert bad == []
    assert lines == _expected_lines(rows)


def _expected_lines(rows) -> list[int]:
    lines, line = [], 2
    for row in rows:
        lines.append(line)
        line += 1 + sum(value.count("\n") for value in row)
    return lines


broken = st.lists(
    st.sampled_from(
        [
            b"a",
            b"1,2",
            b",",
            b'"',
            b'""',
            b"\n",
            b"\n",
            b"\r\n",
            b"\r",
            b"\xff",
            b"\xc3",
            b"\xa9",
            b"\0",
            b'"x"',
            b"a,b,c\n",
            b'"p\nq",r\n',
            b"\xef\xbb\xbf",
            b"4,5\n",
            b"#",
            "€,é\n".encode(),
        ]
    ),
    max_size=40,
).map(b"".join)


@given(
    broken,
    sizes,
    st.sampled_from([b"h\n", b"h,i\n", b"h,i,j\r\n", b'\xef\xbb\xbf"h","i"\n']),
    st.sampled_from([6, 20, 1 << 20]),
)
@example(b'"x,1\n2,3\n"y",4\n', 1, b"h,i\n", 1 << 20)
@settings(max_examples=600, deadline=None)
def test_broken_files_give_just_what_the_reference_finds(body: bytes, size: int, header: bytes, limit: int) -> None:
    limit = max(limit, len(header))
    _, good, bad = csv_reference.read(header + body, limit=limit)
    got, unreadable, _, _ = read(header + body, chunk_bytes=size, max_row_bytes=limit)
    assert got == good
    assert unreadable == bad


@given(broken, sizes)
@settings(max_examples=200, deadline=None)
def test_reading_on_from_any_token_gives_the_rest(body: bytes, size: int) -> None:
    data = b"h,i\n" + body
    rows, bad, _, tokens = read(data, chunk_bytes=size)
    for token, good_before, bad_before in tokens:
        rest, bad_rest, _, _ = read(data, start=token, chunk_bytes=size + 3)
        assert rest == rows[good_before:]
        assert bad_rest == bad[bad_before:]


@given(broken, st.binary(max_size=30), sizes)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_records_unreadable_or_a_clear_error(body: bytes, junk: bytes, size: int) -> None:
    with suppress(FatalError):
        read(junk + b"\n" + body, chunk_bytes=size)


def test_large_blocks_with_quoted_line_ends_and_a_few_bad_rows() -> None:
    rng = random.Random(5)
    lines, good, bad = [b"a,b,c,d\n"], [], []
    line = 2
    for n in range(60_000):
        kind = rng.randrange(3000)
        if kind == 0:
            lines.append(b"1,2,3\n")
            bad.append((line, "csv.short_row"))
        elif kind == 1:
            lines.append(b"1,2,3,4,5\n")
            bad.append((line, "csv.long_row"))
        elif kind == 2:
            lines.append(b"1,\xfe,3,4\n")
            bad.append((line, "text.utf8"))
        elif kind < 1000:
            lines.append(b'%d,"x, ""y""\n%d",,""\n' % (n, n))
            good.append((str(n), f'x, "y"\n{n}', None, ""))
            line += 1
        else:
            lines.append(b"%d,b,\xc3\xa9,d\n" % n)
            good.append((str(n), "b", "é", "d"))
        line += 1
    data = b"".join(lines)
    for size in (100_000, 8 << 20):
        got, unreadable, _, _ = read(data, chunk_bytes=size)
        assert got == good
        assert unreadable == bad


def test_an_open_quote_takes_one_line_and_not_the_rest_of_the_file() -> None:
    body = b'1,"open\n' + b"2,x\n" * 5000
    rows, bad, lines, _ = read(b"a,b\n" + body, chunk_bytes=1000, max_row_bytes=3000)
    assert (len(rows), bad, lines[0]) == (5000, [(2, "csv.open_quote")], 3)


def test_a_record_of_many_short_lines_has_the_same_limit_in_blocks_of_any_size() -> None:
    tall = b'1,"' + b"xx\n" * 40 + b'"\n'
    data = b"a,b\n" + tall + b"2,y\n"
    for size in (1, 50, 1 << 20):
        rows, bad, _, _ = read(data, chunk_bytes=size, max_row_bytes=100)
        assert (rows, bad[0], len(bad)) == ([("2", "y")], (2, "csv.open_quote"), 41)
        rows, bad, lines, _ = read(data, chunk_bytes=size, max_row_bytes=len(tall))
        assert (rows, bad, lines) == ([("1", "xx\n" * 40), ("2", "y")], [], [2, 43])


def test_a_line_without_end_is_dropped_in_constant_memory() -> None:
    data = b"a,b\n1,2\n" + b"x" * 100_000 + b"\n3,4\n" + b"y" * 100_000
    for size in (1000, 70_000, 1 << 20):
        rows, bad, lines, _ = read(data, chunk_bytes=size, max_row_bytes=5000)
        assert rows == [("1", "2"), ("3", "4")]
        assert bad == [(3, "csv.too_long"), (5, "csv.too_long")]
        assert lines == [2, 4]


def test_raw_text_is_kept_whole_up_to_ten_thousand_bytes() -> None:
    chunk = next(
        iter(CsvReader().chunks(source(b"a,b\n" + b"z" * 9000 + b"\n\xff\xfe," + b"q" * 20_000 + b"\n"), None))
    )
    assert chunk.unreadable[0].raw == "z" * 9000
    assert chunk.unreadable[1].raw.startswith("\\xff\\xfe,qqq")
    assert chunk.unreadable[1].raw.endswith("… (20,003 bytes in all)")


@pytest.mark.parametrize(
    ("data", "needle"),
    [
        (b"", "Error reading CSV file x.csv: it is empty"),
        (b"\n\n", "it is empty"),
        (b"a,b,a\n1,2,3\n", "names columns 1 and 3 both 'a'"),
        (b"a,,c\n1,2,3\n", "gives column 2 no name"),
        (b'a,"b\n1,2\n', "a quote is opened"),
        (b"a,b\r1,2\r", "carriage return"),
        (b"a,\xff\n", "not valid text"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_bad_header_is_refused(data: bytes, needle: str) -> None:
    with pytest.raises(FatalError) as caught:
        read(data)
    assert needle in caught.value.message + (caught.value.help or "")
    assert "x.csv" in caught.value.message


def test_header_with_quotes_bom_and_lines_to_skip() -> None:
    data = b'\xef\xbb\xbfreport of today\n"unclosed\n"id ""x""","na\nme"\n1,2\n'
    rows, bad, lines, _ = read(data, skip_rows=2)
    assert (rows, bad, lines) == ([("1", "2")], [], [5])
    chunk = next(iter(CsvReader(skip_rows=2).chunks(source(data), None)))
    assert chunk.frame is not None
    assert chunk.frame.columns == ['id "x"', "na\nme"]


def test_without_header() -> None:
    assert read(b"1,2\n3,4\n", header=False)[0] == [("1", "2"), ("3", "4")]
    assert read(b"1,2\n3,4\n", header=False, columns=["x", "y"])[0] == [("1", "2"), ("3", "4")]
    assert read(b"1,2\n3,4\n", header=False, columns=["x"])[1] == [(1, "csv.long_row"), (2, "csv.long_row")]
    chunk = next(iter(CsvReader(header=False).chunks(source(b"1,2\n"), None)))
    assert chunk.frame is not None
    assert chunk.frame.columns == ["column_1", "column_2"]
    assert read(b"", header=False)[0] == []


def test_dialects_nulls_and_comments() -> None:
    assert read(b"a;b\n'x;y';2\n", delimiter=";", quote="'")[0] == [("x;y", "2")]
    assert read(b'a,b\n5" pipe,"\n', quote=None)[0] == [('5" pipe', '"')]
    assert read(b'a,b\nNA,"NA"\n-,x\n', null_values=["NA", "-"])[0] == [(None, None), (None, "x")]
    assert read(b'#top\na,b\n# no\n1,"\n#yes"\n', comment="#")[0] == [("1", "\n#yes")]
    assert read(b"a\tb\n1\t\n", delimiter="\t")[0] == [("1", None)]


def test_a_file_without_records_tells_its_columns() -> None:
    (chunk,) = CsvReader().chunks(source(b"a,b\n"), None)
    assert chunk.frame is not None
    assert (chunk.frame.columns, chunk.frame.height) == (["a", "b"], 0)


def test_other_encodings_are_transcoded_and_bad_bytes_refuse_their_row_only() -> None:
    assert read("a,b\né,€\n".encode("utf-16"), encoding="utf-16", chunk_bytes=3)[0] == [("é", "€")]
    assert read("a,b\né,ü\n".encode("latin-1"), encoding="latin-1")[0] == [("é", "ü")]
    data = b"a,b\n\x80,1\n\x81,2\n\xe9,3\n"
    chunk = next(iter(CsvReader(encoding="cp1252").chunks(source(data), None)))
    assert chunk.frame is not None
    assert chunk.frame.rows() == [("€", "1"), ("é", "3")]
    assert [(piece.rule, piece.line, piece.raw) for piece in chunk.unreadable] == [("text.encoding", 3, "\\x81,2")]


def test_a_file_that_shrank_is_refused_on_resume() -> None:
    with pytest.raises(FatalError, match="shorter than it was"):
        read(b"a,b\n1,2\n", start={"offset": 500, "line": 9})


@pytest.mark.parametrize("quote", ['"', None])
def test_a_blank_line_does_not_make_up_for_a_short_record(quote):
    # One byte too many and one too few: the lengths of all cells alone would not tell.
    rows, bad, lines, _ = read(b"a,b\n1,2\n\n3\n4,5\n", quote=quote)
    assert (rows, bad, lines) == ([("1", "2"), ("4", "5")], [(4, "csv.short_row")], [2, 5])


def test_a_null_at_the_end_of_a_record_and_blank_lines_keep_their_line_numbers():
    rows, bad, lines, _ = read(b"a,b\n1,\n\n2,3\r\n\r\n4,5")
    assert (rows, bad, lines) == ([("1", None), ("2", "3"), ("4", "5")], [], [2, 4, 6])


def test_reading_goes_on_in_the_same_buffer_whatever_the_stream_gives():
    class Drops(io.RawIOBase):
        """Gives a few bytes at a time, fewer than asked for."""

        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            return self._data.readinto(memoryview(buffer)[:3])

    data = b"a,b\n" + b"".join(b"%d,%s\n" % (n, b"x" * (n % 40)) for n in range(200)) + b'"1\n2",3'
    stream = OpenSource("x.csv", None, compressed=True, size=None, opener=lambda: Drops(data))
    for size in (1, 64, 1 << 20):
        chunks = list(CsvReader(chunk_bytes=size).chunks(stream, None))
        assert [row for chunk in chunks for row in chunk.frame.rows()] == read(data)[0]
        assert chunks[-1].next["offset"] == len(data)
