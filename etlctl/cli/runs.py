"""``etlctl runs``: what ran and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson
from etlctl.cli.state import instant, minute, reading

if TYPE_CHECKING:
    from etlctl.run import RunResult, StepCounts
    from etlctl.state.records import RuleSummary
    from etlctl.state.run_record import RunRecord
    from etlctl.state.step_record import StepRecord

app = typer.Typer(help="What ran and how it went.", no_args_is_help=True)


class ShownStatus(StrEnum):
    """Statuses a run can be shown with."""

    running = "running"
    succeeded = "succeeded"
    partial = "partial"
    failed = "failed"
    canceled = "canceled"
    crashed = "crashed"


@app.command("list")
def list_runs(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many runs.")] = 20,
    contract: Annotated[str | None, typer.Option(help="Only runs of this contract.")] = None,
    status: Annotated[ShownStatus | None, typer.Option(help="Only runs with this status.")] = None,
    json: AsJson = False,
) -> None:
    """List runs, the newest first.

    Examples: etlctl runs list  ·  etlctl runs list --contract flights --status failed
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            found = ledger.runs(limit, contract, status.value if status else None)
        if json:
            output.json_data([run.to_dict() for run in found])
            return
        if not found:
            output.say("no runs match" if contract or status else "nothing ran yet; try: etlctl run CONTRACT")
            return
        _list(found)


def _list(found: Sequence[RunRecord]) -> None:
    """Write runs as a table; run keys and triggers get a column where there are any worth one."""
    numbers = ("seconds", "read", "loaded", "rejected")
    columns: dict[str, list[str | None]] = {
        "run": [run.run_id for run in found],
        "contract": [run.contract for run in found],
        "status": [_status(run) for run in found],
        "started (UTC)": [minute(run.started_at) for run in found],
        "seconds": [f"{run.duration_seconds:.1f}" if run.duration_seconds is not None else None for run in found],
        "read": [f"{run.counts.extracted:,}" for run in found],
        "loaded": [f"{run.counts.loaded:,}" for run in found],
        "rejected": [f"{run.counts.rejected:,}" for run in found],
    }
    if any(run.run_key for run in found):
        columns["key"] = [run.run_key for run in found]
    if any(run.trigger != "manual" for run in found):
        columns["trigger"] = [run.trigger for run in found]
    output.table(list(columns), list(zip(*columns.values(), strict=True)), right=numbers, whole=("run",))


