"""What came of a chunk, as values: its records after all steps, and what each step did to it, how and why so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etlctl.batch import Encoded, Record
from etlctl.frozen import frozen
from etlctl.sdk.rows import RowRejection

if TYPE_CHECKING:
    import polars as pl

ROWS_FROM_SOURCE = "the source gives rows"
"""Why a step of a contract whose source is not tabular runs on rows."""


@dataclass(slots=True)
class Tally:
    """What one step did to a chunk, by 0-based ordinals of the readable source records, in order.

    Attributes:
        filtered: Records dropped on purpose.
        added: Records made out of others.
        rejected: Records refused.
        warned: Rules that records broke which go on nevertheless.
        seconds: Time spent in it.
        form: ``frame``, ``rows`` or ``mixed``: how it ran; empty when it did not.
        why: Why it did not run on the frame, or not for every record; the first reason seen.
    """

    filtered: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    warned: list[RowRejection] = field(default_factory=list)
    seconds: float = 0.0
    form: str = ""
    why: str = ""

    def note(self, why: str) -> None:
        """Say why the step did not run on the frame, unless that was said before."""
        self.why = self.why or why


@frozen
class Refused:
    """A record that a step refused; ``rejection.index`` is its ordinal among the readable records of the chunk."""

    step: str
    rejection: RowRejection


@frozen
class EncodedSlice:
    """Outputs of a chunk from ``first`` on, as the writer's encoder made them; what it refused counts as well."""

    first: int
    part: Encoded

    def __len__(self) -> int:
        return self.part.records + len(self.part.rejected)


@dataclass(slots=True)
class Applied:
    """A chunk after all steps, as rows, as a frame or encoded.

    ``ordinals`` tells for each record which readable source record it came from.

    ``ordinals`` is None when record i still is source record i; they ascend unless ``reordered``.
    """

    records: list[Record] | None
    frame: pl.DataFrame | None
    ordinals: list[int] | pl.Series | None
    source: int
    refused: list[Refused]
    tallies: list[Tally]
    reordered: bool = False
    encoded: list[EncodedSlice] | None = None

    def __len__(self) -> int:
        if self.encoded is not None:
            return sum(map(len, self.encoded))
        return self.frame.height if self.frame is not None else len(self.records or ())

    def source_ordinals(self) -> Sequence[int]:
        """Return for each record which readable source record it came from."""
        if self.ordinals is None:
            return range(len(self))
        return self.ordinals if isinstance(self.ordinals, list) else self.ordinals.to_list()
