"""What the parts that serve every database need to know of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Declared(Protocol):
    """A field of the contract's schema."""

    @property
    def type(self) -> str:
        """Name of the type, such as ``integer``."""

    @property
    def required(self) -> bool:
        """It has a value in every record."""


class Column(Protocol):
    """A column of a table."""

    @property
    def name(self) -> str:
        """As the table spells it."""

    @property
    def declared(self) -> str:
        """Its type, as text; empty for none."""

    @property
    def default(self) -> str | None:
        """SQL of its default, or None."""

    @property
    def generated(self) -> bool:
        """It cannot be written."""

    def takes_all(self, kind: type) -> bool:
        """Tell whether every value of a Python type is at home in it."""

    def takes_some(self, kind: type) -> bool:
        """Tell whether some values of a Python type are, such as texts that are numbers."""

    def takes(self, value: Any) -> bool:
        """Tell whether a value is at home in it."""


class Table(Protocol):
    """A table."""

    @property
    def name(self) -> str:
        """As the database spells it."""

    @property
    def columns(self) -> Sequence[Column]:
        """In order."""

    @property
    def names(self) -> list[str]:
        """The columns that can be written."""

    def column(self, name: str) -> Column | None:
        """Return the column for a field of a name, or None."""

    def fills(self, column: Any) -> bool:
        """Tell whether a column gets a value by itself when a record has none: a default, a number."""
