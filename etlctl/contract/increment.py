"""What an incremental run goes by, found while its contract is compiled: options may say ``${cursor}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.explanations import Place
from etlctl.contract.finish import stream_name
from etlctl.contract.incremental_section import IncrementalSection
from etlctl.contract.layout import Part
from etlctl.contract.options import check_options
from etlctl.contract.variables import PathKey, Resolver, Values
from etlctl.cursor import Increment, Recent, Window, ceiling_text, comparable, instant_text, own_text, shifted, span_of
from etlctl.frozen import frozen


@frozen
class Sought:
    """Whose cursor is sought.

    Attributes:
        contract: Name of the contract.
        params: Its parameters.
        stream: Contract and parameters, without the date the run is for.
        section: What the contract says.
        now: The instant of the run, UTC.
    """

    contract: str
    params: Mapping[str, Any]
    stream: str
    section: IncrementalSection
    now: datetime


IncrementOf: TypeAlias = Callable[[Sought], Increment]
"""Finds what a run goes by."""

_PATH = ("incremental",)


def find_increment(checked: Checked, values: Values, increment_of: IncrementOf | None, now: datetime) -> None:
    """Find what the run goes by, if the contract is incremental, and let ``${cursor}`` know it.

    What is wrong with the section is not said here: it is checked with the other keys of ``extract.yaml``.

    Args:
        checked: The contract.
        values: Where variables get their values; changed.
        increment_of: Finds it; None: there is no cursor yet.
        now: The instant of the run, UTC.
    """
    part = checked.part("extract")
    raw = part.data.get("incremental") if part is not None and isinstance(part.data, dict) else None
    if part is None or raw is None:
        return
    values.incremental = True
    section = _section(part, values, raw)
    if section is None:
        values.cursor = values.cursor_end = values.cursor or "?"  # a mistake in the section is enough
        return
    params = {name: value for name, value in checked.params.items() if name != "run_date"}
    stream = stream_name(checked.name, params)
    sought = Sought(checked.name, checked.params, stream, section, now)
    found = increment(stream, section, now) if increment_of is None else increment_of(sought)
    checked.increment = found
    values.cursor = found.window.low if found.window.low is not None else values.cursor
    values.cursor_end = found.until if found.until is not None else values.cursor_end


def _section(part: Part, values: Values, raw: object) -> IncrementalSection | None:
    def ignore(_code: Code, _path: PathKey, _place: tuple[int, int], _message: str, _help: str | None) -> None:
        return None

    resolved = Resolver(values, ignore, part.is_plain).resolve(raw, _PATH)
    if resolved.deferred:
        return None
    place = Place(part, "incremental", path=_PATH, rereadable=resolved.rereadable)
    return check_options(IncrementalSection, resolved.data, place, lambda _diagnostic: None)


def increment(
    stream: str,
    section: IncrementalSection,
    now: datetime,
    *,
    start: str | None = None,
    seen: Recent | None = None,
) -> Increment:
    """Return what a run goes by.

    Args:
        stream: Whose cursor it is.
        section: What the contract says.
        now: The instant of the run, UTC.
        start: Where the cursor stands; None: nowhere yet.
        seen: Records that were loaded at it, or within the lag below it.
    """
    kind = section.kind
    first = None if section.initial is None else own_text(section.initial)
    low = first
    if start is not None:
        low = shifted(start, kind, span_of(section.lag, kind))
        if first is not None and comparable(low, kind) < comparable(first, kind):
            low = first
    high = None if section.end is None else own_text(section.end)
    return Increment(
        stream=stream,
        window=Window(field=section.cursor_field, low=low, high=high, value_type=kind, row_order=section.row_order),
        start=start,
        lag=None if section.lag is None else str(section.lag),
        ceiling=None if section.max_future_skew is False else ceiling_text(kind, section.max_future_skew, now),
        on_missing=section.on_missing,
        until=high if high is not None else _now_text(kind, now),
        seen=seen or {},
    )


def _now_text(kind: str, now: datetime) -> str | None:
    """Return the instant of the run as a cursor value, None when the cursor is no date."""
    since = now.astimezone(UTC).replace(tzinfo=None)
    if kind == "date":
        return since.date().isoformat()
    return instant_text(comparable(since, "datetime")) + "Z" if kind == "datetime" else None
