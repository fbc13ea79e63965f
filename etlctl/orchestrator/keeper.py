"""Keeps the record of one run: the ledger while it runs, the report when it is over, secrets masked in both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from etlctl.errors import StateError
from etlctl.redact import Redactor
from etlctl.run import RunResult

if TYPE_CHECKING:
    from pathlib import Path

    from etlctl.contract.model import Contract
    from etlctl.engine.options import RunSettings
    from etlctl.state.ledger import Ledger, RunRecorder
    from etlctl.state.records import RunStart

_EXAMPLES = 3


class RunKeeper:
    """The ledger and the report of one run of a contract.

    Args:
        contract: What runs.
        settings: How it runs.
        state_dir: Folder of the ledger and the reports.
        state_url: Where the ledger is, when it is not in ``state_dir``.
        trigger: What started the run.
    """

    def __init__(
        self, contract: Contract, settings: RunSettings, state_dir: Path, state_url: str | None, trigger: str
    ) -> None:
        self._contract = contract
        self._settings = settings
        self._state_dir = state_dir
        self._state_url = state_url
        self._trigger = trigger
        self._ledger: Ledger | None = None
        self.redactor = Redactor(contract.secrets)

    def open(self) -> RunRecorder:
        """Open the ledger for the engine; called on a thread.

        Raises:
            StateError: The ledger cannot be opened.
        """
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        self._ledger = open_ledger(self._state_url, self._state_dir, redactor=self.redactor)
        return self._ledger.recorder(self._start())

    def _start(self) -> RunStart:
        from etlctl.clock import SystemClock  # noqa: PLC0415
        from etlctl.state.records import RunStart  # noqa: PLC0415

        contract, settings = self._contract, self._settings
        return RunStart(
            run_id=settings.run_id,
            contract=contract.name,
            stream=contract.stream,
            started_at=SystemClock().now(),
            contract_path=str(contract.path),
            contract_version=contract.version,
            contract_hash=contract.part_hashes,
            trigger=self._trigger,
            params=contract.params,
            mode=str(settings.mode),
            batch_size=settings.batch_size,
            dry_run=settings.dry_run,
        )

    def close(self, result: RunResult) -> RunResult:
        """Write the report, close the ledger, and return the result with secrets masked and the report's path."""
        result = self._masked(result)
        if self._ledger is None:
            return result
        from etlctl.engine.report import write_report  # noqa: PLC0415

        try:
            letters = self._ledger.count_dead_letters(run_id=result.run_id, examples=_EXAMPLES)
            path = write_report(result, letters, state_dir=self._state_dir, redactor=self.redactor, start=self._start())
            self._ledger.note_report(result.run_id, str(path))
        except StateError:
            if result.success:
                raise
            return result  # why the run failed matters more than that its report is missing
        finally:
            self._ledger.close()
        return replace(result, report=str(path))

    def _masked(self, result: RunResult) -> RunResult:
        mask = self.redactor.text
        return replace(
            result,
            error=mask(result.error) if result.error else None,
            error_help=mask(result.error_help) if result.error_help else None,
            traceback=mask(result.traceback) if result.traceback else None,
            destinations=tuple(mask(place) for place in result.destinations),
        )
