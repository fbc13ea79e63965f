"""Templates of addresses and bodies: ``${field}`` is a field of the record, and no value leaves its place.

In a body, a text that is exactly one ``${field}`` becomes the value with its type; in any other text values stand as
text, null as nothing. In an address every value is quoted, so that it can neither end its segment nor begin a query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from etlctl.batch import Record
from etlctl.errors import RecordRejected
from etlctl.expression import Reference, Template, parse_template
from etlctl.types import Unparsable, to_text

Filled: TypeAlias = Callable[[Record], Any]
RECORDS = "${records}"
"""Where, in the body of a batch, the list of its records stands."""
_LEAVING = frozenset({"", ".", ".."})
_URL = "load.url"
_TEMPLATE = "load.template"


def compiled(value: Any) -> Filled:
    """Return what makes the value of a template, a structure of lists and mappings with texts in it, for a record.

    Raises:
        TemplateError: A text in it cannot be read.
    """
    if isinstance(value, str):
        return _text(parse_template(value))
    if isinstance(value, Mapping):
        made = {str(name): compiled(item) for name, item in value.items()}
        return lambda record: {name: fill(record) for name, fill in made.items()}
    if isinstance(value, list):
        items = [compiled(item) for item in value]
        return lambda record: [fill(record) for fill in items]
    return lambda _record: value


def fields_of(value: Any) -> set[str]:
    """Return the fields that a template, or the texts in a structure, refer to."""
    if isinstance(value, str):
        return {reference.name for reference in parse_template(value).references}
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return set().union(*map(fields_of, items))


def batch_places(batch_body: Any) -> int:
    """Return how often the records have a place in the body of a batch."""
    if isinstance(batch_body, Mapping):
        return sum(map(batch_places, batch_body.values()))
    if isinstance(batch_body, list):
        return sum(map(batch_places, batch_body))
    return int(batch_body == RECORDS)


def _text(template: Template) -> Filled:
    parts = template.parts
    if len(parts) == 1:
        only = parts[0]
        return (lambda _record: only) if isinstance(only, str) else (lambda record: _value(only, record))
    return lambda record: "".join(part if isinstance(part, str) else _as_text(part, record) for part in parts)


def _value(reference: Reference, record: Record) -> Any:
    found = lookup(record, reference.name)
    if found is None and reference.default is not None:
        return reference.default
    if found is None and reference.message is not None:
        said = reference.message or f"field {reference.name!r} is needed"
        raise RecordRejected(_TEMPLATE, f"{said} (field {reference.name!r} is missing or null)", field=reference.name)
    return found


def _as_text(reference: Reference, record: Record) -> str:
    try:
        return to_text(_value(reference, record))
    except Unparsable as error:
        raise RecordRejected(_TEMPLATE, f"field {reference.name!r} {error}", field=reference.name) from None


def lookup(value: Any, path: str) -> Any:
    """Return what stands at a path of names joined by dots; None when there is nothing. A number counts into a list."""
    if isinstance(value, Mapping) and path in value:
        return value[path]
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


class UrlTemplate:
    """An address with fields of the record in its path or query.

    Args:
        text: The template.

    Raises:
        TemplateError: It cannot be read.
        ValueError: It is no address of HTTP, or a field stands before its path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._template = parse_template(text)
        filled = "".join(part if isinstance(part, str) else "x" for part in self._template.parts)
        first = self._template.parts[0]
        whole = urlsplit(filled)
        if whole.scheme not in {"http", "https"} or not whole.hostname:
            raise ValueError(f"{text!r} is no address that begins with http:// or https:// and a host")
        if whole.username is not None or whole.password is not None:
            raise ValueError("user and password do not belong into the address; give auth: {type: basic, …}")
        if whole.fragment or "#" in filled:
            raise ValueError(f"{text!r} has a fragment (#…), which is never sent; leave it out")
        head = f"{whole.scheme}://{whole.netloc}"
        if not isinstance(first, str) or not first.lower().startswith(head.lower()):
            raise ValueError(f"{text!r}: a field of the record may stand in the path or the query, not in the host")
        if self.fields and first.lower() == head.lower():
            raise ValueError(f"{text!r}: a / belongs between the host and the field")
        self.home = head + "/"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields it refers to."""
        return tuple(reference.name for reference in self._template.references)

    def filled(self, record: Record) -> str:
        """Return the address for a record.

        Raises:
            RecordRejected: A field is missing, or its value would lead to another place.
        """
        made, in_query = "", False
        segments: dict[int, Reference] = {}
        for part in self._template.parts:
            if isinstance(part, str):
                made += part
                in_query = in_query or "?" in part
                continue
            if not in_query:
                segments[made.count("/")] = part
            made += self._quoted(part, record)
        pieces = made.partition("?")[0].split("/")
        for number, reference in segments.items():
            if pieces[number] in _LEAVING:
                raise RecordRejected(
                    _URL,
                    f"field {reference.name!r} makes a part of the address {pieces[number]!r}: it would lead elsewhere",
                    field=reference.name,
                )
        return made

    def _quoted(self, reference: Reference, record: Record) -> str:
        value = _value(reference, record)
        name = reference.name
        if value is None:
            raise RecordRejected(_URL, f"the address needs field {name!r}, which is missing or null", field=name)
        if isinstance(value, dict | list):
            raise RecordRejected(_URL, f"field {name!r} is no single value for the address", field=name)
        try:
            return quote(to_text(value), safe="")
        except (Unparsable, UnicodeEncodeError):
            raise RecordRejected(_URL, f"field {name!r} holds text that is not Unicode", field=name) from None
