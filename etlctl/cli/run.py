"""``etlctl run``: run a contract, with live progress on a terminal and plain lines otherwise."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, ContractPath, Params, parse_params

if TYPE_CHECKING:
    from etlctl.run import RunResult


OUTPUT_CLOSED = 141


class Mode(StrEnum):
    """Processing modes one can ask for."""

    full = "full"
    streaming = "streaming"


def run(
    contract: ContractPath,
    *,
    param: Params = None,
    mode: Annotated[
        Mode | None, typer.Option(help="How far the stages overlap; the contract's choice if left out.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Source records per batch.")] = None,
    max_records: Annotated[int | None, typer.Option(min=0, help="Stop after so many source records.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and transform, write nothing.")] = False,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary, only errors.")] = False,
) -> None:
    """Run a contract.

    Examples: etlctl run contracts/flights  ·  etlctl run contracts/orders -p day=2026-01-31 --dry-run
    """
    with output.errors_as_exit_codes():
        result = _run(contract, parse_params(param), mode, batch_size, max_records, dry_run=dry_run, quiet=quiet)
        if result.exit_code == OUTPUT_CLOSED:  # ``etlctl run … | head``: nobody is left to tell
            raise typer.Exit(OUTPUT_CLOSED)
        if json:
            output.json_data(result.to_dict())
        if not quiet:
            from etlctl.engine.report import summary  # noqa: PLC0415

            output.say(summary(result))
        if not result.success:
            output.fail(result)
        raise typer.Exit(result.exit_code)


def _run(
    contract: ContractPath,
    params: dict[str, object],
    mode: Mode | None,
    batch_size: int | None,
    max_records: int | None,
    *,
    dry_run: bool,
    quiet: bool,
) -> RunResult:
    from etlctl.cli.progress import progress_display  # noqa: PLC0415
    from etlctl.cli.signals import run_until_signal  # noqa: PLC0415
    from etlctl.orchestrator import ETLOrchestrator  # noqa: PLC0415

    with progress_display(str(contract), quiet=quiet, terminal=sys.stderr.isatty()) as callback:
        orchestrator = ETLOrchestrator(contract, params=params, progress_callback=callback, warn=output.warn)
        work = orchestrator.run(
            mode=mode.value if mode else None, batch_size=batch_size, max_records=max_records, dry_run=dry_run
        )
        return run_until_signal(work)
