"""Diagnostics as text: full with source excerpts, concise, JSON, GitHub annotations, SARIF."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from unicodedata import combining, east_asian_width
from urllib.parse import quote

from etlctl.contract.codes import Code
from etlctl.diagnostics import Diagnostic, Severity, Span

_TAB = "    "
_LONGEST = 200
"""Characters of a line that an excerpt shows at most."""
_LONGEST_MARK = 60
"""Carets under a place at most: where it begins is what matters."""
_AROUND = 80
"""Characters before the place that stay when a line is cut."""
_COLORS = {Severity.error: "\x1b[1;31m", Severity.warning: "\x1b[1;33m", Severity.info: "\x1b[1;36m"}
_BOLD, _BLUE, _CYAN, _RESET = "\x1b[1m", "\x1b[1;34m", "\x1b[36m", "\x1b[0m"


class Format(StrEnum):
    """How diagnostics are written."""

    full = "full"
    concise = "concise"
    json = "json"
    github = "github"
    sarif = "sarif"


@dataclass
class Sources:
    """The lines of the files that diagnostics point into, with plain-text secrets masked.

    Args:
        diagnostics: What will be shown; a literal secret is masked in every excerpt of its line.
    """

    diagnostics: Iterable[Diagnostic] = ()
    _lines: dict[str, list[str]] = field(default_factory=dict)
    _masked: set[tuple[str, Span]] = field(default_factory=set)

    def __post_init__(self) -> None:
        secrets = (found for found in self.diagnostics if found.code == Code.literal_secret.value)
        self._masked = {(found.file, found.span) for found in secrets if found.span is not None}

    def line(self, file: str, number: int) -> str | None:
        """Return a line of a file, or None when it is not there."""
        if file not in self._lines:
            try:
                text = Path(file).read_text(encoding="utf-8-sig", errors="replace")
            except (OSError, ValueError):  # an older version that only git has
                self._lines[file] = []
            else:
                self._lines[file] = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines = self._lines[file]
        if not 0 < number <= len(lines):
            return None
        return self._without_secrets(file, number, lines[number - 1])

    def _without_secrets(self, file: str, number: int, line: str) -> str:
        for masked_file, span in self._masked:
            if masked_file == file and span.line == number:
                length = span.end_column - span.column
                line = line[: span.column - 1] + "*" * length + line[span.end_column - 1 :]
        return line


def place(diagnostic: Diagnostic) -> str:
    """Return ``file:line:column``, or the file alone when the finding is about all of it."""
    if diagnostic.span is None:
        return diagnostic.file
    return f"{diagnostic.file}:{diagnostic.span.line}:{diagnostic.span.column}"


def concise(diagnostics: Sequence[Diagnostic]) -> str:
    """Return one line per diagnostic: ``file:line:col CODE message``."""
    return "".join(f"{place(found)} {found.code} {found.message}\n" for found in diagnostics)


def full(diagnostics: Sequence[Diagnostic], *, color: bool = False) -> str:
    """Return every diagnostic with the lines it is about, underlined, and its help."""
    sources = Sources(diagnostics)
    return "\n".join(_full(found, sources, color=color) for found in diagnostics)


def _full(found: Diagnostic, sources: Sources, *, color: bool) -> str:
    paint = _painter(color=color)
    head = f"{paint(place(found), _BOLD)} {paint(found.code, _COLORS[found.severity])} {paint(found.message, _BOLD)}\n"
    excerpts = [] if found.span is None else [(found.file, found.span, "")]
    excerpts += found.related
    width = max((len(str(span.line)) for _, span, _ in excerpts), default=1)
    body = "".join(
        _excerpt(sources.line(file, span.line), span, note, width, paint, mark=_COLORS[found.severity])
        for file, span, note in sorted(excerpts, key=lambda item: item[1])
    )
    margin = paint(" " * width + " =", _BLUE)
    help_ = f"{margin} {paint('help:', _CYAN)} {found.help}\n" if found.help else ""
    return head + body + help_


Painter = Callable[[str, str], str]


def _painter(*, color: bool) -> Painter:
    def paint(text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if color else text

    return paint


def _excerpt(line: str | None, span: Span, note: str, width: int, paint: Painter, *, mark: str) -> str:
    if line is None:
        return ""
    end = span.end_column if span.end_line == span.line else len(line) + 1
    before, marked, after = line[: span.column - 1], line[span.column - 1 : end - 1], line[end - 1 :]
    if len(before) + len(marked) > _LONGEST:
        before = "…" + before[-_AROUND:] if len(before) > _AROUND else before
        marked = marked[: _LONGEST - _AROUND]
        after = line[span.column - 1 + len(marked) :]
    room = max(_LONGEST - len(before) - len(marked), 0)
    after = after[:room] + "…" if len(after) > room else after
    before, marked, after = map(_printable, (before, marked, after))
    underline = "^" * min(max(_cells(marked), 1), _LONGEST_MARK) + (f" {note}" if note else "")
    bar = paint("|", _BLUE)
    number = paint(f"{span.line:>{width}}", _BLUE)
    shown = (before + marked + after).rstrip()
    gap = " " * width
    return f"{number} {bar} {shown}\n{gap} {bar} {' ' * _cells(before)}{paint(underline, mark)}\n"


def _printable(text: str) -> str:
    """Return a text that does nothing to a terminal but fill it."""
    text = text.replace("\t", _TAB)
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode UAX #11: wide characters take two)."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def as_json(diagnostics: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    """Return the diagnostics as JSON values."""
    return [_json(found) for found in diagnostics]


def _json(found: Diagnostic) -> dict[str, Any]:
    return {
        "code": found.code,
        "severity": str(found.severity),
        "file": found.file,
        **_json_span(found.span),
        "message": found.message,
        "help": found.help,
        "related": [{"file": file, **_json_span(span), "message": note} for file, span, note in found.related],
    }


def _json_span(span: Span | None) -> dict[str, int | None]:
    if span is None:
        return dict.fromkeys(("line", "column", "end_line", "end_column"))
    return {"line": span.line, "column": span.column, "end_line": span.end_line, "end_column": span.end_column}


def github(diagnostics: Sequence[Diagnostic]) -> str:
    """Return workflow commands that GitHub shows as annotations."""
    return "".join(_github(found) for found in diagnostics)


def _github(found: Diagnostic) -> str:
    properties = {"file": found.file}
    if found.span is not None:
        span = found.span
        properties |= {"line": str(span.line), "col": str(span.column)}
        properties |= {"endLine": str(span.end_line), "endColumn": str(span.end_column)}
    properties["title"] = found.code
    text = found.message + (f"\nhelp: {found.help}" if found.help else "")
    where = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
    level = "notice" if found.severity is Severity.info else found.severity
    return f"::{level} {where}::{_escape_data(text)}\n"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(diagnostics: Sequence[Diagnostic], *, version: str) -> str:
    """Return a SARIF 2.1.0 log (OASIS), as code-scanning services take it."""
    from etlctl.contract.rules.registry import all_rules  # noqa: PLC0415 - the other formats do not need the rules

    rules = all_rules()
    used = sorted({found.code for found in diagnostics})
    driver = {
        "name": "etlctl",
        "version": version,
        "rules": [
            {
                "id": code,
                "name": rules[code].name,
                "shortDescription": {"text": rules[code].what},
                "fullDescription": {"text": rules[code].why},
            }
            for code in used
        ],
    }
    results = [_sarif_result(found, used.index(found.code)) for found in diagnostics]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _sarif_result(found: Diagnostic, index: int) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(found.file)}}
    if found.span is not None:
        span = found.span
        location["region"] = {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        }
    text = found.message + (f" ({found.help})" if found.help else "")
    return {
        "ruleId": found.code,
        "ruleIndex": index,
        "level": "note" if found.severity is Severity.info else str(found.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    }


def _uri(file: str) -> str:
    path = Path(file)
    if path.is_absolute():
        return path.as_uri()
    return quote(path.as_posix())
