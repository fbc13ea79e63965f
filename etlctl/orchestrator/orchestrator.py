"""The Python face of a contract: load it once, run it with a ledger, get a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.engine.options import RunSettings
from etlctl.engine.runner import Surroundings, execute
from etlctl.ids import new_id
from etlctl.orchestrator.keeper import RunKeeper
from etlctl.run import Counts, DeadLetter, ETLProgress, ProcessingMode, RunResult

if TYPE_CHECKING:
    from datetime import datetime

    from etlctl.batch import Batch, Record
    from etlctl.catalog.workspace import Workspace
    from etlctl.contract.model import Contract

ProgressCallback = Callable[[ETLProgress], object]


class ETLOrchestrator:
    """Runs a contract.

    Args:
        contract_dir: A contract: its folder, or a ``pipeline.yaml``.
        progress_callback: Gets an ``ETLProgress`` after each stage of each batch; what it raises never hurts the run.
        verbose: Print progress and warnings to stderr as plain lines.
        params: Parameters of the contract (``input_params``).
        max_memory_mb: Memory budget of the process in MiB; stronger than the contract's.
        state_url: Where the ledger is; None: ``ETLCTL_STATE_URL``, else ``.etlctl/state.db`` of the workspace.
        environ: Environment variables for ``${env:…}``; None is the process's own.

    Raises:
        ContractError: On the first run: the contract does not hold; carries every diagnostic.
    """

    def __init__(
        self,
        contract_dir: str | Path,
        *,
        progress_callback: ProgressCallback | None = None,
        verbose: bool = False,
        params: Mapping[str, Any] | None = None,
        max_memory_mb: int | None = None,
        state_url: str | None = None,
        environ: Mapping[str, str] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.contract_dir = Path(contract_dir)
        self._callback = progress_callback
        self._verbose = verbose
        self._params = dict(params or {})
        self._max_memory_mb = max_memory_mb
        self._state_url = state_url
        self._environ = environ
        self._warn = warn or _warn_on_stderr

    async def run(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        mode: ProcessingMode | str | None = None,
        batch_size: int | None = None,
        max_records: int | None = None,
        dry_run: bool = False,
        trigger: str = "manual",
    ) -> RunResult:
        """Run the contract to the end.

        Args:
            params: Parameters of this run, over those of the orchestrator.
            mode: ``full`` or ``streaming``; None: what the contract says.
            batch_size: Source records per batch; None: what the contract says.
            max_records: Stop after so many source records.
            dry_run: Read and transform, write nothing.
            trigger: What started the run, for the ledger.

        Returns:
            How the run ended; a failed run is a result with ``success`` False and ``error`` set, not an exception.

        Raises:
            ContractError: The contract does not hold.
            StateError: The ledger could not record how the run ended.
        """
        contract, workspace = self._load(params, _overrides(mode, batch_size, max_records))
        settings = self._settings(contract, dry_run=dry_run)
        keeper = RunKeeper(contract, settings, workspace.state_dir, self._state_url, trigger)
        around = Surroundings(
            open_ledger=keeper.open,
            progress=self._progress(),
            warn=lambda message: self._warn(keeper.redactor.text(message)),
        )
        result = await execute(contract, settings, around)
        return await asyncio.to_thread(keeper.close, result)

    async def run_streaming(self, batch_size: int | None = None, **options: Any) -> RunResult:
        """Run batch by batch in constant memory, whatever mode the contract says.

        Args:
            batch_size: Source records per batch.
            options: As for ``run``.
        """
        return await self.run(mode=ProcessingMode.streaming, batch_size=batch_size, **options)

    async def preview(self, *, sample: int = 1000) -> tuple[list[Record], list[DeadLetter], RunResult]:
        """Read and transform the first source records without writing anything, the ledger included.

        Args:
            sample: Source records to read.

        Returns:
            The records that would be loaded, those that would be rejected, and the account.
        """
        contract, _ = self._load(None, {"max_records": sample})
        records: list[Record] = []
        rejected: list[DeadLetter] = []

        def take(batch: Batch) -> None:
            records.extend(batch.to_rows())

        settings = replace(self._settings(contract, dry_run=True), sink=take)
        around = Surroundings(open_ledger=lambda: _Listener(rejected), warn=self._warn)
        result = await execute(contract, settings, around)
        return records, rejected, result

    def _load(self, params: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> tuple[Contract, Workspace]:
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.contract.compile import load_contract  # noqa: PLC0415

        together = {**self._params, **(params or {})}
        contract = load_contract(self.contract_dir, params=together, environ=self._environ, overrides=dict(overrides))
        return contract, find_workspace(contract.base_dir)

    def _settings(self, contract: Contract, *, dry_run: bool) -> RunSettings:
        envelope = contract.envelope
        return RunSettings(
            run_id=new_id("run"),
            mode=envelope.processing_mode,
            batch_size=envelope.batch_size,
            max_records=envelope.max_records,
            max_memory_mb=self._max_memory_mb if self._max_memory_mb is not None else envelope.max_memory_mb,
            budget=contract.load_envelope.dead_letters,
            dry_run=dry_run,
            environ=self._environ,
        )

    def _progress(self) -> ProgressCallback | None:
        if not self._verbose:
            return self._callback
        callback = self._callback

        def both(event: ETLProgress) -> None:
            _say_on_stderr(str(event))
            if callback is not None:
                callback(event)

        return both


def _overrides(mode: ProcessingMode | str | None, batch_size: int | None, max_records: int | None) -> dict[str, Any]:
    given = {
        "processing_mode": ProcessingMode(mode) if mode is not None else None,
        "batch_size": batch_size,
        "max_records": max_records,
    }
    return {key: value for key, value in given.items() if value is not None}


def _say_on_stderr(text: str) -> None:
    import sys  # noqa: PLC0415

    sys.stderr.write(text + "\n")


def _warn_on_stderr(text: str) -> None:
    _say_on_stderr(f"warning: {text}")


class _Listener:
    """Stands in for the ledger in a preview: remembers what would be rejected, keeps nothing."""

    def __init__(self, rejected: list[DeadLetter]) -> None:
        self._rejected = rejected

    def start_run(self, run_id: str, started_at: datetime) -> None:
        """Nothing to record."""

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Remember what would be rejected."""
        self._rejected.extend(letters)

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Nothing to record."""

    def finish_run(self, result: RunResult) -> None:
        """Nothing to record."""
