"""Keeps personal data that a contract masks out of dead letters: records, raw text and messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from etlctl.batch import Record, Rejection
from etlctl.errors import ComponentError
from etlctl.sdk.concealing import CONCEALED, MASKED, Concealing

if TYPE_CHECKING:
    from etlctl.engine.apply import StepLike


def concealment(steps: Sequence[StepLike]) -> Callable[[Rejection], Rejection] | None:
    """Return what takes personal data out of a rejection; None when no step masks any.

    Args:
        steps: The steps of the run, in order.
    """
    conceal = record_concealment(steps)
    if conceal is None:
        return None
    plain = _plain_steps(steps)

    def cleaned(rejection: Rejection) -> Rejection:
        seen_plain = rejection.stage == "extract" or rejection.step in plain
        raw = None if rejection.raw is None else conceal(rejection.raw)
        told = concealed_message(rejection.rule, rejection.field) if seen_plain else rejection.message
        return replace(rejection, raw=raw, message=told)

    return cleaned


def _plain_steps(steps: Sequence[StepLike]) -> set[str]:
    """Return the steps that see plain values of what a later step masks."""
    masking = [number for number, step in enumerate(steps) if isinstance(step.operation, Concealing)]
    return (
        {step.name for step in steps[: masking[-1]]} - {steps[number].name for number in masking} if masking else set()
    )


def record_concealment(steps: Sequence[StepLike]) -> Callable[[Any], Any] | None:
    """Return what makes of a source record, or of its raw text, what may be kept and shown; None: anything may.

    Args:
        steps: The steps of the run, in order.
    """
    first = [step.operation for step in takewhile(lambda step: isinstance(step.operation, Concealing), steps)]
    masks = [operation for operation in first if isinstance(operation, Concealing)]
    if not any(isinstance(step.operation, Concealing) for step in steps):
        return None
    late = sum(isinstance(step.operation, Concealing) for step in steps) > len(masks)
    names = list(dict.fromkeys(name for mask in masks for name in mask.concealed))

    def conceal(raw: Any) -> Any:
        # Behind other steps nobody knows under which names the values came in.
        if late or not isinstance(raw, Mapping):
            return CONCEALED
        record = dict(raw)
        for mask in masks:
            record = mask.conceal(record)
        return {**record, MASKED: names}

    return conceal


def concealed_message(rule: str, field: str | None) -> str:
    """Say what was wrong without quoting the value."""
    where = f" of field {field!r}" if field else ""
    return f"rule {rule} was broken; the value{where} is concealed because the contract masks personal data"


def unquoted(error: ComponentError, steps: Sequence[StepLike]) -> ComponentError:
    """Return the error of a step without what it may quote of a record that is not masked yet; it is changed.

    Args:
        error: What ends the run, its step attached.
        steps: The steps of the run, in order.
    """
    if error.step in _plain_steps(steps):
        kind = type(error.__cause__ or error).__name__
        error.message = f"{kind}: what it said is concealed, because a later step masks personal data"
        error.help = "put mask before this step: what later steps say is told in full"
        error.__cause__ = error.__context__ = None  # they would be told as well
    return error


class Showing:
    """What may be shown of records on their way through the steps, and of what is said about them.

    Args:
        steps: The steps of the run, in order.
    """

    def __init__(self, steps: Sequence[StepLike]) -> None:
        self._conceal = record_concealment(steps)
        masking = [number for number, step in enumerate(steps) if isinstance(step.operation, Concealing)]
        names = [step.name for step in steps]
        self._plain = {"", *names[: masking[-1] + 1]} if masking else set()
        self._quoting = self._plain - {names[number] for number in masking}

    def record(self, step: str, record: Record) -> Record:
        """Return a record as it goes into a step (empty: the source record) without the plain values."""
        if self._conceal is None or step not in self._plain:
            return record
        made = self._conceal(record)
        if not isinstance(made, Mapping):
            return dict.fromkeys(record, CONCEALED)
        return {name: value for name, value in made.items() if name != MASKED}

    def message(self, step: str, message: str, rule: str, field: str | None) -> str:
        """Return what a step says about a record without quoting it."""
        return concealed_message(rule, field) if step in self._quoting else message
