"""The records in a JSON answer: found where they are said or known to be, every number exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from etlctl.errors import FatalError
from etlctl.kit.codecs.json_exact import numbers_survive
from etlctl.kit.codecs.json_reader import USUAL_KEYS
from etlctl.kit.codecs.json_scanner import exact_number, has_surrogate
from etlctl.kit.codecs.reading import Chunk, Unreadable, raw_text
from etlctl.kit.http.page import MISSING, WHOLE, Page, Shape, lookup, mark_of_bytes

_PRINTED = 8  # records that the fingerprint of a page looks at
_MANY_NAMES = 20
_DIGITS = bytes(
    ord("0") if chr(byte) in "0123456789." else ord("e") if chr(byte) in "eE" else ord("-") if chr(byte) in "+-" else 32
    for byte in range(256)
)
_SUSPICIOUS = (b"0" * 17, b"0e0", b"0e-")
_ERROR_KEYS = ("error", "errors", "error_message", "fault", "exception")


class _Constant(float):
    """``NaN`` or an infinity, which is no JSON value."""


_DECODER = json.JSONDecoder(parse_float=exact_number, parse_constant=_Constant)


def read_json(page: Page, body: bytes, shape: Shape, key: str | None) -> None:
    """Fill a page with the records of a JSON body.

    Args:
        page: The page.
        body: UTF-8 text.
        shape: Where the records are.
        key: Field that the records of the page before were found under.

    Raises:
        FatalError: It is no JSON, or the records are not there.
    """
    plain = True
    try:
        page.document = orjson.loads(body)
        plain = _numbers_survive(body)
    except orjson.JSONDecodeError:
        plain = False
    if not plain:
        page.document = _decoded(page, body, shape)
    found, page.key = _records(page, shape, key)
    if plain and not set(map(type, found)) - {dict}:
        records, unreadable = found, list[Unreadable]()
    else:
        records, unreadable = _one_by_one(found)
    page.mark = _mark_of_records(found)
    page.again = partial(_again, body, page.key or shape.path, loads=orjson.loads if plain else _exact)
    page.plain = plain and not unreadable
    page.chunks = [Chunk(records, None, {}, unreadable)]


def _again(body: bytes, path: str | None, *, loads: Callable[[bytes], Any]) -> list[Any]:
    document = loads(body)
    found = document if path is None else lookup(document, path)
    return found if isinstance(found, list) else [found]


def _exact(body: bytes) -> Any:
    return _DECODER.decode(body.decode("utf-8", "surrogateescape"))


def _numbers_survive(body: bytes) -> bool:
    """Tell whether no number in a body is changed by orjson; in doubt it is not told so.

    Only long runs of digits and exponents can be such numbers, and most bodies have none of either.
    """
    told = body.translate(_DIGITS)
    if not any(run in told for run in _SUSPICIOUS):
        return True
    return b"\n" not in body and numbers_survive(body)  # that one looks at lines, where no number begins one


def _decoded(page: Page, body: bytes, shape: Shape) -> Any:
    """Return the document with every number exact; what no record can hold is found later, record by record."""
    try:
        return _exact(body)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FatalError(
            f"{page.name}: the answer is no JSON ({where}: {error.msg}): {shape.quoted(body)}",
            help="set response_format when it is none: jsonl, csv, xml or text",
        ) from error
    except RecursionError as error:
        raise FatalError(f"{page.name}: the answer is nested too deeply: {shape.quoted(body)}") from error
    except (ArithmeticError, ValueError) as error:
        raise FatalError(f"{page.name}: a number in the answer is too large: {error}") from error


def _records(page: Page, shape: Shape, key: str | None) -> tuple[list[Any], str | None]:
    document = page.document
    if shape.path is not None:
        return _as_list(page, shape, shape.path), None
    if isinstance(document, list):
        return document, None
    if not isinstance(document, dict):
        raise FatalError(
            f"{page.name}: the answer is {_kind(document)}, neither an object nor an array: {shape.shown(document)}"
        )
    if key is not None:
        return _as_list(page, shape, key), key
    lists = [name for name in USUAL_KEYS if _is_records(document.get(name))]
    filled = [name for name in lists if document[name]]
    if len(filled) > 1:
        raise FatalError(
            f"{page.name}: arrays of objects stand under {' and '.join(map(repr, filled))}: each could be the records",
            help=f"say which one with response_path: {filled[0]}",
        )
    if lists:
        found = (filled or lists)[0]
        return document[found], found if filled else None
    _refuse_error(page, document, shape)
    if shape.paged:
        raise FatalError(
            f"{page.name}: no array of records was found in the answer; its fields: {_names(document)}",
            help="say where the records are with response_path, such as data.items; $ is the answer itself",
        )
    return [document], None


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and (not value or isinstance(value[0], dict))


def _at(page: Page, shape: Shape, path: str) -> Any:
    """Return what stands where the records must be."""
    value = lookup(page.document, path)
    if value is not MISSING and value is not None:
        return value
    if isinstance(page.document, dict):
        _refuse_error(page, page.document, shape)
    if value is None:
        return []  # an empty list, in the words of many a server
    around, done = page.document, list[str]()
    for part in path.split("."):
        deeper = lookup(around, part)
        if deeper is MISSING or not isinstance(deeper, dict | list):
            break
        around, done = deeper, [*done, part]
    there = ".".join(done) or "the top"
    what = f"fields at {there}: {_names(around)}" if isinstance(around, dict) else f"{there} is {_kind(around)}"
    raise FatalError(
        f"{page.name} answered {page.response.status} without the records: nothing stands at {path!r} ({what})",
        help="an answer without records where there should be some is no empty page: look at what it says, "
        "or set response_path to where the records are",
    )


def _as_list(page: Page, shape: Shape, path: str) -> list[Any]:
    value = _at(page, shape, path)
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    raise FatalError(
        f"{page.name}: response_path {path!r} leads to {_kind(value)}, not to records: {shape.shown(value)}"
    )


def _refuse_error(page: Page, document: Mapping[str, Any], shape: Shape) -> None:
    """Refuse an answer that says it is an error, whatever its status says."""
    told = next((name for name in _ERROR_KEYS if document.get(name)), None)
    if told is not None and not any(_is_records(document.get(name)) and document[name] for name in USUAL_KEYS):
        raise FatalError(
            f"{page.name} answered {page.response.status} with an error where records were expected: "
            f"{shape.shown(document)}",
            help=f"if that is a record, say so with response_path: {WHOLE}",
        )


def _one_by_one(items: Sequence[Any]) -> tuple[list[dict[str, Any]], list[Unreadable]]:
    records: list[dict[str, Any]] = []
    unreadable: list[Unreadable] = []
    for index, item in enumerate(items):
        problem = _problem(item)
        if problem is None:
            records.append(item)
        else:
            unreadable.append(Unreadable(index, *problem, _raw(item)))
    return records, unreadable


def _raw(item: Any) -> str:
    text = json.dumps(item, default=str, ensure_ascii=False)
    try:
        return raw_text(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return raw_text(json.dumps(item, default=str).encode())


def _problem(item: Any) -> tuple[str, str] | None:
    if not isinstance(item, dict):
        return "json.not_an_object", f"{_kind(item)} stands where a record (an object) belongs"
    constant = _constant_in(item)
    if constant is not None:
        return "json.constant", f"{_raw(constant)} is no JSON value"
    if has_surrogate(item):
        return "json.text", "text with bad UTF-8 or half of a surrogate pair"
    return None


def _constant_in(value: Any) -> _Constant | None:
    if isinstance(value, _Constant):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for item in inner if (found := _constant_in(item)) is not None), None)


def _mark_of_records(records: Sequence[Any]) -> str:
    """Return a fingerprint by some of the records, first and last among them: quick, and kept in positions."""
    step = max(1, len(records) // _PRINTED)
    some = [*records[::step], *records[-1:]]
    text = json.dumps([len(records), some], default=repr, separators=(",", ":"))
    return mark_of_bytes(text.encode())


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _names(document: Mapping[str, Any]) -> str:
    names = list(document)
    return ", ".join(names[:_MANY_NAMES]) + (", …" if len(names) > _MANY_NAMES else "") if names else "none"
