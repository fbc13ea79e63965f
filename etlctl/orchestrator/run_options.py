"""How one run of a contract was asked for, and what the engine is told of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.engine.options import ContractReference, Recovery, RunSettings
from etlctl.errors import ContractError
from etlctl.frozen import frozen
from etlctl.ids import new_id
from etlctl.run import ProcessingMode

if TYPE_CHECKING:
    from datetime import date

    from etlctl.contract.model import Contract
    from etlctl.orchestrator.incremental import ReadRange
    from etlctl.orchestrator.resuming import Resumption

_QUEUE_DEPTH = {ProcessingMode.full: 2, ProcessingMode.streaming: 2, ProcessingMode.hybrid: 8}
"""Chunks that may wait between reading and transforming: hybrid reads further ahead."""


@frozen(kw_only=True)
class RunOptions:
    """How a run was asked for; ``ETLOrchestrator.run`` tells what they mean."""

    params: Mapping[str, Any] | None = None
    mode: ProcessingMode | str | None = None
    batch_size: int | None = None
    max_records: int | None = None
    dry_run: bool = False
    run_date: date | str | None = None
    run_key: str | None = None
    checkpoint_id: str | None = None
    resume: bool = False
    lost_ledger: bool = False
    restart: bool = False
    accept_changes: bool = False
    max_retries: int | None = None
    error_threshold: float | None = None
    workers: int | None = None
    trigger: str = "manual"
    read: ReadRange | None = None
    record: Path | str | None = None
    replay: Path | str | None = None

    @property
    def given_params(self) -> dict[str, Any]:
        """Parameters of this run, its date among them."""
        dated = {} if self.run_date is None else {"run_date": str(self.run_date)}
        return {**(self.params or {}), **dated}

    @property
    def overrides(self) -> dict[str, Any]:
        """Keys of ``extract.yaml`` that were set from outside."""
        recovery = {"max_retries": self.max_retries, "error_threshold": self.error_threshold}
        given = {
            "processing_mode": ProcessingMode(self.mode) if self.mode is not None else None,
            "batch_size": self.batch_size,
            "max_records": self.max_records,
            "error_recovery": {key: value for key, value in recovery.items() if value is not None} or None,
        }
        return {key: value for key, value in given.items() if value is not None}

    def resumed(self, found: Resumption) -> RunOptions:
        """Return the options of the next attempt of a run: its own, with what was given now in front."""
        known = found.overrides
        return replace(
            self,
            lost_ledger=not found.known,
            params={**found.params, **(self.params or {})},
            mode=self.mode or known.get("processing_mode"),
            batch_size=self.batch_size or known.get("batch_size"),
            max_records=self.max_records if self.max_records is not None else known.get("max_records"),
        )

    def key(self, contract: Contract) -> str | None:
        """Return the run key: the one given, else the date of a run for a date."""
        return self.key_with(contract.params)

    def key_with(self, params: Mapping[str, Any]) -> str | None:
        """Return the run key of a contract with these parameters."""
        if self.run_key is not None or self.run_date is None or self.dry_run or self.resume:
            return self.run_key
        return default_run_key(params)

    def settings(
        self, contract: Contract, run_id: str | None, max_memory_mb: int | None, environ: Mapping[str, str] | None
    ) -> RunSettings:
        """Return what the engine is told.

        Args:
            contract: What runs, overrides applied.
            run_id: The run to resume; None for a new one.
            max_memory_mb: Stronger than the contract's.
            environ: Environment variables; None is the process's own.
        """
        envelope = contract.envelope
        resumable = envelope.checkpoint.enabled and not self.dry_run
        own = run_id or new_id("run")
        return RunSettings(
            workers=self._workers(contract),
            reference=ContractReference(
                path=contract.path.absolute(),
                params=contract.params,
                hashes=contract.part_hashes,
                increment=contract.increment,
            ),
            run_id=own,
            mode=envelope.processing_mode,
            batch_size=envelope.batch_size,
            queue_depth=_QUEUE_DEPTH[envelope.processing_mode],
            max_records=envelope.max_records,
            max_memory_mb=max_memory_mb if max_memory_mb is not None else envelope.max_memory_mb,
            budget=contract.load_envelope.budget,
            recovery=Recovery(**dict(envelope.error_recovery)),
            dry_run=self.dry_run,
            claim_first=run_id is not None or self.key(contract) is not None,
            restart=self.restart,
            accept_changes=self.accept_changes,
            refuse_edited=run_id is not None,
            unknown_run=self.lost_ledger,
            checkpoint_id=(self.checkpoint_id or own) if resumable else None,
            commit_interval=envelope.checkpoint.interval,
            environ=environ,
            increment=contract.increment,
            cassette=self._cassette,
            cassette_mode="record" if self.record is not None else "replay" if self.replay is not None else None,
        )

    @property
    def _cassette(self) -> Path | None:
        """Return the file of recorded HTTP answers.

        Raises:
            ContractError: There cannot be two.
        """
        if self.record is not None and self.replay is not None:
            raise ContractError("--record and --replay exclude each other: take one of them")
        given = self.record if self.record is not None else self.replay
        return Path(given).absolute() if given is not None else None

    def _workers(self, contract: Contract) -> int:
        """Return how many processes run the steps; what is only tried out needs none unless asked for.

        Raises:
            ContractError: So many cannot be.
        """
        if self.workers is not None and self.workers < 1:
            raise ContractError(f"workers must be at least 1, not {self.workers}", help="1 is the run's own process")
        if self.workers is not None:
            return self.workers
        return 1 if self.dry_run else contract.transform_envelope.workers


def default_run_key(params: Mapping[str, Any]) -> str:
    """Return the run key of a run for a date: the date, and a hash of the other parameters if there are any."""
    others = {name: value for name, value in params.items() if name != "run_date"}
    if not others:
        return str(params["run_date"])
    text = json.dumps(others, sort_keys=True, default=str)
    return f"{params['run_date']}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
