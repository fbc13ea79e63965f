"""A slow CSV reader, byte by byte, that says what the fast one must find. Test code only."""

from __future__ import annotations


def read(data: bytes, *, limit: int = 1 << 20) -> tuple[list[str], list[tuple[str | None, ...]], list[tuple[int, str]]]:
    """Return header names, good records, and (line, rule) of everything unreadable."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data and not data.endswith(b"\n"):
        data += b"\n"
    at, line = 0, 1
    while data[at : at + 1] == b"\n" or data[at : at + 2] == b"\r\n":
        at = data.index(b"\n", at) + 1
        line += 1
    end, header = _record(data, at, len(data))
    assert isinstance(header, list)
    names = [str(cell) for cell in header]
    line += data.count(b"\n", at, end)
    at = end
    good, bad = [], []
    while at < len(data):
        next_line = data.index(b"\n", at) + 1
        end, fields = _record(data, at, min(at + limit, len(data)))
        if next_line - at > limit:
            end, verdict = next_line, "csv.too_long"
        elif data[at:next_line] in {b"\n", b"\r\n"} and len(names) > 1:
            end, verdict = next_line, "blank"
        elif isinstance(fields, str):
            verdict = "csv.open_quote" if end > next_line or end < 0 else fields
            end = next_line
        elif len(fields) != len(names):
            verdict = "csv.short_row" if len(fields) < len(names) else "csv.long_row"
        else:
            verdict = _text_rule(data[at:end])
            if verdict is None:
                good.append(tuple(None if f is None else f.decode() for f in fields))
        if verdict not in {None, "blank"}:
            bad.append((line, verdict))
        line += data.count(b"\n", at, end)
        at = end
    return names, good, bad


def _text_rule(record: bytes) -> str | None:
    if b"\0" in record:
        return "csv.nul"
    try:
        record.decode()
    except UnicodeDecodeError:
        return "text.utf8"
    return None


def _record(data: bytes, at: int, limit: int):  # noqa: C901 - one automaton
    """Return (end, fields), (place after the error, rule) or (-1, "open")."""
    fields, cell, quoted = [], b"", False
    state = "start"
    while at < limit:
        char = data[at : at + 1]
        at += 1
        if state == "in":
            if char != b'"':
                cell += char
            elif at >= limit:
                break
            elif data[at : at + 1] == b'"':
                cell += b'"'
                at += 1
            else:
                state = "after"
            continue
        if char == b'"':
            if state != "start":
                return at, "csv.bad_quote"
            state, quoted = "in", True
        elif char == b"," or char == b"\n" or (char == b"\r" and data[at : at + 1] == b"\n" and at < limit):
            fields.append(cell if cell or quoted else None)
            cell, quoted, state = b"", False, "start"
            if char != b",":
                return at + (char == b"\r"), fields
        elif char == b"\r":
            if at >= limit:
                break
            return at, "csv.bare_cr"
        elif state == "after":
            return at, "csv.bad_quote"
        else:
            state = "plain"
            cell += char
    return -1, "open"
