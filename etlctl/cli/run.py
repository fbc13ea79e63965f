"""``etlctl run``: run a contract, with live progress on a terminal and plain lines otherwise."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from etlctl.cli import output
from etlctl.cli.arguments import (
    AcceptChanges,
    AsJson,
    CheckpointDir,
    ContractPath,
    Params,
    Quiet,
    Record,
    Replay,
    cassette,
    parse_params,
)

_SAMPLE = 1000
"""Source records that --watch reads each time."""


class Mode(StrEnum):
    """Processing modes one can ask for."""

    full = "full"
    streaming = "streaming"
    hybrid = "hybrid"


class Trigger(StrEnum):
    """What can start a run."""

    manual = "manual"
    schedule = "schedule"
    api = "api"
    webhook = "webhook"


RunDate = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The date the run is for (${run_date}); also its run key."),
]
RunKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Idempotency key: a run that finished with it is not repeated.")
]
CheckpointName = Annotated[
    str | None, typer.Option(metavar="ID", help="Name of the checkpoint; the run's id if left out.")
]
RunMode = Annotated[Mode | None, typer.Option(help="How far the stages overlap; the contract's choice if left out.")]
BatchSize = Annotated[int | None, typer.Option(min=1, max=1 << 40, help="Source records per batch.")]
MaxRecords = Annotated[int | None, typer.Option(min=0, help="Stop after so many source records.")]
MaxRetries = Annotated[int | None, typer.Option(min=0, help="How often a failed batch is tried again.")]
ErrorThreshold = Annotated[float | None, typer.Option(min=0, max=1, help="Share of batches that may fail for good.")]
WorkerCount = Annotated[
    int | None, typer.Option("--workers", min=1, max=256, help="Processes that run the steps, record by record.")
]
TriggeredBy = Annotated[
    Trigger, typer.Option("--trigger", "--trigger-source", help="What starts the run, for the ledger.")
]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew although an unfinished run left records behind.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and transform, write nothing.")]
ParamFile = Annotated[
    Path | None,
    typer.Option(help="Run once for each parameter set of this file: YAML, JSON, JSON lines or CSV; -p is for all."),
]
Concurrency = Annotated[int, typer.Option(min=1, help="How many sets of --param-file run at once.")]
Delay = Annotated[float, typer.Option(min=0, help="Seconds between the runs of --param-file.")]
Prove = Annotated[
    bool, typer.Option("--prove", help="Run and kill it in a scratch copy instead: see etlctl prove --help.")
]

Watch = Annotated[
    bool,
    typer.Option("--watch", help="Preview on every save of the contract's files instead, until Ctrl-C; never loads."),
]


def run(
    contract: ContractPath,
    *,
    param: Params = None,
    run_date: RunDate = None,
    run_key: RunKey = None,
    checkpoint: CheckpointName = None,
    checkpoint_dir: CheckpointDir = None,
    mode: RunMode = None,
    batch_size: BatchSize = None,
    max_records: MaxRecords = None,
    max_retries: MaxRetries = None,
    error_threshold: ErrorThreshold = None,
    workers: WorkerCount = None,
    trigger: TriggeredBy = Trigger.manual,
    restart: Restart = False,
    accept_changes: AcceptChanges = False,
    dry_run: DryRun = False,
    param_file: ParamFile = None,
    concurrency: Concurrency = 5,
    delay: Delay = 0.0,
    prove: Prove = False,
    watch: Watch = False,
    record: Record = None,
    replay: Replay = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a contract, once or for each parameter set of a file.

    With --param-file, --run-key KEY becomes KEY-HASH with a short hash of each set's parameters (--checkpoint too).
    Exit code: 0 all runs good, 4 some failed or rejected records, 1 all failed.

    Examples: etlctl run contracts/flights  ·  etlctl run contracts/orders -p day=2026-01-31 --run-key 2026-01-31  ·
    etlctl run contracts/prices --param-file symbols.yaml --concurrency 10
    """
    with output.errors_as_exit_codes():
        flags = {"restart": restart, "accept_changes": accept_changes, "dry_run": dry_run, **cassette(record, replay)}
        options: dict[str, Any] = {
            "params": parse_params(param),
            "run_date": run_date.date() if run_date else None,
            "run_key": run_key,
            "checkpoint_id": checkpoint,
            "mode": mode.value if mode else None,
            "batch_size": batch_size,
            "max_records": max_records,
            "max_retries": max_retries,
            "error_threshold": error_threshold,
            "workers": workers,
            "trigger": trigger.value,
            **flags,
        }
        if prove or watch:
            (_prove if prove else _watch)(contract, options, json=json)
            return
        shown = {"checkpoint_dir": checkpoint_dir, "json": json, "quiet": quiet}
        _load(contract, options, param_file, (concurrency, delay), **shown)


