"""A checkpoint: where a run stands, durably, and what is needed to find and continue it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, replace
from datetime import datetime
from typing import Any

from etlctl.frozen import frozen

VERSION = 1
"""Version of the form; a newer one is refused."""


@frozen(kw_only=True)
class Checkpoint:
    """Where a run stands. It is made when the run begins, moves after each durable batch and goes when the run is done.

    Attributes:
        id: Its name: the run's id unless the user gave one.
        run_id: The run; a resumed run keeps its id.
        stream: Contract and parameter set.
        contract: Name of the contract.
        contract_path: Folder or file of the contract.
        contract_hash: SHA-256 of each part of the contract, to tell which part was edited since.
        params: Parameters of the run.
        params_redacted: A secret was masked in ``params`` when they were stored: they must be given again to resume.
        mode: Processing mode.
        batch_size: Source records per batch.
        max_records: Source records to read at most; None: all.
        started_at: The one instant of the run, UTC; a resumed run works with the same.
        seq: Number of the last durable batch; 0 before the first.
        fence: Generation of the lease that wrote it.
        position: What to read next; None: from the beginning.
        account: Counts up to and with batch ``seq``, as the engine keeps them.
        error: Why the run stopped, when it did.
        updated_at: When it last moved, UTC.
        version: Version of the form.
    """

    id: str
    run_id: str
    stream: str
    contract: str
    contract_path: str
    contract_hash: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    params_redacted: bool = False
    mode: str = "full"
    batch_size: int | None = None
    max_records: int | None = None
    started_at: datetime
    seq: int = 0
    fence: int = 0
    position: Mapping[str, Any] | None = None
    account: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    updated_at: datetime | None = None
    version: int = VERSION

    @property
    def records(self) -> int:
        """Source records handled up to here."""
        counts = self.account.get("counts", {})
        return int(counts.get("extracted", 0))

    def moved(self, **changes: Any) -> Checkpoint:
        """Return the checkpoint with other values."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the checkpoint as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("started_at", "updated_at"):
            values[name] = values[name].isoformat() if values[name] else None
        for name in ("contract_hash", "params", "account"):
            values[name] = dict(values[name])
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint of ``to_dict``; other keys are left out.

        Raises:
            KeyError: A value is missing.
            ValueError: An instant is none.
        """
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        for name in ("started_at", "updated_at"):
            if known.get(name):
                known[name] = datetime.fromisoformat(known[name])
        return cls(**known)
