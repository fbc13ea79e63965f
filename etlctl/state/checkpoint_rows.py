"""The checkpoints of the ledger: one row each, protected by a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from etlctl.checkpoint import Checkpoint
from etlctl.errors import CheckpointError
from etlctl.state import checkpoint_form, statements
from etlctl.state.checkpoint_store import CheckpointEntry
from etlctl.state.column_values import aware, instant
from etlctl.state.lease import fenced
from etlctl.state.ledger_part import LedgerPart

_JSON = ("contract_hash", "params", "position", "account")
_INSTANTS = ("started_at", "updated_at")
_FLAGS = ("params_redacted", "position_redacted")
_OWN = frozenset({"checksum"})


class CheckpointRows(LedgerPart):
    """Checkpoints in the state store; ``CheckpointStore`` tells what each method promises."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint in place of the one of its id; refuses also when the lease has a newer fence by now."""
        values = checkpoint_form.written(checkpoint, self._redactor, self._clock.now())
        row = {
            **values,
            **{name: checkpoint_form.canonical(values[name]) for name in _JSON},
            **{name: self._rows.instant(aware(values[name])) for name in _INSTANTS},
            "checksum": checkpoint_form.checksum(values),
        }
        with self.store.transaction() as connection:
            lease = self._lease(connection, values["stream"])
            if lease is not None and lease.fence > checkpoint.fence:
                raise fenced(values["stream"], checkpoint.fence, lease)
            if connection.run(statements.SAVE_CHECKPOINT, row) != 1:
                (old,) = connection.fetch(statements.CHECKPOINT, {"id": checkpoint.id})
                checkpoint_form.check_successor(values, old, self.store.where)

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Return a checkpoint."""
        checkpoint_form.check_id(checkpoint_id)
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.CHECKPOINT, {"id": checkpoint_id})
        if not found:
            raise checkpoint_form.missing(checkpoint_id, self.store.where)
        return _checkpoint(found[0], self.store.where)

    def checkpoints(self, contract: str | None = None) -> list[CheckpointEntry]:
        """Return all checkpoints, or those of a contract, the one that moved last first."""
        wanted = None if contract is None else self._rows.text(contract)
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.ALL_CHECKPOINTS)
        return [_entry(row, self.store.where) for row in found if wanted in {None, row["contract"]}]

    def delete_checkpoint(self, checkpoint_id: str, *, fence: int | None = None) -> bool:
        """Delete a checkpoint; tells whether it was there."""
        values: dict[str, Any] = {"id": checkpoint_form.check_id(checkpoint_id)}
        with self.store.transaction() as connection:
            if fence is None:
                forgotten = connection.run(statements.FORGET_DELETED, values) > 0
                return connection.run(statements.DELETE_CHECKPOINT, values) == 1 or forgotten
            return connection.run(statements.DELETE_CHECKPOINT_FENCED, {**values, "fence": fence}) == 1

    def delete_stale_checkpoints(self, stream: str, run_id: str, fence: int) -> None:
        """Delete the checkpoints that other runs of a stream left, once a newer run has done the work."""
        values = {"stream": stream, "run_id": run_id, "fence": fence}
        with self.store.transaction() as connection:
            connection.run(statements.DELETE_STALE_CHECKPOINTS, values)


def _checkpoint(row: Mapping[str, Any], where: str) -> Checkpoint:
    checkpoint_id = row["id"]
    checkpoint_form.check_version(row["version"], checkpoint_id, where)
    try:
        values = {name: value for name, value in row.items() if name not in _OWN}
        values |= {name: json.loads(row[name]) for name in _JSON}
        values |= {name: aware(row[name]).isoformat() for name in _INSTANTS}
        values |= {name: bool(row[name]) for name in _FLAGS}
    except (ValueError, TypeError) as error:
        raise checkpoint_form.damaged(checkpoint_id, where, f"holds no JSON for it ({error})") from error
    if checkpoint_form.checksum(values) != row["checksum"]:
        raise checkpoint_form.damaged(checkpoint_id, where, "holds other values than were written (wrong checksum)")
    return checkpoint_form.restored(values, checkpoint_id, where)


def _entry(row: Mapping[str, Any], where: str) -> CheckpointEntry:
    try:
        found = _checkpoint(row, where)
    except CheckpointError as problem:
        try:
            moved = instant(row["updated_at"])
        except ValueError:
            moved = None
        return CheckpointEntry(id=row["id"], problem=problem, updated_at=moved)
    return CheckpointEntry(id=found.id, checkpoint=found, updated_at=found.updated_at)
