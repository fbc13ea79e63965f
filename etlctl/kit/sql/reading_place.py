"""Where reading a database stands: after which key, or after how many rows; a JSON value that keeps values exactly."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from etlctl.batch import Position
from etlctl.errors import FatalError
from etlctl.frozen import frozen


@frozen
class Place:
    """Where reading stands.

    Attributes:
        rows: Rows read so far.
        names: Columns of the key; empty when rows are counted.
        last: Values of the key of the last row that was read; None before the first.
    """

    rows: int
    names: tuple[str, ...] = ()
    last: tuple[Any, ...] | None = None

    def to_json(self) -> Position:
        """Return it as the position of a batch."""
        if self.last is None:
            return {"rows": self.rows}
        key = [[name, _encoded(value)] for name, value in zip(self.names, self.last, strict=True)]
        return {"rows": self.rows, "key": key}

    @classmethod
    def of(cls, position: Mapping[str, Any] | None) -> Place | None:
        """Return the place that ``to_json`` wrote."""
        if position is None:
            return None
        key = position.get("key")
        if key is None:
            return cls(position["rows"])
        return cls(position["rows"], tuple(name for name, _ in key), tuple(_decoded(value) for _, value in key))

    def check(self, names: Sequence[str], what: str) -> None:
        """Make sure that the place is one of a reading by this key.

        Raises:
            FatalError: It is one of another key, or of counted rows.
        """
        if self.names != tuple(names) and (self.names or self.rows):
            was = f"by {', '.join(self.names)}" if self.names else "by counting rows"
            now = f"by {', '.join(names)}" if names else "by counting rows"
            raise FatalError(
                f"{what} was read {was} when the run stopped, and would be read {now} now",
                help="give the key it had (key: […]), or begin anew with: etlctl run … --restart",
            )


_TEXT: dict[type, str] = {datetime: "datetime", date: "date", time: "time", UUID: "uuid", Decimal: "decimal"}
_OF_TEXT: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": UUID,
    "decimal": Decimal,
    "float": float.fromhex,
    "bytes": b64decode,
    "microseconds": lambda value: timedelta(microseconds=value),
}


def _encoded(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": b64encode(value).decode("ascii")}
    if isinstance(value, timedelta):
        return {"microseconds": value // timedelta(microseconds=1)}
    name = _TEXT.get(type(value))
    if name is None:
        raise FatalError(
            f"a value of the key is of type {type(value).__name__}, which no position can hold",
            help="turn the column into text or a number in the query",
        )
    return {name: str(value) if name in {"uuid", "decimal"} else value.isoformat()}


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return _OF_TEXT[name](inner)