@app.command("show")
def show_run(
    run: Annotated[
        str | None, typer.Argument(help="Id of the run, or the beginning of it; the latest if left out.")
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Show one run: its account, its steps with every try, where the records went, and how to carry on.

    Examples: etlctl runs show  ·  etlctl runs show run_01kahz
    """
    from etlctl.errors import NotInLedgerError  # noqa: PLC0415

    with output.errors_as_exit_codes(), reading() as ledger:
        if run is None:
            latest = ledger.runs(limit=1)
            if not latest:
                raise NotInLedgerError("nothing ran yet", help="try: etlctl run CONTRACT")
            record = latest[0]
        else:
            record = ledger.run(run)
        steps, tries = ledger.steps(record.run_id), ledger.attempts(record.run_id)
        rules = ledger.count_dead_letters(run_id=record.run_id, status=None)
        drift = ledger.drift_of_run(record.run_id)
    if json:
        found = [one.to_dict() for one in drift]
        output.json_data({**_document(record, steps, tries, rules), **_findings(record), "drift": found})
        return
    from etlctl.engine.report import balance, step_table  # noqa: PLC0415

    output.data("\n".join(_facts(record)))
    output.data(f"\n{balance(_as_result(record, steps))}")
    # While a run goes on, and when it crashed, only tries that failed are known of its steps.
    if steps and record.ended_at is not None:
        output.data("\n" + "\n".join(step_table(steps)))
    if any(one.attempt > 1 or one.error for one in tries):
        output.data("")
        _show_tries(tries)
    _show_findings(record, [str(one.drift) for one in drift])
    if rules:
        output.data("\n" + "\n".join(f"{one.count:>9,} × {one.rule}" for one in rules))
        output.say(f"see them with: etlctl dead-letters list --run {record.run_id}")
    resume = _resume_command(record)
    if resume:
        output.say(f"carry on with: {resume}")


@app.command("drift")
def list_drift(
    contract: Annotated[str | None, typer.Argument(help="Only what runs of this contract found.")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many differences.")] = 50,
    json: AsJson = False,
) -> None:
    """List where records and destinations had drifted apart, the newest first.

    Examples: etlctl runs drift  ·  etlctl runs drift flights --json
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            found = ledger.drift(contract, limit)
        if json:
            output.json_data([one.to_dict() for one in found])
            return
        if not found:
            output.say("no run found any drift")
            return
        columns = ("run", "contract", "found (UTC)", "destination", "field", "kind", "action", "detail")
        rows = [
            (one.run_id, one.contract, minute(one.found_at), one.drift.destination, one.drift.field, one.drift.kind,
             one.drift.action, one.drift.detail)
            for one in found
        ]  # fmt: skip
        output.table(columns, rows, whole=("run",))


def _findings(run: RunRecord) -> dict[str, Any]:
    """Return what a run found out about its data, as JSON values."""
    result = run.result
    return {
        "violations": [one.to_dict() for one in result.violations] if result else [],
        "checks": [one.to_dict() for one in result.checks] if result else [],
    }


def _show_findings(run: RunRecord, drift: Sequence[str]) -> None:
    """Write what a run found out about its data."""
    result = run.result
    parts = {
        "warned": [str(one) for one in result.violations] if result else [],
        "checks": [str(one) for one in result.checks] if result else [],
        "drift": drift,
    }
    for label, texts in parts.items():
        if texts:
            output.data(f"\n{label:<9} " + "\n          ".join(texts))


def _document(
    run: RunRecord, steps: list[StepCounts], tries: list[StepRecord], rules: Sequence[RuleSummary]
) -> dict[str, Any]:
    """Return all that is known of a run as JSON values."""
    from etlctl.engine.report import balance  # noqa: PLC0415

    result = _as_result(run, steps)
    missing = result.counts.missing - result.would_load
    return {
        **run.to_dict(),
        "resume_command": _resume_command(run),
        "balance": {"balanced": missing == 0, "missing": missing, "equation": balance(result)},
        "steps": [step.to_dict() for step in steps],
        "attempts": [{**one.to_dict(), "duration_seconds": _duration(one)} for one in tries],
        "dead_letters": [{"rule": one.rule, "stage": one.stage, "count": one.count} for one in rules],
    }


def _show_tries(tries: Sequence[StepRecord]) -> None:
    """Write every try of every step as a table."""
    rows = []
    for one in tries:
        seconds = _duration(one)
        took = f"{seconds:.2f}" if seconds is not None else None
        rows.append((one.counts.name, one.attempt, one.status, one.batch, instant(one.started_at), took, one.error))
    columns = ("step", "try", "status", "batch", "began (UTC)", "seconds", "error")
    output.table(columns, rows, right=("try", "batch", "seconds"))


def _duration(one: StepRecord) -> float | None:
    """Return the seconds from the beginning to the end of a try."""
    return (one.ended_at - one.started_at).total_seconds() if one.started_at and one.ended_at else None


def _status(run: RunRecord) -> str:
    return run.shown_status + (" (dry run)" if run.dry_run else "")


def _resume_command(run: RunRecord) -> str | None:
    """Return the command that carries on with a run that did not come to its end."""
    over = run.shown_status in {ShownStatus.failed, ShownStatus.canceled, ShownStatus.crashed}
    return f"etlctl resume --checkpoint {run.checkpoint_id}" if over and run.checkpoint_id else None


def _facts(run: RunRecord) -> list[str]:
    seconds = f"{run.duration_seconds:.2f} s" if run.duration_seconds is not None else None
    unfinished = run.checkpoint_id if not run.status.finished else None
    facts = {
        "run": run.run_id,
        "contract": f"{run.contract} {run.contract_version or ''}".strip(),
        "path": run.contract_path,
        "status": _status(run),
        "run key": run.run_key,
        "started": f"{instant(run.started_at)} UTC by {run.trigger} on {run.host}, process {run.pid}",
        "attempt": f"{run.attempt}" if run.attempt > 1 else None,
        "took": seconds,
        "mode": f"{run.mode}, batches of {run.batch_size:,}" if run.batch_size else run.mode,
        "batches": f"{run.batches:,}",
        "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
        "wrote": "\n          ".join(run.destinations),
        "error": f"{run.error_type}: {run.error}" if run.error_type else run.error,
        "exit code": str(run.exit_code) if run.exit_code is not None else None,
        "checkpoint": unfinished,
        "report": run.report,
    }
    if run.crashed:
        facts["note"] = "its process is gone and did not say how the run ended"
    return [f"{name:<9} {text}" for name, text in facts.items() if text]


def _as_result(run: RunRecord, steps: list[StepCounts]) -> RunResult:
    """Return the run as the result it had, for the account line; a dry run's own count is what is left over."""
    from etlctl.run import RunResult  # noqa: PLC0415

    return RunResult(
        run.run_id,
        run.contract,
        run.status,
        run.counts,
        tuple(steps),
        destinations=run.destinations,
        dry_run=run.dry_run,
        would_load=run.counts.missing if run.dry_run else 0,
    )
