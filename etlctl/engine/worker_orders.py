"""What a worker process is told, and what it answers: values only, never live objects.

A worker compiles the contract itself, from the same files with the same parameters, and makes sure that they still are
the same. Errors travel as their kind and their text.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from etlctl import errors
from etlctl.batch import Record
from etlctl.engine.options import ContractReference
from etlctl.errors import EtlctlError, FatalError, UnexpectedError
from etlctl.frozen import frozen
from etlctl.kit.raised import kinds_of, revived, text_of
from etlctl.sdk.context import Context


@frozen
class WorkOrder:
    """The first message to a worker.

    Attributes:
        contract: Whose steps it will run.
        steps: The names of all of them.
        shared: What components of the run share, as keyword arguments of a ``StepContext``.
    """

    contract: ContractReference
    steps: tuple[str, ...]
    shared: Mapping[str, Any]


@frozen
class SliceOrder:
    """Records to run through steps.

    Attributes:
        steps: Numbers of the steps.
        records: The records.
        indexes: For each the ordinal of its source record.
    """

    steps: range
    records: Sequence[Record]
    indexes: Sequence[int]


@frozen
class Failure:
    """An error on its way to another process.

    Attributes:
        kind: Name of the error's class in ``etlctl.errors``.
        values: Its attributes.
        cause: What ``kinds_of`` says of its cause, and the cause's text.
        trace: Where it came from, for ``--debug``.
    """

    kind: str
    values: Mapping[str, Any]
    cause: tuple[tuple[str, ...], str] | None
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Take an error apart."""
        if not isinstance(error, EtlctlError):
            error = _unexpected(error)
        kind = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        cause = error.__cause__
        about = (kinds_of(cause), text_of(cause)) if cause is not None else None
        return cls(kind.__name__, dict(error.__dict__), about, "".join(traceback.format_exception(error)))

    def error(self) -> EtlctlError:
        """Put the error together again."""
        kind = getattr(errors, self.kind, FatalError)
        error: EtlctlError = kind.__new__(kind)
        error.args = (self.values.get("message", ""),)
        error.__dict__.update(self.values)
        error.__cause__ = revived(*self.cause) if self.cause is not None else None
        error.add_note(f"in a worker process:\n{self.trace}")
        return error


def _unexpected(error: BaseException) -> UnexpectedError:
    made = UnexpectedError(f"{type(error).__name__}: {text_of(error)}")
    made.__cause__ = error
    return made


def shared_values(ctx: Context) -> dict[str, Any]:
    """Return what components share, without what belongs to this process."""
    return {each.name: getattr(ctx, each.name) for each in fields(Context) if each.name != "warn"}
