"""``etlctl runs``: what ran and how it went."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson
from etlctl.cli.state import instant, minute, reading

if TYPE_CHECKING:
    from etlctl.run import RunResult, StepCounts
    from etlctl.state.run_record import RunRecord

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
        columns = ("run", "contract", "status", "started (UTC)", "seconds", "read", "loaded", "rejected")
        rows = [
            (
                run.run_id,
                run.contract,
                run.shown_status + (" (dry run)" if run.dry_run else ""),
                minute(run.started_at),
                f"{run.duration_seconds:.1f}" if run.duration_seconds is not None else None,
                f"{run.counts.extracted:,}",
                f"{run.counts.loaded:,}",
                f"{run.counts.rejected:,}",
            )
            for run in found
        ]
        output.table(columns, rows, right=columns[4:], whole=columns[:1])


@app.command("show")
def show_run(
    run: Annotated[
        str | None, typer.Argument(help="Id of the run, or the beginning of it; the latest if left out.")
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Show one run: its steps, its account, where the records went.

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
        steps = ledger.steps(record.run_id)
        rules = ledger.count_dead_letters(run_id=record.run_id, status=None)
        if json:
            counted = [{"rule": one.rule, "stage": one.stage, "count": one.count} for one in rules]
            shown = {**record.to_dict(), "steps": [step.to_dict() for step in steps], "dead_letters": counted}
            output.json_data(shown)
            return
        from etlctl.engine.report import balance, step_table  # noqa: PLC0415

        output.data("\n".join(_facts(record)))
        output.data(f"\n{balance(_as_result(record, steps))}")
        if steps:
            output.data("\n" + "\n".join(step_table(steps)))
        if rules:
            output.data("\n" + "\n".join(f"{one.count:>9,} × {one.rule}" for one in rules))
            output.say(f"see them with: etlctl dead-letters list --run {record.run_id}")


def _facts(run: RunRecord) -> list[str]:
    seconds = f"{run.duration_seconds:.2f} s" if run.duration_seconds is not None else None
    facts = {
        "run": run.run_id,
        "contract": f"{run.contract} {run.contract_version or ''}".strip(),
        "path": run.contract_path,
        "status": run.shown_status + (" (dry run)" if run.dry_run else ""),
        "started": f"{instant(run.started_at)} UTC by {run.trigger} on {run.host}, process {run.pid}",
        "took": seconds,
        "mode": f"{run.mode}, batches of {run.batch_size:,}" if run.batch_size else run.mode,
        "batches": f"{run.batches:,}",
        "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
        "wrote": "\n          ".join(run.destinations),
        "error": f"{run.error_type}: {run.error}" if run.error_type else run.error,
        "exit code": str(run.exit_code) if run.exit_code is not None else None,
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
