"""Finds what a run shall be resumed from: a checkpoint, or the result of a run that had finished after all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.cursor import Increment
from etlctl.errors import CheckpointError, NotInLedgerError, StateError
from etlctl.frozen import frozen
from etlctl.orchestrator.incremental import begun_with
from etlctl.orchestrator.replay_text import REPLAY
from etlctl.redact import MASK
from etlctl.run import RunResult

if TYPE_CHECKING:
    from etlctl.state.checkpoint_store import CheckpointStore


@frozen(kw_only=True)
class Resumption:
    """What is known of the run to resume.

    Attributes:
        run_id: The run.
        stream: Its contract and parameter set.
        contract_path: Its contract.
        params: Its parameters.
        params_redacted: Some of them are secrets and were not kept.
        overrides: How it was run: mode, batch size, source records at most.
        started_at: When it began first, UTC.
        finished: It had finished: its result.
        known: The ledger or a checkpoint knows the run.
        increment: What it began with, if it is incremental and its checkpoint is there.
    """

    run_id: str
    stream: str
    contract_path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    params_redacted: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime
    finished: RunResult | None = None
    known: bool = True
    increment: Increment | None = None

    def __post_init__(self) -> None:
        if self.finished is None and REPLAY in self.params:
            raise CheckpointError(
                f"run {self.run_id} is a replay of dead letters, which only another replay can finish",
                help="carry on with: etlctl dead-letters replay … as before",
            )


def lost_run(run_id: str) -> Resumption:
    """Return a run that only its destination knows any more, because the ledger was lost."""
    return Resumption(run_id=run_id, stream="", contract_path="", started_at=datetime.now(UTC), known=False)


def find_resumption(
    checkpoint_id: str, *, state_url: str | None, state_dir: Path, checkpoint_dir: Path | None
) -> Resumption:
    """Return what a checkpoint id stands for. Blocks.

    Args:
        checkpoint_id: Id of a checkpoint, or of a run.
        state_url: Where the ledger is, when it is not in ``state_dir``.
        state_dir: Folder of the ledger.
        checkpoint_dir: Folder of JSON checkpoints; None: they are in the ledger.

    Raises:
        NotInLedgerError: Nobody knows it.
        CheckpointError: It is damaged, and the ledger does not know the run either.
    """
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    with open_ledger(state_url, state_dir, create=False) as ledger:
        try:
            if checkpoint_dir is None:
                checkpoint = ledger.checkpoint(checkpoint_id)
            else:
                from etlctl.state.checkpoint_files import CheckpointFiles  # noqa: PLC0415

                checkpoint = CheckpointFiles(checkpoint_dir).checkpoint(checkpoint_id)
        except (NotInLedgerError, CheckpointError):
            record = ledger.run_of_checkpoint(checkpoint_id)
            if record is None:
                raise
            finished = None
            if record.result is not None and record.status.finished:
                finished = replace(record.result, reused=True, exit_code=0)
            elif record.checkpoint_id is None:
                raise
            return Resumption(
                run_id=record.run_id,
                stream=record.stream,
                contract_path=record.contract_path,
                params=record.params,
                overrides={"processing_mode": record.mode, "batch_size": record.batch_size},
                started_at=record.started_at,
                finished=finished,
            )
    return Resumption(
        run_id=checkpoint.run_id,
        stream=checkpoint.stream,
        params_redacted=checkpoint.params_redacted,
        contract_path=checkpoint.contract_path,
        params=checkpoint.params,
        overrides={
            "processing_mode": checkpoint.mode,
            "batch_size": checkpoint.batch_size,
            "max_records": checkpoint.max_records,
        },
        started_at=checkpoint.started_at,
        increment=begun_with(checkpoint.account),
    )


def free_checkpoint(
    checkpoint_id: str, *, restart: bool, state_url: str | None, state_dir: Path, checkpoint_dir: Path | None
) -> None:
    """Make sure that no unfinished run is to be resumed by a checkpoint id that a new run shall get. Blocks.

    Args:
        checkpoint_id: The id.
        restart: Delete one that is there.
        state_url: Where the ledger is, when it is not in ``state_dir``.
        state_dir: Folder of the ledger.
        checkpoint_dir: Folder of JSON checkpoints; None: they are in the ledger.

    Raises:
        CheckpointError: It is taken.
    """
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    with open_ledger(state_url, state_dir, create=False) as ledger:
        store: CheckpointStore = ledger
        if checkpoint_dir is not None:
            from etlctl.state.checkpoint_files import CheckpointFiles  # noqa: PLC0415

            store = CheckpointFiles(checkpoint_dir)
        if restart:
            store.delete_checkpoint(checkpoint_id)
            return
        try:
            taken = store.checkpoint(checkpoint_id)
        except NotInLedgerError:
            return
    raise CheckpointError(
        f"checkpoint {checkpoint_id} is of run {taken.run_id} of {taken.contract}, which stopped after batch "
        f"{taken.seq:,} and can be resumed",
        help=f"carry on: etlctl resume --checkpoint {checkpoint_id}; or give up on it: "
        f"etlctl checkpoints delete {checkpoint_id}",
    )


def resumption_of(
    checkpoint_id: str,
    *,
    given: Mapping[str, Any],
    state_url: str | None,
    state_dir: Path,
    checkpoint_dir: Path | None,
) -> Resumption:
    """Return what a checkpoint id stands for, when everything to resume it is known. Blocks.

    Args:
        checkpoint_id: Id of a checkpoint, or of a run.
        given: Parameters that are given now.
        state_url: Where the ledger is, when it is not in ``state_dir``.
        state_dir: Folder of the ledger.
        checkpoint_dir: Folder of JSON checkpoints; None: they are in the ledger.

    Raises:
        NotInLedgerError: Nobody knows it.
        CheckpointError: It is damaged, and the ledger does not know the run either.
        StateError: A parameter is a secret and was not kept.
    """
    found = find_resumption(checkpoint_id, state_url=state_url, state_dir=state_dir, checkpoint_dir=checkpoint_dir)
    secret = sorted(name for name, value in found.params.items() if MASK in str(value) and name not in given)
    if found.params_redacted and secret:
        again = " ".join(f"-p {name}=…" for name in secret)
        raise StateError(
            f"run {found.run_id} took secrets as parameters ({', '.join(secret)}), and secrets are not kept",
            help=f"give them again: etlctl resume --checkpoint {checkpoint_id} {again}",
        )
    return found
