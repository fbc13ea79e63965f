"""Replays of masked records: a dead letter of a contract that masks holds the record as it was masked, and says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from etlctl.orchestrator.replay_fitness import Unfit
from etlctl.run import DeadLetter
from etlctl.sdk.concealing import CONCEALED, MASKED, Concealing

if TYPE_CHECKING:
    from etlctl.contract.model import Step


def masked_fields(raw: Any) -> tuple[str, ...]:
    """Return the fields that are masked in the raw record of a dead letter."""
    names = raw.get(MASKED) if isinstance(raw, Mapping) else None
    return tuple(names) if isinstance(names, list | tuple) else ()


def plain_record(raw: Any) -> Any:
    """Return the record of a dead letter without the note of what is masked in it."""
    if not masked_fields(raw):
        return raw
    return {name: value for name, value in raw.items() if name != MASKED}


def after_masks(steps: Sequence[Step], fields: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps for records in which some fields are masked already: what is masked is not masked again."""
    return tuple(
        replace(step, operation=step.operation.after(fields)) if isinstance(step.operation, Concealing) else step
        for step in steps
    )


def unfit_mask(letter: DeadLetter, fields: Sequence[str], steps: Sequence[Step]) -> Unfit | None:
    """Return why a dead letter cannot be replayed because of what is masked in it; None when it can.

    Args:
        letter: The dead letter.
        fields: What is masked in the letters that are replayed with it.
        steps: The steps of the contract as it is today.
    """
    help_ = "run the contract again on its source, or discard it"
    if letter.raw == CONCEALED:
        why = "its record was not kept: it may hold personal data, which the contract masks behind other steps"
        if letter.stage == "extract":
            why = "it could not be read as a record, and its text was not kept: the contract masks personal data"
        return Unfit(letter, why, help_)
    mine = masked_fields(letter.raw)
    if set(mine) != set(fields):
        return Unfit(letter, "other fields are masked in it than in the letters replayed with it", "replay it alone")
    first = takewhile(lambda step: isinstance(step.operation, Concealing), steps)
    today = {name for step in first if isinstance(step.operation, Concealing) for name in step.operation.concealed}
    gone = [name for name in mine if name not in today]
    if gone:
        return Unfit(letter, f"field {gone[0]!r} is masked in it, and the contract does not mask it any more", help_)
    return None
