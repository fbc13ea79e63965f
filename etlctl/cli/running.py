"""What ``run`` and ``resume`` share: run under supervision, then tell how it ended."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from etlctl.catalog.workspace import find_workspace
from etlctl.cli import output
from etlctl.cli.progress import progress_display
from etlctl.cli.signals import run_until_signal
from etlctl.errors import NotInLedgerError
from etlctl.orchestrator import ETLOrchestrator
from etlctl.run import RunResult

OUTPUT_CLOSED = 141


def watched(contract: Path, options: Mapping[str, Any], *, checkpoint_dir: Path | None, quiet: bool) -> RunResult:
    """Run a contract with progress on stderr and signals that stop it cleanly.

    Args:
        contract: The contract.
        options: Keyword arguments of ``ETLOrchestrator.run``.
        checkpoint_dir: Folder of JSON checkpoints; None: in the ledger.
        quiet: No progress.
    """
    with progress_display(str(contract), quiet=quiet, terminal=sys.stderr.isatty()) as callback:
        orchestrator = ETLOrchestrator(
            contract, progress_callback=callback, warn=output.warn, checkpoint_dir=checkpoint_dir
        )
        return run_until_signal(lambda stop: orchestrator.run(**options, stop=stop))


def resumed(
    checkpoint: str, options: Mapping[str, Any], *, contract: Path | None, checkpoint_dir: Path | None, quiet: bool
) -> RunResult:
    """Resume a run; its contract is found through the checkpoint.

    Args:
        checkpoint: Id of a checkpoint or a run.
        options: More keyword arguments of ``ETLOrchestrator.run``.
        contract: Where the contract is now, if it was moved.
        checkpoint_dir: Folder of JSON checkpoints; None: in the ledger.
        quiet: No progress.
    """
    if contract is None:
        from etlctl.orchestrator.resuming import find_resumption  # noqa: PLC0415

        state_dir = find_workspace(Path.cwd()).state_dir
        found = find_resumption(checkpoint, state_url=None, state_dir=state_dir, checkpoint_dir=checkpoint_dir)
        if found.finished is not None:
            return found.finished
        contract = Path(found.contract_path)
        if not contract.exists():
            raise NotInLedgerError(
                f"the contract of {checkpoint} is not at {contract} any more",
                help=f"etlctl resume --checkpoint {checkpoint} --contract PATH, with the place where it is now",
            )
    else:
        options = {**options, "lost_ledger": True}
    options = {**options, "checkpoint_id": checkpoint, "resume": True}
    return watched(contract, options, checkpoint_dir=checkpoint_dir, quiet=quiet)


def tell(result: RunResult, *, json: bool, quiet: bool) -> None:
    """Tell how a run ended, and leave with its exit code.

    Raises:
        typer.Exit: Always.
    """
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