def _load(
    contract: Path, options: dict[str, Any], param_file: Path | None, pace: tuple[int, float], **shown: Any
) -> None:
    """Run for real, once or for each set of a file."""
    from etlctl.cli.running import tell, watched  # noqa: PLC0415

    if param_file is not None:
        from etlctl.cli.multiple import Pace, run_file  # noqa: PLC0415

        run_file(contract, param_file, options, Pace(*pace), **shown)
    result = watched(contract, options, checkpoint_dir=shown["checkpoint_dir"], quiet=shown["quiet"])
    tell(result, json=shown["json"], quiet=shown["quiet"])


def _watch(contract: Path, options: dict[str, Any], *, json: bool) -> NoReturn:
    """Preview on every save; what says how a real run is kept or repeated says nothing to a preview."""
    taken = {name: options.pop(name) for name in ("params", "run_date", "max_records")}
    _refuse_others(
        "--watch previews: it", "-p, --run-date and --max-records", options | ({"json": True} if json else {})
    )
    from etlctl.cli.watch import watch  # noqa: PLC0415

    date = str(taken["run_date"]) if taken["run_date"] is not None else None
    watch(contract, taken["params"], date, taken["max_records"] or _SAMPLE)


def _refuse_others(what: str, known: str, options: dict[str, Any]) -> None:
    others = [name for name, value in options.items() if value not in {None, False, "manual"}]
    if others:
        flags = ", ".join("--" + name.removesuffix("_id").replace("_", "-") for name in others)
        raise typer.BadParameter(f"{what} takes {known}, but not {flags}")


def _prove(contract: Path, options: dict[str, Any], *, json: bool) -> None:
    """Prove the contract; what says how a real run is kept or repeated says nothing to a proof."""
    taken = {name: options.pop(name) for name in ("params", "run_date", "mode", "max_records")}
    _refuse_others("a proof", "-p, --run-date, --mode and --max-records", options)
    from etlctl.cli.prove import RECORDS, run_proof  # noqa: PLC0415

    date = {"run_date": str(taken["run_date"])} if taken["run_date"] is not None else {}
    limit = taken["max_records"] if taken["max_records"] is not None else RECORDS
    given = {"params": {**taken["params"], **date}, "mode": taken["mode"], "max_records": limit}
    run_proof(contract, given, json=json)


def resume(
    checkpoint: Annotated[str, typer.Option("--checkpoint", metavar="ID", help="A checkpoint, or a run's id.")],
    *,
    checkpoint_dir: CheckpointDir = None,
    param: Params = None,
    accept_changes: AcceptChanges = False,
    contract: Annotated[
        Path | None,
        typer.Option("--contract", help="Where the contract is, if it was moved or the ledger lost."),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Carry on with a run that did not come to its end: nothing lost, nothing doubled.

    The contract and the parameters are found through the checkpoint; -p is only for values that were kept secret.

    Examples: etlctl resume --checkpoint run_0198f2  ·  etlctl resume --checkpoint nightly --accept-changes
    """
    with output.errors_as_exit_codes():
        from etlctl.cli.running import resumed, tell  # noqa: PLC0415

        options = {"params": parse_params(param), "accept_changes": accept_changes}
        result = resumed(checkpoint, options, contract=contract, checkpoint_dir=checkpoint_dir, quiet=quiet)
        tell(result, json=json, quiet=quiet)
