"""Reads parameter sets from a file: a list of mappings in YAML, JSON, JSON lines or CSV.

Values stay as they are written (``on``, ``1.10``, ``2026-01-31``), as with ``-p name=value``: the contract's types
apply later. A null, and an empty cell of a CSV file, leave the parameter out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from etlctl.contract.codes import Code
from etlctl.contract.document import Document, Items, Node, Scalar
from etlctl.contract.document import Mapping as MappingNode
from etlctl.contract.nodes import parse_document
from etlctl.diagnostics import Diagnostic, Span
from etlctl.orchestrator.param_sets import ParamSetError

MAX_BYTES = 16 << 20
"""A file of parameter sets is no data set."""

ParamSets = Sequence[Mapping[str, Any]]

_WANTED = "a list of mappings is wanted, one for each run: [{symbol: AAPL}, {symbol: MSFT}]"


def read_param_file(path: Path) -> ParamSets:
    """Read the parameter sets of a file; its extension tells the format.

    Args:
        path: ``.yaml``, ``.yml``, ``.json``, ``.jsonl``, ``.ndjson`` or ``.csv``.

    Raises:
        ParamSetError: It cannot be read, or it does not hold a list of parameter sets; carries every diagnostic.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise ParamSetError(
            f"cannot tell the format of {path} from its extension {path.suffix!r}", help=f"use one of {known}"
        )
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ParamSetError(f"cannot read the parameter file {path}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ParamSetError(f"the parameter file {path} is larger than {MAX_BYTES >> 20} MiB", help="split it")
    sets = reader(raw, path)
    if not sets:
        raise ParamSetError(f"there are no parameter sets in {path}", help=_WANTED)
    return sets


def _yaml(raw: bytes, path: Path) -> ParamSets:
    document = parse_document(raw, Document(str(path), path))
    problems = list(document.problems)
    sets: list[Mapping[str, Any]] = []
    if document.root is not None and not isinstance(document.root, Items):
        problems.append(_problem(document, document.root, _WANTED))
    elif document.root is not None:
        sets = [_set(document, item, problems) for item in document.root.items]
    if problems:
        _refuse(path, problems)
    return sets


def _set(document: Document, node: Node, problems: list[Diagnostic]) -> dict[str, Any]:
    if not isinstance(node, MappingNode):
        problems.append(_problem(document, node, "a parameter set is a mapping, such as {symbol: AAPL}"))
        return {}
    values = {}
    for key, value in node.entries:
        if not isinstance(value, Scalar):
            problems.append(_problem(document, value, f"parameter {key.text!r} must be one value, not a collection"))
        elif value.value is not None:
            values[key.text] = value.text
    return values


def _json(raw: bytes, path: Path) -> ParamSets:
    found = _parsed(_text(raw, path), path, line=0)
    if not isinstance(found, list):
        _refuse(path, [_at(path, None, _WANTED)])
    problems: list[Diagnostic] = []
    for number, one in enumerate(found, start=1):
        problems += [_at(path, None, f"set {number}: {text}") for text in _complaints(one)]
    if problems:
        _refuse(path, problems)
    return [_without_nulls(one) for one in found]


def _jsonl(raw: bytes, path: Path) -> ParamSets:
    sets: list[Mapping[str, Any]] = []
    problems: list[Diagnostic] = []
    for number, line in enumerate(_text(raw, path).split("\n"), start=1):
        if not line.strip():
            continue
        found = _parsed(line, path, line=number)
        complaints = _complaints(found)
        problems += [_at(path, Span(number, 1, number, len(line) + 1), text) for text in complaints]
        if not complaints:
            sets.append(_without_nulls(found))
    if problems:
        _refuse(path, problems)
    return sets


def _parsed(text: str, path: Path, *, line: int) -> Any:
    """Return parsed JSON with numbers as they are written.

    Args:
        text: The JSON.
        path: Where it is from.
        line: Its line in the file, when the file has one document a line; else 0.
    """

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            span = Span(line, 1, line, len(text) + 1) if line else None
            message = f"key {twice!r} is written twice in one set"
            _refuse(path, [Code.duplicate_key.at(str(path), span, message, help="remove one of them")])
        return dict(found)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        _refuse(path, [_at(path, None, "not valid JSON: nested too deeply")])
    except json.JSONDecodeError as error:
        at = line or error.lineno
        _refuse(path, [_at(path, Span(at, error.colno, at, error.colno + 1), f"not valid JSON: {error.msg}")])


def _complaints(found: Any) -> list[str]:
    if not isinstance(found, dict):
        return ['a parameter set is an object, such as {"symbol": "AAPL"}']
    return [
        f"parameter {name!r} must be one value, not a collection"
        for name, value in found.items()
        if isinstance(value, dict | list)
    ]


def _without_nulls(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _csv(raw: bytes, path: Path) -> ParamSets:
    rows = csv.reader(io.StringIO(_text(raw, path), newline=""), strict=True)
    sets: list[Mapping[str, Any]] = []
    problems = []
    try:
        names = [name.strip() for name in next(rows, [])]
        if len(set(names)) < len(names) or not all(names):
            problems.append(_at(path, Span(1, 1, 1, 2), f"the header names a parameter twice, or none at all: {names}"))
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                line = rows.line_num
                message = f"{len(row)} cells, but the header names {len(names)} parameters"
                problems.append(_at(path, Span(line, 1, line, 2), message))
            sets.append({name: value for name, value in zip(names, row, strict=False) if value != ""})
    except csv.Error as error:
        line = max(rows.line_num, 1)
        problems.append(_at(path, Span(line, 1, line, 2), f"not valid CSV: {error}"))
    if problems:
        _refuse(path, problems)
    return sets


def _text(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        place = Span(line, 1, line, 2)
        _refuse(path, [Code.unreadable_file.at(str(path), place, message, help="save the file as UTF-8")])


def _refuse(path: Path, problems: list[Diagnostic]) -> NoReturn:
    first, more = problems[0], f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise ParamSetError(f"the parameter file {path} does not hold: {first.message}{more}", problems)


def _problem(document: Document, node: Node, message: str) -> Diagnostic:
    return Code.wrong_type.at(document.file, node.span, message)


def _at(path: Path, span: Span | None, message: str) -> Diagnostic:
    return Code.wrong_type.at(str(path), span, message)


_READERS: dict[str, Callable[[bytes, Path], ParamSets]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
}
