"""The last word on a run before it publishes: steps judge what has passed, and a check that fails ends the run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from etlctl.engine.attribution import attributed
from etlctl.engine.options import RunSettings
from etlctl.errors import LimitError
from etlctl.quality import CheckResult, PastRun
from etlctl.run import ProcessingMode
from etlctl.sdk.context import ConclusionContext

if TYPE_CHECKING:
    from etlctl.engine.account import Account
    from etlctl.engine.apply import StepLike
    from etlctl.engine.services import Services


async def conclude(steps: Sequence[StepLike], account: Account, settings: RunSettings, services: Services) -> None:
    """Let every step judge the run, now that all records have passed; note the results and warn of what is wrong.

    A preview shows a few records only, so nothing is judged.

    Raises:
        LimitError: A check failed; nothing more is published.
    """
    if settings.sink is not None:
        return
    for violation in account.violations:
        services.warn(str(violation))
    concluding = [(number, step) for number, step in enumerate(steps) if step.operation.concludes]
    if not concluding:
        return
    for number, step in concluding:
        wanted = step.operation.looks_back()
        past: Sequence[PastRun] = await services.journal.history(wanted) if wanted else ()
        ctx = services.ctx.shared_with(
            ConclusionContext, step=step.name, records=account.steps[number].records_out, past=past
        )
        with attributed(step.name):
            account.checks += await asyncio.to_thread(step.operation.conclude, ctx)
    failed = [check for check in account.checks if not check.passed]
    for check in failed:
        if check.on_violation == "warn":
            services.warn(f"check {check.name}: {check.message}")
    deadly = [check for check in failed if check.on_violation == "fail"]
    if deadly:
        raise _failure(deadly, settings)


def _failure(failed: Sequence[CheckResult], settings: RunSettings) -> LimitError:
    said = "; ".join(f"{check.name}: {check.message}" for check in failed)
    checks = "a check" if len(failed) == 1 else f"{len(failed)} checks"
    if settings.dry_run:
        seen = "this was a dry run"
    elif settings.mode is ProcessingMode.full:
        seen = "nothing was published"
    else:
        seen = (
            f"in {settings.mode} mode batches that a database has committed can be seen already; "
            "processing_mode: full holds everything back until the checks have passed"
        )
    return LimitError(
        f"{checks} of the whole run failed: {said}",
        help=f"{seen}. When the data is right after all, change the limit in contract.yaml (or set on_violation: warn) "
        f"and {'run it' if settings.dry_run else 'resume the run'}",
    )
