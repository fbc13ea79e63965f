"""What the ledger is told of a run when it begins, and what it tells of its rejected records, as values."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import field, fields
from datetime import datetime
from typing import Any

from etlctl.frozen import frozen
from etlctl.run import DeadLetter
from etlctl.state.payload import readable


@frozen(kw_only=True)
class RunStart:
    """What is known when a run begins.

    Attributes:
        run_id: ``run_…``.
        contract: Name of the contract.
        stream: Contract and parameter set.
        started_at: UTC.
        contract_path: Folder or file of the contract.
        contract_version: The contract's own version.
        contract_hash: Hash of each part of the contract, such as ``{"extract": "…"}``.
        run_key: Idempotency key.
        trigger: What started it, such as ``manual`` or ``schedule``.
        params: Parameters of the run.
        mode: Processing mode.
        batch_size: Source records per batch.
        dry_run: Nothing is written.
        destinations: Where the records go, as far as known.
        host: The machine it runs on.
        pid: Its process.
        checkpoint_id: Name of the checkpoint to resume it by; None when it keeps none.
    """

    run_id: str
    contract: str
    stream: str
    started_at: datetime
    contract_path: str = ""
    contract_version: str | None = None
    contract_hash: Mapping[str, str] = field(default_factory=dict)
    run_key: str | None = None
    trigger: str = "manual"
    params: Mapping[str, Any] = field(default_factory=dict)
    mode: str = ""
    batch_size: int | None = None
    dry_run: bool = False
    destinations: tuple[str, ...] = ()
    host: str = field(default_factory=platform.node)
    pid: int = field(default_factory=os.getpid)
    checkpoint_id: str | None = None


@frozen
class RuleSummary:
    """The rejected records that broke one rule: how many, and the first few of them."""

    rule: str
    stage: str
    count: int
    examples: tuple[DeadLetter, ...] = ()


def dead_letter_dict(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON values, its source record included."""
    shown = {one.name: getattr(letter, one.name) for one in fields(letter)}
    shown["raw"] = readable(letter.raw)
    shown["created_at"] = letter.created_at.isoformat() if letter.created_at else None
    return shown
