"""What the ledger needs of a connection to write its record, whatever the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class PlainConnection(Protocol):
    """Runs plain statements with ``:name`` binds inside one transaction. Values are what the driver takes as they are.

    SQLite takes instants as text (``column_values.instant_text``), PostgreSQL as they are; both take JSON as text.
    """

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> int:
        """Run a statement; returns how many rows it changed."""

    def run_many(self, statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement once for each of many rows."""

    def fetch(self, statement: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a query, as the driver gives their values."""
