"""The account of a run: totals that must balance, batch by batch and step by step, and the limits they are held to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from etlctl.batch import Position
from etlctl.engine.cutter import Cut
from etlctl.engine.options import BudgetLike
from etlctl.errors import FatalError, LimitError
from etlctl.run import Counts, StepCounts
from etlctl.sdk.loader import Published

_JUDGE_SHARE_FROM = 1000
"""Source records from which on a share of rejected ones says something."""


@dataclass(slots=True)
class Account:
    """What a run did so far.

    Attributes:
        counts: Records, over all batches.
        extract: The account of reading.
        steps: The account of each step.
        load: The account of loading.
        batches: Batches done.
        would_load: Records that a dry run would have loaded.
        position: What to read next after the last batch.
        published: What the writer made visible at the end.
    """

    steps: list[StepCounts]
    counts: Counts = field(default_factory=Counts)
    extract: StepCounts = field(default_factory=lambda: StepCounts("extract"))
    load: StepCounts = field(default_factory=lambda: StepCounts("load"))
    batches: int = 0
    would_load: int = 0
    position: Position | None = None
    published: Published | None = None

    def add(self, cut: Cut, loaded: int, refused: int, *, dry: bool) -> None:
        """Add a batch.

        Args:
            cut: The batch with its own account.
            loaded: Records the destination took (or would have taken).
            refused: Records it refused.
            dry: Nothing was really loaded.

        Raises:
            FatalError: Its records are not all accounted for.
        """
        counts = replace(cut.counts, loaded=loaded, rejected=cut.counts.rejected + refused)
        if not counts.balanced:
            raise FatalError(
                f"the counts of batch {cut.batch.seq} do not balance: {counts.missing:+d} records are unaccounted for "
                f"({counts.to_dict()})",
                help="this is a defect of a component or of etlctl: nothing was published; please report it",
            )
        self.would_load += loaded if dry else 0
        self.counts.add(replace(counts, loaded=0) if dry else counts)
        self.batches += 1
        self.position = cut.batch.position
        unreadable = cut.counts.rejected - sum(step.rejected for step in cut.steps)
        self.extract.records_in += counts.extracted
        self.extract.records_out += counts.extracted - unreadable
        self.extract.rejected += unreadable
        self.load.records_in += loaded + refused
        self.load.records_out += loaded
        self.load.rejected += refused
        for total, step in zip(self.steps, cut.steps, strict=True):
            _add_step(total, step)

    def check_budget(self, budget: BudgetLike | None, *, final: bool = False) -> None:
        """Hold the rejected records against the dead-letter budget.

        Args:
            budget: How many are acceptable.
            final: The run is over: judge the share however few records there were.

        Raises:
            LimitError: There are more.
        """
        rejected, extracted = self.counts.rejected, self.counts.extracted
        if budget is None:
            return
        if budget.max is not None and rejected > budget.max:
            raise _over_budget(f"{rejected:,} records were rejected; dead_letters.max allows {budget.max:,}")
        if budget.max_percent is None or not extracted or not (final or extracted >= _JUDGE_SHARE_FROM):
            return
        share = 100 * rejected / extracted
        if share > budget.max_percent:
            raise _over_budget(
                f"{rejected:,} of {extracted:,} records ({share:.2f} %) were rejected; "
                f"dead_letters.max_percent allows {budget.max_percent:g} %"
            )

    def verify_steps(self) -> None:
        """Check the chain from step to step.

        Raises:
            FatalError: A step's records are not all accounted for, or a step did not get what the one before it gave.
        """
        chain = (self.extract, *self.steps, self.load)
        for step in chain:
            if not step.balanced:
                raise FatalError(f"the counts of step {step.name} do not balance: {step.to_dict()}")
        for before, after in pairwise(chain):
            if before.records_out != after.records_in:
                raise FatalError(
                    f"step {before.name} gave {before.records_out:,} records, but {after.name} got {after.records_in:,}"
                )

    def publish(self, published: Published) -> None:
        """Note what the writer made visible.

        Raises:
            FatalError: It is not the number of records that were handed to it.
        """
        if published.records != self.counts.loaded:
            raise FatalError(
                f"the destination published {published.records:,} records, but {self.counts.loaded:,} were handed to it"
            )
        self.published = published


def _add_step(total: StepCounts, step: StepCounts) -> None:
    total.records_in += step.records_in
    total.records_out += step.records_out
    total.added += step.added
    total.filtered += step.filtered
    total.rejected += step.rejected
    total.seconds += step.seconds
    total.form = step.form if total.form in {"", step.form} else "mixed"


def _over_budget(message: str) -> LimitError:
    return LimitError(message, help="see them with: etlctl dead-letters list; nothing new was published")
