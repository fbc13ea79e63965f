"""The drift of the ledger: what runs found to differ between their records and the destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from etlctl.frozen import frozen
from etlctl.quality import Drift
from etlctl.state import statements
from etlctl.state.column_values import aware
from etlctl.state.ledger_part import LedgerPart


@frozen(kw_only=True)
class DriftRecord:
    """A difference, and the run that found it.

    Attributes:
        run_id: The run.
        contract: Name of the contract.
        stream: Contract and parameter set.
        found_at: When it was found first, UTC.
        drift: The difference.
    """

    run_id: str
    contract: str
    stream: str
    found_at: datetime
    drift: Drift

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, flat."""
        values = asdict(self)
        return {**values.pop("drift"), **values, "found_at": self.found_at.isoformat()}


class DriftBook(LedgerPart):
    """What runs found to have drifted."""

    def add_drift(
        self, run_id: str, contract: str, stream: str, found: Sequence[Drift], *, fence: int | None = None
    ) -> None:
        """Keep differences; one the run has found before keeps its instant.

        Raises:
            FencedError: Another process has taken the run over.
        """
        now = self._clock.now()
        rows = [self._rows.drift(run_id, contract, stream, drift, now) for drift in found]
        with self.store.transaction() as connection:
            self._check_fence(connection, run_id, fence)
            connection.run_many(statements.ADD_DRIFT, rows)

    def drift_of_run(self, run_id: str) -> list[DriftRecord]:
        """Return what a run found, in the order found."""
        with self.store.transaction(writing=False) as connection:
            return [_record(row) for row in connection.fetch(statements.DRIFT_OF_RUN, {"run_id": run_id})]

    def drift(self, contract: str | None = None, limit: int = 100) -> list[DriftRecord]:
        """Return what runs found, the newest first.

        Args:
            contract: Only runs of this contract.
            limit: At most so many.
        """
        values: dict[str, Any] = {"limit": limit}
        if contract is not None:
            values["contract"] = self._rows.text(contract)
        statement = statements.ALL_DRIFT if contract is None else statements.DRIFT_OF_CONTRACT
        with self.store.transaction(writing=False) as connection:
            return [_record(row) for row in connection.fetch(statement, values)]


def _record(row: Mapping[str, Any]) -> DriftRecord:
    names = ("destination", "field", "kind", "action", "detail")
    return DriftRecord(
        run_id=row["run_id"],
        contract=row["contract"],
        stream=row["stream"],
        found_at=aware(row["found_at"]),
        drift=Drift(**{name: row[name] for name in names}),
    )
