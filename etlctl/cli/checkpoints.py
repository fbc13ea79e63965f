"""``etlctl checkpoints``: where unfinished runs stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, CheckpointDir
from etlctl.cli.state import instant, minute, reading

if TYPE_CHECKING:
    from pathlib import Path

    from etlctl.checkpoint import Checkpoint
    from etlctl.state.checkpoint_store import CheckpointStore

app = typer.Typer(help="Where unfinished runs stand, and what to resume them by.", no_args_is_help=True)

CheckpointId = Annotated[str, typer.Argument(metavar="ID", help="Id of the checkpoint.", show_default=False)]


@app.command("list")
def list_checkpoints(
    *,
    contract: Annotated[str | None, typer.Option(help="Only those of this contract.")] = None,
    checkpoint_dir: CheckpointDir = None,
    json: AsJson = False,
) -> None:
    """List the checkpoints of runs that did not come to their end, the newest first.

    Examples: etlctl checkpoints list  ·  etlctl checkpoints list --contract orders
    """
    with output.errors_as_exit_codes():
        with _store(checkpoint_dir) as store:
            entries = store.checkpoints(contract)
        found = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
        damaged = {entry.id: entry.problem for entry in entries if entry.problem is not None}
        if json:
            problems = [{"id": one, "problem": str(why)} for one, why in damaged.items()]
            output.json_data({"checkpoints": [one.to_dict() for one in found], "damaged": problems})
            return
        if found:
            columns = ("checkpoint", "contract", "moved (UTC)", "batch", "records", "stopped by")
            rows = [
                (one.id, one.contract, minute(one.updated_at), f"{one.seq:,}", f"{one.records:,}", one.error)
                for one in found
            ]
            output.table(columns, rows, right=columns[3:5], whole=columns[:1])
            output.say("carry on with: etlctl resume --checkpoint ID")
        else:
            output.say("no checkpoints: every run came to its end")
        for why in damaged.values():
            output.warn(f"{why}; {why.help}")


@app.command("show")
def show_checkpoint(checkpoint: CheckpointId, *, checkpoint_dir: CheckpointDir = None, json: AsJson = False) -> None:
    """Show one checkpoint: how far its run came, and what is read next.

    Example: etlctl checkpoints show nightly
    """
    with output.errors_as_exit_codes():
        with _store(checkpoint_dir) as store:
            found = store.checkpoint(checkpoint)
        if json:
            output.json_data(found.to_dict())
            return
        output.data("\n".join(_facts(found)))
        output.say(f"carry on with: etlctl resume --checkpoint {found.id}")


@app.command("delete")
def delete_checkpoint(checkpoint: CheckpointId, *, checkpoint_dir: CheckpointDir = None) -> None:
    """Delete a checkpoint: its run can no longer be resumed. What it loaded stays where it is.

    Example: etlctl checkpoints delete nightly
    """
    from etlctl.errors import NotInLedgerError  # noqa: PLC0415

    with output.errors_as_exit_codes():
        with _store(checkpoint_dir) as store:
            gone = store.delete_checkpoint(checkpoint)
        if not gone:
            raise NotInLedgerError(f"there is no checkpoint {checkpoint!r}", help="see: etlctl checkpoints list")
        output.say(f"deleted checkpoint {checkpoint}")


@contextmanager
def _store(folder: Path | None) -> Iterator[CheckpointStore]:
    if folder is not None:
        from etlctl.state.checkpoint_files import CheckpointFiles  # noqa: PLC0415

        yield CheckpointFiles(folder)
        return
    with reading() as ledger:
        yield ledger


def _facts(found: Checkpoint) -> list[str]:
    import json  # noqa: PLC0415

    facts = {
        "checkpoint": found.id,
        "run": found.run_id,
        "contract": found.contract,
        "path": found.contract_path,
        "params": ", ".join(f"{name}={value}" for name, value in found.params.items()),
        "began": f"{instant(found.started_at)} UTC",
        "moved": f"{instant(found.updated_at)} UTC" if found.updated_at else None,
        "batch": f"{found.seq:,} done, of {found.batch_size:,} records" if found.batch_size else f"{found.seq:,} done",
        "records": f"{found.records:,} read",
        "reads next": json.dumps(found.position, default=str) if found.position else "the beginning",
        "lease": str(found.fence),
        "error": found.error,
    }
    return [f"{name:<10} {text}" for name, text in facts.items() if text]
