"""A screening operation looks at a few columns of a whole batch and refuses or drops some of its records.

For work that remembers what it saw earlier in the run (unique keys), which can be neither a lazy plan nor pure.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from etlctl.frozen import frozen
from etlctl.quality import Action
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation
from etlctl.sdk.rows import RowSlice

if TYPE_CHECKING:
    import polars as pl


@frozen
class Verdict:
    """A record that does not pass: its place in the columns given, and why. No rule: dropped on purpose.

    ``action`` says what becomes of one that breaks a rule; ``warn`` lets it go on.
    """

    position: int
    rule: str | None
    message: str = ""
    field: str | None = None
    action: Action = "reject"

    @property
    def leaves(self) -> bool:
        """Tell whether the record goes no further."""
        return self.rule is None or self.action != "warn"


class Screening(Operation):
    """Sees values column by column, so that it costs the same in rows and in frame form."""

    changes_count: ClassVar[bool] = True

    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Return the fields to look at."""

    @abstractmethod
    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Return the records that do not pass, in order. Each column has one value per record, None when missing."""

    def sift(self, frame: pl.DataFrame) -> pl.Series | None:  # noqa: ARG002
        """Return for each row of a frame whether it stays, when the others are just dropped; None: ``screen_frame``."""
        return None

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:  # noqa: ARG002
        """Return the records of a frame that do not pass; override it where columns can be judged as a whole."""
        columns: dict[str, Sequence[Any]] = {
            name: frame.get_column(name).to_list() if name in frame.columns else [None] * frame.height
            for name in self.needs()
        }
        return self.screen(columns)

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Screen a slice of records."""
        columns = {name: [record.get(name) for record in rows.records] for name in self.needs()}
        for verdict in self.screen(columns):
            if verdict.rule is None:
                rows.drop(verdict.position)
            else:
                rows.violate(verdict.position, verdict.action, verdict.rule, verdict.message, field=verdict.field)
