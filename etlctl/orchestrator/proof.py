"""What a proof found, as values: one trial for each place or instant a run was killed at, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from etlctl.errors import EtlctlError
from etlctl.frozen import frozen
from etlctl.run import ProcessingMode


class NotProvable(EtlctlError):  # noqa: N818
    """Nothing can be proved, or disproved, of this contract; the message says why."""

    exit_code = 2


@frozen(kw_only=True)
class ProofSettings:
    """How to prove.

    Attributes:
        seeds: Random trials.
        seed: What their instants are made from; None: any.
        max_records: Source records to read at most.
        mode: Processing mode; None: the contract's.
        keep: Folder to keep everything in, which must be empty or missing; None: nothing is kept.
        params: Parameters of the contract.
    """

    seeds: int = 10
    seed: int | None = None
    max_records: int = 1000
    mode: ProcessingMode | str | None = None
    keep: Path | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@frozen(kw_only=True)
class Trial:
    """A run that was killed and resumed until it was done.

    Attributes:
        fault: Where it was killed: a point of ``etlctl.faults``, or ``random 3``.
        meaning: What that is, in words.
        kills: For each kill, how far the run was: ``start``, ``4 of 12`` (batches), ``end``.
        attempts: Processes it took.
        lost: Records and dead letters that are missing.
        doubled: Records and dead letters there are too many of.
        problem: What else is wrong: it did not come to its end, the account differs, something was left behind.
        examples: Some of the records that were lost or doubled.
    """

    fault: str
    meaning: str
    kills: tuple[str, ...] = ()
    attempts: int = 0
    lost: int = 0
    doubled: int = 0
    problem: str | None = None
    examples: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Tell whether it ended as an undisturbed run does."""
        return not (self.lost or self.doubled or self.problem)

    @property
    def verdict(self) -> str:
        """How it ended, in a few words; ``came through`` when the kill would have come too late."""
        if not self.kills and self.proven:
            return "came through" if self.attempts else "not reached"
        wrong = [name for name in ("lost", "doubled") if getattr(self, name)]
        return ", ".join([*wrong, *filter(None, [self.problem])]) or "equal"


@frozen(kw_only=True)
class Proof:
    """What a proof found.

    Attributes:
        contract: Name of the contract.
        mode: Processing mode it was run in.
        records: Source records of a run.
        batches: Batches of a run.
        batch_size: Source records per batch.
        seed: What the random instants were made from.
        reads: How often the source was read.
        trials: In the order they were asked for.
        blanked: Fields left out of the comparison, because their values differ between undisturbed runs, too.
        notes: What it does not prove.
        kept: Folder with everything, if it was to be kept.
    """

    contract: str
    mode: str
    records: int
    batches: int
    batch_size: int
    seed: int
    reads: int
    trials: tuple[Trial, ...]
    blanked: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    kept: str | None = None

    @property
    def proven(self) -> bool:
        """Tell whether every trial ended as an undisturbed run does."""
        return all(trial.proven for trial in self.trials)

    @property
    def kills(self) -> int:
        """How often a process was killed."""
        return sum(len(trial.kills) for trial in self.trials)

    @property
    def summary(self) -> str:
        """The verdict on one line."""
        lost, doubled = (sum(getattr(trial, name) for trial in self.trials) for name in ("lost", "doubled"))
        others = sum(trial.problem is not None for trial in self.trials)
        text = f"{self.kills:,} kills, {lost:,} lost, {doubled:,} doubled"
        if others:
            text += f", {others:,} with another problem"
        return f"{'proved' if self.proven else 'NOT PROVED'}: {text}"

    def to_dict(self) -> Mapping[str, Any]:
        """Return the proof as JSON values."""
        trials = [asdict(one) | {"proven": one.proven, "verdict": one.verdict} for one in self.trials]
        own = {"proven": self.proven, "kills": self.kills, "summary": self.summary, "trials": trials}
        return {**asdict(self), **own}
