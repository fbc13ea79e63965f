"""The account of a run: totals that must balance, batch by batch and step by step, and the limits they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from etlctl.engine.cutter import Cut
from etlctl.engine.incremental import KEY, Reached
from etlctl.engine.options import BudgetLike
from etlctl.engine.shares import Dealt, PublishedEach
from etlctl.engine.violations import Violations
from etlctl.errors import FatalError, LimitError
from etlctl.quality import CheckResult
from etlctl.run import Counts, DestinationCounts, StepCounts
from etlctl.sdk.destinations import STEP
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
        failed_batches: Batches that failed after all retries and went to the dead letters as a whole.
        would_load: Records that a dry run would have loaded.
        published: What the writer made visible at the end.
        destinations: The account of each of several destinations.
        violations: Rules that records broke without being refused.
        checks: How the checks of the whole run went.
        reached: How far an incremental run is; None: the run is not incremental.
        half_sent: A batch that is not done may have been sent in part.
    """

    steps: list[StepCounts]
    counts: Counts = field(default_factory=Counts)
    extract: StepCounts = field(default_factory=lambda: StepCounts("extract"))
    load: StepCounts = field(default_factory=lambda: StepCounts("load"))
    batches: int = 0
    failed_batches: int = 0
    would_load: int = 0
    published: Published | None = None
    destinations: list[StepCounts] = field(default_factory=list)
    violations: Violations = field(default_factory=Violations)
    checks: list[CheckResult] = field(default_factory=list)
    reached: Reached | None = None
    half_sent: bool = False

    def add(self, cut: Cut, loaded: int, refused: int, *, dry: bool, dealt: Dealt | None = None) -> None:
        """Add a batch.

        Args:
            cut: The batch with its own account.
            loaded: Records the destination took (or would have taken).
            refused: Records it refused.
            dry: Nothing was really loaded.
            dealt: What each of several destinations took of it.

        Raises:
            FatalError: Its records are not all accounted for.
        """
        added, filtered = (dealt.added, dealt.filtered) if dealt is not None else (0, 0)
        counts = replace(
            cut.counts,
            loaded=loaded,
            added=cut.counts.added + added,
            filtered=cut.counts.filtered + filtered,
            rejected=cut.counts.rejected + refused,
        )
        if not counts.balanced:
            raise FatalError(
                f"the counts of batch {cut.batch.seq} do not balance: {counts.missing:+d} records are unaccounted for "
                f"({counts.to_dict()})",
                help="this is a defect of a component or of etlctl: nothing was published; please report it",
            )
        self.would_load += loaded if dry else 0
        self.counts.add(replace(counts, loaded=0) if dry else counts)
        self.batches += 1
        self.violations.update(cut.violations)
        if self.reached is not None:
            self.reached.add(cut.advances)
        unreadable = cut.counts.rejected - sum(step.rejected for step in cut.steps)
        self.extract.records_in += counts.extracted
        self.extract.records_out += counts.extracted - unreadable
        self.extract.rejected += unreadable
        self.load.records_in += loaded + refused + filtered - added
        self.load.added += added
        self.load.filtered += filtered
        self.load.records_out += loaded
        self.load.rejected += refused
        for total, step in zip(self.steps, cut.steps, strict=True):
            _add_step(total, step)
        if dealt is not None:
            self._add_shares(dealt)

    def _add_shares(self, dealt: Dealt) -> None:
        known = {step.name: step for step in self.destinations}
        self.destinations = [known.get(STEP + name, StepCounts(STEP + name)) for name in dealt.shares]
        for total, share in zip(self.destinations, dealt.shares.values(), strict=True):
            total.records_in += share.handed
            total.records_out += share.records
            total.rejected += share.handed - share.records

    def by_destination(self) -> tuple[DestinationCounts, ...]:
        """Return what became of the records at each of several destinations; nothing when there is one."""
        each = self.published.each if isinstance(self.published, PublishedEach) else {}
        made = []
        for step in self.destinations:
            name = step.name.removeprefix(STEP)
            places = each[name].places if name in each else ()
            made.append(DestinationCounts(name, ", ".join(places) or None, step.records_out, step.rejected))
        return tuple(made)

    def to_dict(self) -> dict[str, Any]:
        """Return the account as JSON values, for commit tokens and checkpoints."""
        return {
            "counts": self.counts.to_dict(),
            "steps": [step.to_dict() for step in (self.extract, *self.steps, self.load)],
            "batches": self.batches,
            "failed_batches": self.failed_batches,
            "violations": self.violations.to_list(),
            **({"destinations": [step.to_dict() for step in self.destinations]} if self.destinations else {}),
            **({KEY: self.reached.to_dict()} if self.reached is not None else {}),
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from an account that was kept; one of other steps keeps only its totals.

        Args:
            values: As of ``to_dict``; empty for the beginning.
        """
        if self.reached is not None:
            self.reached.restore(values.get(KEY, {}))
        self.counts = Counts(**values.get("counts", {}))
        self.batches, self.failed_batches = values.get("batches", 0), values.get("failed_batches", 0)
        self.violations = Violations.of(values.get("violations", ()))
        self.destinations = [StepCounts(**step) for step in values.get("destinations", ())]
        kept = {step["name"]: StepCounts(**step) for step in values.get("steps", ())}
        self.extract, self.load = kept.get("extract", StepCounts("extract")), kept.get("load", StepCounts("load"))
        names = [step.name for step in self.steps]
        if values and len(values["steps"]) == len(names) + 2:
            kept_steps = zip(values["steps"][1:-1], names, strict=True)  # an older etlctl has named some otherwise
            self.steps = [StepCounts(**{**step, "name": name}) for step, name in kept_steps]
        else:
            self.steps = [StepCounts(name) for name in names]

    def check_threshold(self, threshold: float | None, *, final: bool = False) -> None:
        """Hold failed batches and rejected records against the error threshold.

        While the run goes on, batches are judged from the third on and records from 1,000 on: more than the share
        ends it. In the end the share of failed batches must be below the threshold.

        Args:
            threshold: Share that is acceptable, 0 to 1.
            final: The run is over.

        Raises:
            LimitError: There are more.
        """
        if threshold is None:
            return
        failed, batches = self.failed_batches, self.batches
        too_many = failed and failed >= batches * threshold if final else failed > batches * threshold and batches >= 3
        if too_many:
            raise LimitError(
                f"{failed:,} of {batches:,} batches failed after all retries; error_threshold allows less than "
                f"{100 * threshold:g} %",
                help="their records are in the dead letters: etlctl dead-letters list",
            )
        rejected, extracted = self.counts.rejected, self.counts.extracted
        if rejected > extracted * threshold and (final or extracted >= _JUDGE_SHARE_FROM):
            raise LimitError(
                f"{rejected:,} of {extracted:,} records were rejected; error_threshold allows {100 * threshold:g} %",
                help="see them with: etlctl dead-letters list",
            )

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
        for step in (*chain, *self.destinations):
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
    total.why = total.why or step.why


def _over_budget(message: str) -> LimitError:
    return LimitError(message, help="see them with: etlctl dead-letters list; nothing more was published")
