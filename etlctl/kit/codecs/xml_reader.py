"""Reads XML record by record: the children of the root, or the elements with a given name or path.

One convention: child elements and attributes are fields, attributes with ``@`` before their name; an element with
children or attributes is an object, its own text ``#text``; an element that repeats is a list; an empty element is
null; every value is text. Names stand without their namespace prefix. No entities, no document type declaration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler

from etlctl.errors import FatalError
from etlctl.kit.codecs.reading import Chunk, Unreadable, raw_text

if TYPE_CHECKING:
    from xml.sax.xmlreader import AttributesImpl, Locator

    from etlctl.batch import Record
    from etlctl.kit.sources import OpenSource

_BLOCK = 1 << 16
_DEEPEST = 200


class XmlReader:
    """Reads the record elements of an XML document, holding one record at a time.

    Args:
        record: Name of the record elements (``book``), or their path from the root (``catalog/books/book``);
            the children of the root when left out.
        chunk_bytes: Bytes of XML per chunk.
        chunk_rows: Records per chunk at most.
    """

    def __init__(self, *, record: str | None = None, chunk_bytes: int = 8 << 20, chunk_rows: int = 50_000) -> None:
        self.record = record.strip("/") if record else None
        self.chunk_bytes = chunk_bytes
        self.chunk_rows = chunk_rows

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield the records from a token on; the token is the ordinal of the next record.

        Raises:
            FatalError: The document is malformed before its first record, declares a document type or entities,
                or has no element of the given name.
        """
        if start and start.get("end"):
            return
        first = int(start["record"]) if start else 0
        with closing(source.stream()) as stream:
            yield from self._read(stream, source.name, first)

    def columns(self, source: OpenSource) -> list[str] | None:  # noqa: ARG002
        """Return None: the records of a document may differ."""
        return None

    def _read(self, stream: BinaryIO, name: str, skip: int) -> Iterator[Chunk]:
        from defusedxml.common import DefusedXmlException  # noqa: PLC0415
        from defusedxml.expatreader import create_parser  # noqa: PLC0415

        builder = _RecordBuilder(self.record)
        parser = create_parser(forbid_dtd=True)
        parser.setContentHandler(builder)
        builder.setDocumentLocator(parser)  # the parser itself does this only when it reads whole files
        waiting, ordinal, size = _Waiting(skip), 0, 0
        excerpt = _Excerpt()
        try:
            parser.feed(b"")  # so that an empty document is a malformed one
            for block in iter(lambda: stream.read(_BLOCK), b""):
                excerpt.read(block)
                parser.feed(block)
                size += len(block)
                ordinal = waiting.take(builder, ordinal)
                if len(waiting) >= self.chunk_rows or size >= self.chunk_bytes:
                    yield from waiting.chunks(self.chunk_rows)
                    size = 0
            parser.close()
        except DefusedXmlException as error:
            raise _forbidden(name, builder.line, error) from None
        except (SAXParseException, _TooDeep) as error:
            waiting.take(builder, ordinal)
            waiting.broken = _broken(error, builder, name, excerpt)
            if waiting.ordinal == 0:
                raise FatalError(waiting.broken.message) from None
        else:
            waiting.take(builder, ordinal)
            if waiting.ordinal == 0:
                builder.explain_nothing(name)
        yield from waiting.chunks(self.chunk_rows, last=True)


class _Waiting:
    """Records that are read and not yet given away."""

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.ordinal = 0
        self.records: list[Record] = []
        self.lines: list[int] = []
        self.broken: Unreadable | None = None

    def __len__(self) -> int:
        return len(self.records)

    def take(self, builder: _RecordBuilder, ordinal: int) -> int:
        """Take over the finished records, without those before the place to start at; return how many there were."""
        unwanted = min(len(builder.records), max(0, self.skip - ordinal))
        self.records += builder.records[unwanted:]
        self.lines += builder.lines[unwanted:]
        self.ordinal = ordinal + len(builder.records)
        builder.records, builder.lines = [], []
        return self.ordinal

    def chunks(self, rows: int, *, last: bool = False) -> Iterator[Chunk]:
        """Give the records away in chunks; the last one carries what broke."""
        given = self.ordinal - len(self.records)
        while self.records or (last and self.broken):
            records, lines = self.records[:rows], self.lines[:rows]
            self.records, self.lines = self.records[rows:], self.lines[rows:]
            given += len(records)
            chunk = Chunk(records, None, {"record": given}, line_of=lines.__getitem__)
            if last and self.broken and not self.records:
                chunk.unreadable = [replace(self.broken, index=len(records))]
                chunk.next = {"record": given + 1, "end": True}
                self.broken = None
            yield chunk


