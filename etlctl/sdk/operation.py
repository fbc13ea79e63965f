"""An operation changes records: synchronous, pure, in rows form and where it pays in frame form too."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from etlctl.quality import CheckResult
from etlctl.sdk.component import Component
from etlctl.sdk.context import ConclusionContext, StepContext
from etlctl.sdk.fields import FieldProblem, FieldSet
from etlctl.sdk.rows import RowSlice

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan


class Scope(StrEnum):
    """What an operation must see at once."""

    record = "record"
    """One record: the result does not depend on how records are cut into batches."""
    batch = "batch"
    """One batch in streaming mode, the whole data set in full mode."""


class Operation(Component):
    """Changes records on their way.

    ``rows`` is the authority on meaning. An operation that also has a frame form overrides ``frame`` and sets
    ``has_frame``; both forms must agree, refused records included (see ``etlctl.sdk.frames``).
    """

    has_frame: ClassVar[bool] = False
    """The operation has a frame form."""

    changes_count: ClassVar[bool] = False
    """The operation drops or multiplies records on purpose. A frame plan holds at most one such operation."""

    remembers: ClassVar[bool] = False
    """What the operation does with a record depends on those before it; a resumed run shows it those again."""

    stays: ClassVar[bool] = False
    """The operation never runs in another process: it knows what only the run itself knows."""

    concludes: ClassVar[bool] = False
    """The operation has a word on the run as a whole: ``conclude`` is called before anything is published."""

    map_order: ClassVar[int | None] = None
    """Place in the map form of ``transform:`` (1 first); None: not allowed there."""

    shorthand: ClassVar[str | None] = None
    """Option that takes the value under the operation's name when that value is not a mapping of options.

    ``rename: {a: b}`` is short for ``rename: {fields: {a: b}}`` because the shorthand of rename is ``fields``.
    """

    shorthand_only: ClassVar[bool] = False
    """The value under the operation's name is always the shorthand's, mappings included (as in ``rename``)."""

    @property
    def scope(self) -> Scope:
        """What the operation must see at once."""
        return Scope.record

    def frame_reason(self) -> str | None:
        """Return why the operation, with the options it has, works on rows only; None when it has a frame form.

        Told from the options alone. The engine asks for every chunk, so the answer must be cheap; one that depends on
        options overrides this, and a batch it cannot handle after all raises ``FrameUnsupported``.
        """
        return None if self.has_frame else f"{type(self).__module__.rpartition('.')[2]} works on rows"

    def fresh(self) -> Operation:
        """Return the operation to use for one run; one that remembers things returns a new copy of itself."""
        return self

    def code(self, base_dir: Path) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the user's own files that say what the operation does: editing one edits the contract.

        Args:
            base_dir: The contract's folder.
        """
        return ()

    def file_problems(self, base_dir: Path) -> Sequence[FieldProblem]:  # noqa: ARG002
        """Return what a glance at the operation's own files tells to be wrong, for ``validate``.

        Args:
            base_dir: The contract's folder.
        """
        return ()

    async def prepare(self, ctx: StepContext) -> None:  # noqa: ARG002
        """Get ready before the first record: read tables, look things up. Called once per attempt of a run.

        Raises:
            RetryableError: Trying again may help.
            FatalError: The operation cannot work.
        """
        return

    @property
    def by_batch(self) -> bool:
        """The contract says itself that a batch-scoped step looks at one batch at a time: nothing to warn about."""
        return False

    def looks_back(self) -> int:
        """Return how many runs before this one ``conclude`` wants to compare with."""
        return 0

    def conclude(self, ctx: ConclusionContext) -> Sequence[CheckResult]:  # noqa: ARG002
        """Judge the run, now that all records have passed; a check that fails keeps it from publishing."""
        return ()

    def close(self) -> None:
        """Let go of what it holds (threads, processes, files). Called once when an attempt of a run is over."""

    @abstractmethod
    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Change the records of a slice in place; refuse, drop or multiply them through ``rows``.

        For ``Scope.batch`` the slice is the whole batch.

        Raises:
            FatalError: The operation cannot go on at all (not: one record is bad).
        """

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Add the operation to a lazy plan.

        Raises:
            FrameUnsupported: This batch needs the rows form.
        """
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        raise FrameUnsupported(type(self).__name__)

    def effect(self, known: FieldSet) -> FieldSet:
        """Return the fields after the operation, given those before; used by ``validate``, never by a run.

        Report what cannot work through ``known.problem(...)``.
        """
        return known.opaque()
