"""The XML reader: the convention, record elements, attacks, mistakes with their place, resuming."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest

from etlctl.errors import FatalError
from etlctl.kit.codecs.xml_reader import XmlReader
from etlctl.kit.sources import OpenSource


def source(content: bytes | str) -> OpenSource:
    data = content.encode() if isinstance(content, str) else content
    return OpenSource("data.xml", None, False, len(data), lambda: io.BytesIO(data))


def read(content, start=None, **options):
    chunks = list(XmlReader(**options).chunks(source(content), start))
    records = [record for chunk in chunks for record in chunk.records]
    return records, [bad for chunk in chunks for bad in chunk.unreadable], chunks


@pytest.mark.parametrize(
    ("element", "record"),
    [
        ("<r><a>1</a><b>007</b></r>", {"a": "1", "b": "007"}),
        ('<r id="5"><a>1</a></r>', {"@id": "5", "a": "1"}),
        ("<r><a/><b></b><c> \n </c></r>", {"a": None, "b": None, "c": None}),
        ("<r><t>x</t><t>y</t><t/></r>", {"t": ["x", "y", None]}),
        ('<r><p cur="EUR">9.5</p></r>', {"p": {"@cur": "EUR", "#text": "9.5"}}),
        ('<r><p cur="EUR"/></r>', {"p": {"@cur": "EUR"}}),
        ("<r><o><x>1</x><x>2</x></o></r>", {"o": {"x": ["1", "2"]}}),
        ("<r>text</r>", {"#text": "text"}),
        ("<r>  a <b>c</b> d </r>", {"b": "c", "#text": "a  d"}),
        ("<r/>", {}),
        ("<r><a> keeps  its space </a></r>", {"a": " keeps  its space "}),
        ("<r><a>&lt;&amp;&#233;<![CDATA[<raw>]]></a><!-- no --></r>", {"a": "<&é<raw>"}),
        ('<r xmlns:n="u"><n:a n:k="1">x</n:a></r>', {"a": {"@k": "1", "#text": "x"}}),
    ],
)
def test_the_convention(element, record):
    assert read(f"<root>{element}</root>")[0] == [record]


CATALOG = """<?xml version="1.0"?>
<catalog><meta><book>no</book></meta>
 <books><book><t>1</t></book><book><t>2</t><book><t>inner</t></book></book></books>
</catalog>"""


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("catalog/books/book", [{"t": "1"}, {"t": "2", "book": {"t": "inner"}}]),
        ("/catalog/books/book", [{"t": "1"}, {"t": "2", "book": {"t": "inner"}}]),
        ("book", [{"#text": "no"}, {"t": "1"}, {"t": "2", "book": {"t": "inner"}}]),
        (None, [{"book": "no"}, {"book": [{"t": "1"}, {"t": "2", "book": {"t": "inner"}}]}]),
    ],
)
def test_which_elements_are_records(record, expected):
    assert read(CATALOG, record=record)[0] == expected


def test_elements_that_do_not_exist_are_an_error_but_an_empty_parent_is_not():
    with pytest.raises(FatalError, match=r"data\.xml has no element 'bok' \(elements: catalog, catalog/meta, "):
        read(CATALOG, record="bok")
    with pytest.raises(FatalError, match="no element 'catalog/bks/book'"):
        read(CATALOG, record="catalog/bks/book")
    assert read("<catalog><books/></catalog>", record="catalog/books/book")[:2] == ([], [])
    assert read("<catalog/>")[:2] == ([], [])


def test_lines_are_told():
    _, _, (chunk,) = read("<r>\n<a/>\n\n<a/></r>")
    assert [chunk.line_of(n) for n in range(2)] == [2, 4]


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ('<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r><x>&b;</x></r>', "a document type"),
        ('<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r/>', "a document type"),
        ('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><x>&x;</x></r>', "a document type"),
    ],
)
def test_attacks_are_refused(document, what):
    with pytest.raises(FatalError, match=rf"data\.xml, line 1: the document declares {what}"):
        read(document)


@pytest.mark.parametrize(
    ("document", "place"),
    [("<r><a></r>", "line 1, column 9"), ("", "line 1, column 1"), ("a,b\n1,2", "line 1, column 1")],
)
def test_a_document_malformed_before_its_first_record_fails_with_its_place(document, place):
    with pytest.raises(FatalError, match=f"data.xml, {place}: malformed XML"):
        read(document)


@pytest.mark.parametrize(
    ("document", "good", "line", "raw"),
    [
        ("<r>\n<a><n>1</n></a>\n<a><n>2</a>\n</r>", 1, 3, "<a><n>2</a>"),
        ("<r>\n<a><n>1</n></a>\n<a><n>2", 1, 3, "<a><n>2"),
        ("<r>\n<a><n>1</n></a>\n<a><n>&nope;</n></a></r>", 1, 3, "<a><n>&nope;</n></a></r>"),
        ("<r>\n<a/>\n</r>\n<r/>", 1, 4, "<r/>"),
        (b"<r>\n<a/>\n<a>\xff</a></r>", 1, 3, "<a>\\xff</a></r>"),
    ],
)
def test_a_document_that_breaks_later_keeps_its_records_and_stops(document, good, line, raw):
    records, bad, chunks = read(document)
    assert len(records) == good
    assert [(piece.index, piece.rule, piece.line, piece.raw) for piece in bad] == [(good, "xml.malformed", line, raw)]
    assert read(document, start=chunks[-1].next)[:2] == ([], [])


def test_elements_nested_beyond_reason_are_refused():
    records, bad, _ = read("<r><a/>" + "<b>" * 100_000)
    assert (records, bad[0].rule) == ([{}], "xml.malformed")
    assert "nested deeper" in bad[0].message


def test_other_encodings_are_read():
    document = '<?xml version="1.0" encoding="ISO-8859-1"?><r><a><n>é</n></a></r>'.encode("latin-1")
    assert read(document)[0] == [{"n": "é"}]
    assert read("<r><a><n>é</n></a></r>".encode("utf-16"))[0] == [{"n": "é"}]


def many(records: int) -> str:
    return "<r>" + "".join(f"<a><n>{n}</n><t>some text</t></a>\n" for n in range(records)) + "</r>"


def test_resuming_at_every_token_gives_exactly_the_rest():
    document = many(50) + "<oops"
    whole, bad, chunks = read(document, chunk_rows=7)
    assert (len(whole), len(bad)) == (50, 1)
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        records, unreadable, _ = read(document, start=json.loads(json.dumps(chunk.next)), chunk_rows=11)
        assert records == whole[seen:]
        assert len(unreadable) == (0 if chunk is chunks[-1] else 1)


def test_chunks_are_limited_in_rows():
    _, _, chunks = read(many(20_000), chunk_rows=100)
    assert max(len(chunk) for chunk in chunks) == 100
    assert chunks[-1].next == {"record": 20_000}


def test_memory_stays_flat_whatever_the_length():
    def peak(records: int) -> int:
        long = source(many(records))
        tracemalloc.start()
        assert sum(len(chunk) for chunk in XmlReader(chunk_bytes=1 << 16).chunks(long, None)) == records
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1_000)
    assert peak(40_000) < 1.5 * peak(10_000)


def test_closing_early_closes_the_stream():
    stream = io.BytesIO(many(10_000).encode())
    chunks = XmlReader(chunk_rows=1).chunks(OpenSource("s", None, False, None, lambda: stream), None)
    next(chunks)
    chunks.close()
    assert stream.closed