class _TooDeep(ValueError):  # noqa: N818
    """Elements are nested deeper than any sensible document."""


class _RecordBuilder(ContentHandler):
    """Builds records from the parser's events."""

    def __init__(self, record: str | None) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.lines: list[int] = []
        self._wanted = record
        self._path: list[str] = []
        self._seen: dict[str, None] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []
        self._began = 0
        self._place: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802
        """Remember who tells the line and column."""
        self._place = locator

    @property
    def line(self) -> int:
        """The 1-based line the parser stands at."""
        return int(self._place.getLineNumber() or 0) if self._place else 0

    @property
    def column(self) -> int:
        """The 1-based column the parser stands at."""
        return int(self._place.getColumnNumber() or 0) + 1 if self._place else 0

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        """Open an element; it may begin a record."""
        local = _local(name)
        if not self._open:
            self._path.append(local)
            if len(self._path) > _DEEPEST:
                raise _TooDeep
            if not self._begins_record(local):
                return
            self._began = self.line
        elif len(self._open) > _DEEPEST:
            raise _TooDeep
        self._open.append((local, _attributes(attrs) if attrs.getLength() else {}, []))

    def _begins_record(self, local: str) -> bool:
        if self._wanted is None:
            return len(self._path) == 2
        path = "/".join(self._path)
        if len(self._seen) < 30:
            self._seen[path] = None
        return (path if "/" in self._wanted else local) == self._wanted

    def characters(self, content: str) -> None:
        """Collect text inside a record."""
        if self._open:
            self._open[-1][2].append(content)

    def endElement(self, name: str) -> None:  # noqa: N802, ARG002
        """Close an element: put it into its parent, or finish the record."""
        if not self._open:
            self._path.pop()
            return
        local, fields, texts = self._open.pop()
        text = "".join(texts)
        if fields and text:
            text = text.strip()
            if text:
                fields["#text"] = text
        elif text.isspace():
            text = ""
        if self._open:
            _put(self._open[-1][1], local, fields or text or None)
            return
        self._path.pop()
        self.records.append(fields or ({"#text": text} if text else {}))
        self.lines.append(self._began)

    def explain_nothing(self, name: str) -> None:
        """Fail when the record elements asked for cannot be there by their name; an empty parent is fine.

        Raises:
            FatalError: Neither the element nor the place where it should be was seen.
        """
        parent = self._wanted.rpartition("/")[0] if self._wanted else ""
        if self._wanted is None or parent in self._seen:
            return
        seen = ", ".join(list(self._seen)[:15])
        raise FatalError(
            f"{name} has no element {self._wanted!r} (elements: {seen})",
            help="set xml_options.record to the name or path of the elements that are the records; "
            "with a path (catalog/book) an empty catalog is no error",
        )


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Set a field; the second one of a name makes it a list."""
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]


def _local(name: str) -> str:
    return name.rpartition(":")[2] if ":" in name else name


def _attributes(attrs: AttributesImpl) -> dict[str, Any]:
    return {f"@{_local(key)}": value for key, value in attrs.items() if not key.startswith("xmlns")}


class _Excerpt:
    """Remembers the last block, to show the line on which a document breaks."""

    def __init__(self) -> None:
        self._block = b""
        self._first_line = 1

    def read(self, block: bytes) -> None:
        self._first_line += self._block.count(b"\n")
        self._block = block

    def line(self, number: int) -> str:
        lines = self._block.split(b"\n")
        place = number - self._first_line
        return raw_text(lines[place]) if 0 <= place < len(lines) else ""


def _broken(error: Exception, builder: _RecordBuilder, name: str, excerpt: _Excerpt) -> Unreadable:
    if isinstance(error, SAXParseException):
        line, column = int(error.getLineNumber() or 0), int(error.getColumnNumber() or 0) + 1
        reason = str(error.getMessage())
    else:
        line, column, reason = builder.line, builder.column, f"elements nested deeper than {_DEEPEST}"
    message = f"{name}, line {line}, column {column}: malformed XML: {reason}; nothing from here on can be read"
    return Unreadable(0, "xml.malformed", message, excerpt.line(line), line)


def _forbidden(name: str, line: int, error: Exception) -> FatalError:
    kind = "a document type (DOCTYPE)" if type(error).__name__ == "DTDForbidden" else "an entity"
    return FatalError(
        f"{name}, line {line}: the document declares {kind}, which is refused because it can be used for attacks",
        help="take the declaration out of the file; plain XML does not need it",
    )
