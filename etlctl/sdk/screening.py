"""A screening operation looks at a few columns of a whole batch and refuses or drops some of its records.

For work that remembers what it saw earlier in the run (unique keys), which can be neither a lazy plan nor pure.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation
from etlctl.sdk.rows import RowSlice


@dataclass(frozen=True, slots=True)
class Verdict:
    """A record that does not pass: its place in the columns given, and why. No rule: dropped on purpose."""

    position: int
    rule: str | None
    message: str = ""
    field: str | None = None


class Screening(Operation):
    """Sees values column by column, so that it costs the same in rows and in frame form."""

    changes_count: ClassVar[bool] = True

    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Return the fields to look at."""

    @abstractmethod
    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Return the records that do not pass, in order. Each column has one value per record, None when missing."""

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Screen a slice of records."""
        columns = {name: [record.get(name) for record in rows.records] for name in self.needs()}
        for verdict in self.screen(columns):
            if verdict.rule is None:
                rows.drop(verdict.position)
            else:
                rows.reject(verdict.position, verdict.rule, verdict.message, field=verdict.field)
