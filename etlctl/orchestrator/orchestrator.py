"""The Python face of a contract: load it once, run it with a ledger, get a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.clock import Clock, SystemClock
from etlctl.engine.runner import Surroundings, execute
from etlctl.engine.services import StopRequest
from etlctl.errors import CheckpointError, NotInLedgerError
from etlctl.orchestrator.incremental import ReadRange, finder, ranged
from etlctl.orchestrator.keeper import RunKeeper
from etlctl.orchestrator.run_options import RunOptions
from etlctl.run import DeadLetter, ETLProgress, ProcessingMode, RunResult

if TYPE_CHECKING:
    from datetime import date, datetime

    from etlctl.batch import Record
    from etlctl.catalog.workspace import Workspace
    from etlctl.contract.increment import IncrementOf
    from etlctl.contract.model import Contract
    from etlctl.orchestrator.multiple import MultipleResult
    from etlctl.orchestrator.resuming import Resumption
    from etlctl.orchestrator.tryout import Tried
    from etlctl.state.ledger import Ledger

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
        warn: Reports something the user should know; None: a line on stderr.
        checkpoint_dir: Folder for checkpoints as JSON files; None keeps them in the ledger.

    Raises:
        ContractError: On the first run: the contract does not hold; carries every diagnostic.
    """

    _clock: Clock = SystemClock()

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
        checkpoint_dir: str | Path | None = None,
    ) -> None:
        self.contract_dir = Path(contract_dir)
        self._callback = progress_callback
        self._verbose = verbose
        self._params = dict(params or {})
        self._max_memory_mb = max_memory_mb
        self._state_url = state_url
        self._environ = environ
        self._warn = warn or _warn_on_stderr
        self._checkpoint_dir = Path(checkpoint_dir) if checkpoint_dir is not None else None

    async def run(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        mode: ProcessingMode | str | None = None,
        batch_size: int | None = None,
        max_records: int | None = None,
        dry_run: bool = False,
        run_date: date | str | None = None,
        run_key: str | None = None,
        checkpoint_id: str | None = None,
        resume: bool = False,
        restart: bool = False,
        accept_changes: bool = False,
        max_retries: int | None = None,
        error_threshold: float | None = None,
        workers: int | None = None,
        trigger: str = "manual",
        lost_ledger: bool = False,
        record: str | Path | None = None,
        replay: str | Path | None = None,
        read: ReadRange | None = None,
        stop: StopRequest | None = None,
    ) -> RunResult:
        """Run the contract to the end, or resume a run that did not come to its end.

        Args:
            params: Parameters of this run, over those of the orchestrator.
            mode: ``full``, ``streaming`` or ``hybrid``; None: what the contract says.
            batch_size: Source records per batch; None: what the contract says.
            max_records: Stop after so many source records.
            dry_run: Read and transform, write nothing.
            run_date: The date the run is for (``${run_date}``), kept as parameter ``run_date``; None: today in UTC.
                A run with one has it as its run key, unless another is given.
            run_key: Idempotency key. A run of the contract that finished with it is not repeated, its result returned
                (``reused``); one that failed or crashed is resumed; one that is going on makes this one fail (75).
            checkpoint_id: What to resume the run by; the run's id if None.
            resume: Resume the run with this checkpoint id, with its parameters. If it had finished, its result is
                returned (``reused``).
            restart: Begin anew although an unfinished run has left records in the destination or a checkpoint.
            accept_changes: Resume although the contract was edited since.
            max_retries: How often a batch that failed is tried again; None: what the contract says.
            error_threshold: Share of batches that may fail for good, 0 to 1; None: what the contract says.
            workers: Processes that run the steps that see one record at a time; None: what the contract says.
            trigger: What started the run, for the ledger.
            lost_ledger: Resume a run that nobody knows but the destination, by its commit token.
            record: File that keeps what is said over HTTP.
            replay: File of such a recording that answers instead of servers.
            read: What an incremental run reads whatever its cursor says; None: what is new by its cursor.
            stop: Asks the run to stop once the batch in hand is safe.

        Returns:
            How the run ended; a failed run is a result with ``success`` False and ``error`` set, not an exception.

        Raises:
            ContractError: The contract does not hold.
            NotInLedgerError: There is nothing to resume by this checkpoint id.
            CheckpointError: The checkpoint id belongs to another contract, or to a run that did not finish.
            StateError: The ledger could not record how the run ended.
        """
        options = RunOptions(
            params=params,
            mode=mode,
            batch_size=batch_size,
            max_records=max_records,
            dry_run=dry_run,
            run_date=run_date,
            run_key=run_key,
            checkpoint_id=checkpoint_id,
            resume=resume,
            restart=restart,
            accept_changes=accept_changes,
            max_retries=max_retries,
            error_threshold=error_threshold,
            workers=workers,
            trigger=trigger,
            lost_ledger=lost_ledger,
            record=record,
            replay=replay,
            read=read,
        )
        found = await asyncio.to_thread(self._checkpointed, options) if checkpoint_id is not None else None
        if found is None:
            return await self._run(options, stop)
        return found.finished or await self._run(options.resumed(found), stop, found)

    async def _run(self, options: RunOptions, stop: StopRequest | None, found: Resumption | None = None) -> RunResult:
        contract, workspace = await asyncio.to_thread(self._load, options, found)
        if found is not None and found.known and contract.stream != found.stream:
            raise CheckpointError(
                f"checkpoint {options.checkpoint_id} is of another contract or other parameters: {found.stream}, "
                f"not {contract.stream}",
                help="without --contract, etlctl resume finds the contract by itself; a contract that was "
                "renamed keeps its old name with name: in contract.yaml",
            )
        settings = options.settings(contract, found.run_id if found else None, self._max_memory_mb, self._environ)
        keeper = RunKeeper(
            contract,
            settings,
            workspace.state_dir,
            self._state_url,
            options.trigger,
            run_key=options.key(contract),
            resume=found is not None,
            checkpoint_dir=self._checkpoint_dir,
        )
        around = Surroundings(
            open_ledger=keeper.open,
            progress=self._progress(),
            warn=lambda message: self._warn(keeper.redactor.text(message)),
            clock=self._clock,
            stop=stop,
        )
        result = await execute(contract, settings, around)
        if result.reused and options.restart:
            self._warn("--restart does not repeat a run key that has finished: give the run another key")
        return await asyncio.to_thread(keeper.close, result)

    async def run_streaming(self, batch_size: int | None = None, **options: Any) -> RunResult:
        """Run batch by batch in constant memory, whatever mode the contract says.

        Args:
            batch_size: Source records per batch.
            options: As for ``run``.
        """
        return await self.run(mode=ProcessingMode.streaming, batch_size=batch_size, **options)

    async def run_multiple(
        self,
        param_name: str | None = None,
        param_values: Sequence[Any] | None = None,
        param_sets: Sequence[Mapping[str, Any]] | None = None,
        *,
        batch_size: int = 5,
        delay_between_runs: float = 0.0,
        records_per_batch: int | None = None,
        stop: StopRequest | None = None,
        ended: Callable[[int, MultipleResult], object] = lambda _number, _result: None,
        **run_options: Any,
    ) -> list[MultipleResult]:
        """Run the contract once for each parameter set; a set that fails in any way never hurts the others.

        Each set is a stream of its own: it has its own run and checkpoint, and is resumed by itself.

        Args:
            param_name: The parameter that varies, with ``param_values``; or give ``param_sets``.
            param_values: Its values.
            param_sets: Whole parameter sets.
            batch_size: How many sets run at once. Those that write the same file take turns.
            delay_between_runs: Seconds that each run but the first waits before it begins.
            records_per_batch: What ``run`` calls ``batch_size``.
            stop: Asks the runs in hand to stop once their batches are safe; no more are begun.
            ended: Told the 0-based number of a set and how it ended, as soon as it did.
            run_options: As for ``run``; ``run_key`` and ``checkpoint_id`` get a hash of the set's parameters behind.

        Returns:
            How each run ended, in the order of the sets.

        Raises:
            ParamSetError: The sets are not given as they should be, or two are equal. It is a ValueError.
            ContractError: ``param_name`` is no parameter of the contract.
        """
        from etlctl.orchestrator.multiple import run_multiple  # noqa: PLC0415
        from etlctl.orchestrator.param_sets import GivenSets  # noqa: PLC0415

        given = GivenSets(self.contract_dir, self._params, self._environ, param_name, param_values, param_sets)
        run_options |= {"batch_size": records_per_batch, "stop": stop}
        timing = {"at_once": batch_size, "delay": delay_between_runs, "stop": stop, "ended": ended}
        return await run_multiple(self.run, given, run_options, warn=self._warn, **timing)

    async def preview(
        self, *, sample: int = 1000, run_date: date | str | None = None
    ) -> tuple[list[Record], list[DeadLetter], RunResult]:
        """Read and transform the first source records without writing anything, the ledger included.

        Args:
            sample: Source records to read.
            run_date: The date the run would be for.

        Returns:
            The records that would be loaded, those that would be rejected, and the account.
        """
        tried = await self.follow(0, sample=sample, run_date=run_date)
        return tried.records, tried.rejected, tried.result

    async def follow(
        self,
        records: int,
        *,
        sample: int = 1000,
        run_date: date | str | None = None,
        record: str | Path | None = None,
        replay: str | Path | None = None,
    ) -> Tried:
        """Preview, and follow the first source records from step to step.

        Args:
            records: Source records to follow.
            sample: Source records to read.
            run_date: The date the run would be for.
            record: File that keeps what is said over HTTP.
            replay: File of such a recording that answers instead of servers.
        """
        from etlctl.orchestrator.tryout import try_out  # noqa: PLC0415

        options = RunOptions(dry_run=True, max_records=sample, run_date=run_date, record=record, replay=replay)
        contract, _ = await asyncio.to_thread(self._load, options)
        settings = options.settings(contract, None, self._max_memory_mb, self._environ)
        return await try_out(contract, settings, warn=self._warn, clock=self._clock, follow=records)

    def _checkpointed(self, options: RunOptions) -> Resumption | None:
        """Return what to resume; without ``resume`` make sure that the checkpoint id is free."""
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.orchestrator.resuming import free_checkpoint, lost_run, resumption_of  # noqa: PLC0415

        checkpoint_id = options.checkpoint_id or ""
        state_dir = find_workspace(self.contract_dir).state_dir
        if not options.resume:
            free_checkpoint(
                checkpoint_id,
                restart=options.restart,
                state_url=self._state_url,
                state_dir=state_dir,
                checkpoint_dir=self._checkpoint_dir,
            )
            return None
        find = partial(
            resumption_of,
            checkpoint_id,
            given=options.params or {},
            state_url=self._state_url,
            state_dir=state_dir,
            checkpoint_dir=self._checkpoint_dir,
        )
        try:
            return find()
        except NotInLedgerError:
            if not options.lost_ledger:
                raise
            return lost_run(checkpoint_id)

    def _load(
        self, options: RunOptions, found: Resumption | None = None, *, now: datetime | None = None
    ) -> tuple[Contract, Workspace]:
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.contract.compile import load_contract  # noqa: PLC0415

        contract = load_contract(
            self.contract_dir,
            params={**self._params, **options.given_params},
            environ=self._environ,
            overrides=dict(options.overrides),
            increment_of=self._increment_of(options, found),
            now=now or (found.started_at if found else None),
        )
        if options.read is not None:
            contract = ranged(contract, options.read)
        elif found is not None and found.stream.startswith(f"{contract.stream}@"):
            contract = replace(contract, stream=found.stream)  # a range of a backfill
        return contract, find_workspace(contract.base_dir)

    def _increment_of(self, options: RunOptions, found: Resumption | None) -> IncrementOf:
        def open_it() -> Ledger:
            from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
            from etlctl.state.ledger import open_ledger  # noqa: PLC0415

            return open_ledger(self._state_url, find_workspace(self.contract_dir).state_dir, create=False)

        return finder(
            open_it,
            begun=found.increment if found is not None else None,
            key_with=options.key_with,
            checkpoint_dir=self._checkpoint_dir,
            read=options.read,
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


def _say_on_stderr(text: str) -> None:
    import sys  # noqa: PLC0415

    sys.stderr.write(text + "\n")


def _warn_on_stderr(text: str) -> None:
    _say_on_stderr(f"warning: {text}")
