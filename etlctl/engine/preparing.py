"""Lets the steps of a run get ready before the first record, and let go of what they hold after the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from etlctl.engine.attribution import attributed
from etlctl.engine.retrying import Retrying
from etlctl.sdk.context import StepContext

if TYPE_CHECKING:
    from etlctl.engine.apply import StepLike


async def prepare_steps(
    steps: Sequence[StepLike], contexts: Sequence[StepContext], retrying: Retrying | None = None
) -> None:
    """Prepare the steps, one after the other.

    Args:
        steps: The steps of the run.
        contexts: One context per step.
        retrying: Tries again; None: the first failure is final.

    Raises:
        ComponentError: A step cannot work; its name is attached.
    """
    for step, ctx in zip(steps, contexts, strict=True):
        prepare = partial(_prepare, step, ctx)
        if retrying is None:
            await prepare()
        else:
            await retrying.call(prepare, step=step.name)


async def _prepare(step: StepLike, ctx: StepContext) -> None:
    with attributed(step.name):
        await step.operation.prepare(ctx)


def close_steps(steps: Sequence[StepLike], warn: Callable[[str], None]) -> None:
    """Close the steps; one that fails to does not matter to the run any more.

    Args:
        steps: The steps of the run.
        warn: Says that one failed.
    """
    for step in steps:
        try:
            step.operation.close()
        except Exception as error:  # noqa: BLE001 - see above
            warn(f"{step.name} was not closed cleanly: {type(error).__name__}: {error}")
