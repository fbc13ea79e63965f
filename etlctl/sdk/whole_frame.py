"""An operation that may take a whole batch as a frame and give another one, by code the engine cannot look into.

Such a step neither joins its neighbours' lazy plan nor breaks it: they stay columnar before and after it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from etlctl.batch import Record
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation

if TYPE_CHECKING:
    import polars as pl


class WholeFrame(Operation):
    """Changes a batch as a frame; ``takes_frames`` tells whether this one does. Its scope is then the batch."""

    @property
    @abstractmethod
    def takes_frames(self) -> bool:
        """Tell whether the operation, with its options, wants a frame."""

    @abstractmethod
    def as_frame(self, records: list[Record]) -> pl.DataFrame:
        """Turn records into the frame it wants.

        Raises:
            FatalError: They do not fit into columns.
        """

    @abstractmethod
    def change(self, frame: pl.DataFrame, ctx: StepContext) -> pl.DataFrame:
        """Return the frame that takes the place of another.

        Row i is taken for what became of row i; surplus rows at the end for additional ones, missing ones for dropped.

        Raises:
            FatalError: It cannot go on.
        """
