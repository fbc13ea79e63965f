"""``incremental:`` of ``extract.yaml``: which field tells what is new, and how far a run reads by it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from etlctl.contract.section import Section
from etlctl.cursor import OnMissing, RowOrder, ValueType, comparable, nanoseconds, own_text, span_of
from etlctl.temporal import Unparsable

_DATED = ("datetime", "date")


class IncrementalSection(Section):
    """A run reads what is new since the run before, by a field that grows with every change of the source."""

    cursor_field: str = Field(min_length=1)
    """Field of the source's records that grows with every change, such as ``updated_at`` or ``id``."""
    value_type: ValueType | None = None
    """What its values are; when left out, ``integer`` or ``float`` if ``initial`` (or ``end``) is a number, else ``datetime``."""  # noqa: E501
    initial: str | int | float | None = None
    """Where the very first run begins, itself included; when left out it reads everything."""
    end: str | int | float | None = None
    """Where every run ends, itself included; when left out there is no end."""
    lag: str | int | float | None = None
    """How far each run reaches back behind the cursor, for records that arrive late: ``15m``, ``1h``, ``2d``, or a number for numbers. What was loaded already is recognised and left out."""  # noqa: E501
    max_future_skew: str | int | float | Literal[False] = "1d"
    """A record dated further ahead of the run's own instant than this is loaded, but does not move the cursor; ``false`` lets it."""  # noqa: E501
    row_order: RowOrder | None = None
    """The order in which the source gives its records by the field, if it does: ``asc`` lets the cursor move with each commit and the run stop behind ``end``, ``desc`` lets it stop before the window."""  # noqa: E501
    on_missing: OnMissing = "reject"
    """What becomes of a record whose field is missing, null or of another type: ``reject`` it, ``load`` it without moving the cursor, or ``drop`` it."""  # noqa: E501

    @property
    def kind(self) -> ValueType:
        """What the values are."""
        return _kind(self.value_type, self.initial, self.end)

    @field_validator("initial", "end")
    @classmethod
    def _is_of_the_type(cls, value: str | float | None, info: ValidationInfo) -> str | float | None:
        if value is None:
            return None
        first = info.data.get("initial")
        kind = _kind(info.data.get("value_type"), first, value)
        key = _key(value, kind)
        if info.field_name == "end" and first is not None and key < _key(first, kind):
            raise ValueError(f"{own_text(value)} lies before initial, {own_text(first)}: no record would ever be read")
        return value

    @field_validator("lag")
    @classmethod
    def _is_a_distance(cls, lag: str | float | None, info: ValidationInfo) -> str | float | None:
        if lag is not None:
            span_of(lag, _kind(info.data.get("value_type"), info.data.get("initial"), info.data.get("end")))
        return lag

    @field_validator("max_future_skew")
    @classmethod
    def _is_a_length_of_time(cls, skew: str | float, info: ValidationInfo) -> str | float:
        if skew is not False:
            nanoseconds(str(skew))
            kind = _kind(info.data.get("value_type"), info.data.get("initial"), info.data.get("end"))
            if kind not in _DATED:
                raise ValueError(f"a cursor of type {kind} has no future: leave it out")
        return skew


def _kind(value_type: ValueType | None, *bounds: str | float | None) -> ValueType:
    if value_type is not None:
        return value_type
    numbers = [one for one in bounds if isinstance(one, int | float)]
    if not numbers:
        return "datetime"
    return "float" if any(isinstance(one, float) for one in numbers) else "integer"


def _key(value: str | float, kind: ValueType) -> Any:
    try:
        return comparable(own_text(value), kind)
    except Unparsable as why:
        raise ValueError(f"{own_text(value)!r} {why} (value_type: {kind})") from None
