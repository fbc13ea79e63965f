"""The state store: the ledger of runs, steps, dead letters, leases, checkpoints and cursors, with its migrations.

Importing this package costs nothing. SQLAlchemy is loaded when a ledger is read or migrated, and on PostgreSQL;
a run records itself on SQLite without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlctl.state.ledger import Ledger, RunRecorder, open_ledger
    from etlctl.state.records import RuleSummary, RunStart
    from etlctl.state.run_record import RunRecord

__all__ = ["Ledger", "RuleSummary", "RunRecord", "RunRecorder", "RunStart", "open_ledger"]

_WHERE = {
    "Ledger": "etlctl.state.ledger",
    "RuleSummary": "etlctl.state.records",
    "RunRecord": "etlctl.state.run_record",
    "RunRecorder": "etlctl.state.ledger",
    "RunStart": "etlctl.state.records",
    "open_ledger": "etlctl.state.ledger",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'etlctl.state' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
