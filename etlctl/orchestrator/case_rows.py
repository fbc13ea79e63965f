"""Holds the records a case expects against those that came: which are missing, which are too many, which differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from etlctl.errors import RecordRejected
from etlctl.frozen import frozen
from etlctl.orchestrator.field_changes import FieldChange, field_changes
from etlctl.types import Unparsable, kind_of, parse, to_text

Row = Mapping[str, Any]
_MOMENTS = (datetime, date, time)
_MOST_PAIRS = 1_000_000
"""Pairs of records to compare at most; more records than that are compared place by place."""


@frozen
class RowDifference:
    """A record that is not as expected.

    Attributes:
        expected: Its place in ``expect``, from 0; None for a record nobody expects.
        actual: Its place among the records that came, from 0; None for one that did not come.
        record: The whole record: the one that came, else the one expected.
        changes: What differs field by field, ``before`` being what is expected.
    """

    expected: int | None
    actual: int | None
    record: Row
    changes: Sequence[FieldChange] = field(default=())


@frozen
class Comparison:
    """Records that came, held against those expected.

    Attributes:
        differences: What differs, in the order of the expected records; those nobody expects come last.
        equal: For each record that came as expected its place in ``expect``.
    """

    differences: Sequence[RowDifference] = ()
    equal: Mapping[int, int] = field(default_factory=dict)


def case_value(value: Any) -> Any:
    """Return a value as a case writes it: text for what YAML has no word for."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): case_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [case_value(item) for item in value]
    try:
        return to_text(value)
    except Unparsable:
        return repr(value)


def matches(expected: Any, actual: Any) -> bool:
    """Tell whether a value that came is the one a case expects.

    Numbers are compared as numbers (1 is 1.0, but neither is true); dates, times and decimals with their text, instants
    whatever their zone; a null is as good as no field.
    """
    if expected is None or actual is None:
        return expected is None and actual is None
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, int | float):
        return _same_number(expected, actual)
    if isinstance(expected, str):
        return expected == actual if isinstance(actual, str) else _same_text(expected, actual)
    if isinstance(expected, Mapping):
        return isinstance(actual, Mapping) and all(
            matches(expected.get(name), actual.get(name)) for name in {*expected, *actual}
        )
    return isinstance(actual, list | tuple) and len(expected) == len(actual) and all(map(matches, expected, actual))


def _same_number(expected: float, actual: Any) -> bool:
    if isinstance(actual, Decimal):
        return Decimal(str(expected)) == actual
    if not isinstance(actual, int | float):
        return False
    return expected == actual or (math.isnan(expected) and math.isnan(actual))


def _same_text(expected: str, actual: Any) -> bool:
    if case_value(actual) == expected:
        return True
    try:
        if isinstance(actual, Decimal):
            return Decimal(expected) == actual
        return isinstance(actual, _MOMENTS) and bool(parse(expected, kind_of(actual)) == actual)
    except (RecordRejected, InvalidOperation, TypeError):
        return False


def compare_rows(
    expected: Sequence[Row], actual: Sequence[Row], *, unordered: bool = False, ignore: Sequence[str] = ()
) -> Comparison:
    """Return what differs between the records expected and those that came.

    Args:
        expected: What should come.
        actual: What came.
        unordered: The order says nothing.
        ignore: Fields not to compare.
    """
    wanted, came = ([_without(row, ignore) for row in rows] for rows in (expected, actual))
    if len(wanted) * len(came) > _MOST_PAIRS:
        pairs = [(number, number) for number in range(min(len(wanted), len(came)))]
    else:
        equal = _equal_anywhere(wanted, came) if unordered else _equal_in_order(wanted, came)
        pairs = [*equal, *_alike(wanted, came, equal, unordered=unordered)]
    same = {j: i for i, j in pairs if matches(wanted[i], came[j])}
    return Comparison(list(_differences(wanted, came, sorted(pairs))), same)


def _without(row: Row, ignore: Sequence[str]) -> Row:
    return {name: value for name, value in row.items() if name not in ignore} if ignore else row


def _equal_anywhere(wanted: Sequence[Row], came: Sequence[Row]) -> list[tuple[int, int]]:
    left = list(range(len(came)))
    pairs = []
    for number, row in enumerate(wanted):
        place = next((place for place in left if matches(row, came[place])), None)
        if place is not None:
            left.remove(place)
            pairs.append((number, place))
    return pairs


def _equal_in_order(wanted: Sequence[Row], came: Sequence[Row]) -> list[tuple[int, int]]:
    """Return the longest run of equal records that stand in the same order in both (longest common subsequence)."""
    width = len(came)
    same = [[matches(row, other) for other in came] for row in wanted]
    best = [[0] * (width + 1) for _ in range(len(wanted) + 1)]
    for i in range(len(wanted) - 1, -1, -1):
        for j in range(width - 1, -1, -1):
            longer = max(best[i + 1][j], best[i][j + 1])
            best[i][j] = max(longer, best[i + 1][j + 1] + 1) if same[i][j] else longer
    pairs, i, j = [], 0, 0
    while i < len(wanted) and j < width:
        if same[i][j] and best[i][j] == best[i + 1][j + 1] + 1:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _alike(
    wanted: Sequence[Row], came: Sequence[Row], equal: Sequence[tuple[int, int]], *, unordered: bool
) -> Iterator[tuple[int, int]]:
    """Pair up the records that have no equal: those between the same neighbours, the most alike first."""
    for lost, extra in _gaps(len(wanted), len(came), equal, unordered=unordered):
        scored = sorted(
            ((-_likeness(wanted[i], came[j]), abs(at - to), i, j)
             for at, i in enumerate(lost) for to, j in enumerate(extra)),
        )  # fmt: skip
        taken_i: set[int] = set()
        taken_j: set[int] = set()
        alone = len(lost) == len(extra)
        for score, _, i, j in scored:
            # A record that has nothing in common with another is a record of its own, unless all have a partner.
            if i not in taken_i and j not in taken_j and (score < 0 or alone):
                taken_i.add(i)
                taken_j.add(j)
                yield i, j


def _gaps(
    wanted: int, came: int, equal: Sequence[tuple[int, int]], *, unordered: bool
) -> Iterator[tuple[list[int], list[int]]]:
    if unordered:
        have_i, have_j = {i for i, _ in equal}, {j for _, j in equal}
        yield [i for i in range(wanted) if i not in have_i], [j for j in range(came) if j not in have_j]
        return
    start_i = start_j = 0
    for i, j in [*equal, (wanted, came)]:
        yield list(range(start_i, i)), list(range(start_j, j))
        start_i, start_j = i + 1, j + 1


def _likeness(row: Row, other: Row) -> int:
    return sum(row[name] is not None and matches(row[name], other.get(name)) for name in row)


def _differences(
    wanted: Sequence[Row], came: Sequence[Row], pairs: Sequence[tuple[int, int]]
) -> Iterator[RowDifference]:
    partner = dict(pairs)
    for i, row in enumerate(wanted):
        j = partner.get(i)
        if j is None:
            yield RowDifference(i, None, row)
        elif not matches(row, came[j]):
            changes = field_changes(row, came[j], matches, null_is_missing=True)
            yield RowDifference(i, j, case_value(came[j]), [_shown(change) for change in changes])
    found = set(partner.values())
    for j, row in enumerate(came):
        if j not in found:
            yield RowDifference(None, j, case_value(row))


def _shown(change: FieldChange) -> FieldChange:
    return FieldChange(change.field, change.change, change.before, case_value(change.after))
