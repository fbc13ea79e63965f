"""The statements a run writes its record with: plain SQL with ``:name`` binds that SQLite and PostgreSQL both take.

They are not SQLAlchemy's because a run on SQLite must not import it: that costs more than many a run. Tests hold them
against the tables of ``etlctl.state.schema``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from etlctl.state.trouble import BUSY_SECONDS

VERSION_TABLE = "etlctl_version"
RUNS = "etlctl_runs"
STEPS = "etlctl_steps"
DEAD_LETTERS = "etlctl_dead_letters"
LEASES = "etlctl_leases"
CHECKPOINTS = "etlctl_checkpoints"
CURSORS = "etlctl_cursors"
CURSOR_HISTORY = "etlctl_cursor_history"
DRIFT = "etlctl_drift"

RUN_COLUMNS = (
    "id",
    "contract",
    "contract_path",
    "contract_version",
    "contract_hash",
    "stream",
    "run_key",
    "trigger",
    "params",
    "status",
    "mode",
    "batch_size",
    "started_at",
    "updated_at",
    "dry_run",
    "destinations",
    "host",
    "pid",
    "etlctl_version",
    "checkpoint_id",
    "attempt",
    "fence",
)
"""What is known of a run when it begins."""

RUN_KEPT = frozenset({"id", "started_at"})
"""What a run that is resumed keeps; its counts stay because its start does not name them."""

COUNT_COLUMNS = ("extracted", "added", "filtered", "rejected", "deduplicated", "loaded", "batches")

END_COLUMNS = (
    "status",
    *COUNT_COLUMNS,
    "updated_at",
    "ended_at",
    "error",
    "error_type",
    "exit_code",
    "dry_run",
    "report",
    "result",
)

STEP_COLUMNS = (
    "run_id",
    "position",
    "attempt",
    "name",
    "kind",
    "records_in",
    "records_out",
    "added",
    "filtered",
    "rejected",
    "seconds",
    "form",
    "status",
    "started_at",
    "ended_at",
    "error",
    "batch",
)

LETTER_COLUMNS = (
    "id",
    "run_id",
    "contract",
    "stream",
    "seq",
    "index",
    "part",
    "stage",
    "step",
    "rule",
    "message",
    "field",
    "location",
    "raw",
    "raw_form",
    "redacted",
    "status",
    "created_at",
    "updated_at",
)
LETTER_KEY = ("run_id", "seq", "index", "part")
LETTER_KEPT = frozenset({*LETTER_KEY, "id", "status", "created_at"})
"""What a repeat leaves alone: its identity, and what a person decided about it."""

LEASE_COLUMNS = ("stream", "fence", "holder_run", "host", "pid", "acquired_at", "expires_at")

CHECKPOINT_COLUMNS = (
    "id",
    "run_id",
    "stream",
    "contract",
    "contract_path",
    "contract_hash",
    "params",
    "params_redacted",
    "mode",
    "batch_size",
    "max_records",
    "started_at",
    "seq",
    "fence",
    "position",
    "position_redacted",
    "account",
    "error",
    "updated_at",
    "version",
    "checksum",
)

CURSOR_COLUMNS = ("stream", "field", "value", "value_type", "updated_at", "run_id", "recent")
CURSOR_KEY = ("stream", "field")
CURSOR_HISTORY_COLUMNS = ("stream", "field", "id", "before", "after", "value_type", "how", "run_id", "moved_at")
CURSOR_HISTORY_KEY = ("stream", "field", "id")

DRIFT_KEY = ("run_id", "destination", "field", "kind")
DRIFT_COLUMNS = (*DRIFT_KEY, "contract", "stream", "action", "detail", "found_at")

LETTER_ORDER = 'run_id DESC, seq, "index", part'
"""The newest run first, within a run in the order of the source."""


def _insert(table: str, columns: Sequence[str]) -> str:
    names, binds = (", ".join(write.format(name) for name in columns) for write in ('"{}"', ":{}"))
    return f"INSERT INTO {table} ({names}) VALUES ({binds})"  # noqa: S608


def _or_overwrite(key: Sequence[str], changed: Iterable[str], emptied: Sequence[str] = ()) -> str:
    names = ", ".join(f'"{name}"' for name in key)
    changes = [f'"{name}" = excluded."{name}"' for name in changed] + [f'"{name}" = NULL' for name in emptied]
    return f" ON CONFLICT ({names}) DO UPDATE SET {', '.join(changes)}"


def _update_run(columns: Iterable[str], also: str = "") -> str:
    changes = ", ".join(f'"{name}" = :{name}' for name in columns)
    return f"UPDATE {RUNS} SET {changes}{also} WHERE id = :id"  # noqa: S608


_SAME_FENCE = " AND fence <= :fence"

START_RUN = _insert(RUNS, RUN_COLUMNS) + _or_overwrite(
    ("id",),
    [name for name in RUN_COLUMNS if name not in RUN_KEPT],
    ("ended_at", "error", "error_type", "exit_code", "result"),
)
PROGRESS = _update_run((*COUNT_COLUMNS, "updated_at"))
PROGRESS_FENCED = PROGRESS + _SAME_FENCE
FINISH_RUN = _update_run(
    END_COLUMNS,
    ", destinations = COALESCE(:destinations, destinations), checkpoint_id = COALESCE(:checkpoint_id, checkpoint_id)",
)
"""Destinations and a checkpoint that are not known in the end stay those of the beginning."""
FINISH_RUN_FENCED = FINISH_RUN + _SAME_FENCE
FORGET_CHECKPOINT = f"UPDATE {RUNS} SET checkpoint_id = NULL WHERE id = :id"  # noqa: S608
NOTE_REPORT = _update_run(("report",))

RUN_FENCE = f"SELECT stream, fence FROM {RUNS} WHERE id = :id"  # noqa: S608
RUN_BY_ID = f"SELECT * FROM {RUNS} WHERE id = :id"  # noqa: S608
RUN_BY_KEY = f"SELECT * FROM {RUNS} WHERE contract = :contract AND run_key = :run_key"  # noqa: S608
RUN_OF_CHECKPOINT = (
    f"SELECT * FROM {RUNS} WHERE checkpoint_id = :checkpoint_id ORDER BY started_at DESC, id DESC LIMIT 1"  # noqa: S608
)
LATEST_OF_STREAM = (
    f"SELECT * FROM {RUNS} WHERE stream = :stream AND dry_run = :dry_run "  # noqa: S608
    "ORDER BY started_at DESC, id DESC LIMIT 50"
)
FINISHED_OF_STREAM = (
    f"SELECT id, started_at, extracted, loaded, result FROM {RUNS} WHERE stream = :stream AND dry_run = :dry_run "  # noqa: S608
    "AND status IN ('succeeded', 'partial') ORDER BY started_at DESC, id DESC LIMIT :limit"
)

LAST_ATTEMPTS = f"SELECT position, MAX(attempt) AS attempt FROM {STEPS} WHERE run_id = :run_id GROUP BY position"  # noqa: S608
ADD_STEP = _insert(STEPS, STEP_COLUMNS)

ADD_DEAD_LETTER = _insert(DEAD_LETTERS, LETTER_COLUMNS) + _or_overwrite(
    LETTER_KEY, [name for name in LETTER_COLUMNS if name not in LETTER_KEPT]
)
LETTERS_AFTER = (
    f"SELECT * FROM {DEAD_LETTERS} WHERE run_id = :run_id "  # noqa: S608
    'AND (seq, "index", part) > (:seq, :index, :part) ORDER BY seq, "index", part LIMIT :limit'
)
CLEAR_LETTERS = f"DELETE FROM {DEAD_LETTERS} WHERE run_id = :run_id AND seq > :after_seq AND status = 'open'"  # noqa: S608
RAW_OF_LETTER = f"SELECT raw, raw_form FROM {DEAD_LETTERS} WHERE id = :id"  # noqa: S608
_HOLDER = f"FROM {DEAD_LETTERS} AS holder WHERE holder.id = {DEAD_LETTERS}.raw"
UNSHARE_LETTERS = (
    f"UPDATE {DEAD_LETTERS} SET raw = (SELECT holder.raw {_HOLDER}), "  # noqa: S608
    f"raw_form = (SELECT holder.raw_form {_HOLDER}) "
    "WHERE run_id = :run_id AND seq > :after_seq AND status <> 'open' AND raw_form = :form "
    f"AND EXISTS (SELECT 1 {_HOLDER} AND holder.status = 'open')"
)
"""Settled letters stay when open ones go: they take over the source record that an open one holds for them."""
SETTLE_LETTER = (
    f"UPDATE {DEAD_LETTERS} SET status = :status, by_run = :by_run, updated_at = :updated_at "  # noqa: S608
    "WHERE id = :id AND status = 'open'"
)

_MINE = "WHERE stream = :stream AND fence = :fence AND holder_run IS NOT NULL"

LOCK_CLAIMS = (f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'", "SELECT pg_advisory_xact_lock(7305508011922118)")
"""On PostgreSQL: one claim at a time. A claim looks before it writes, and two that look at once see the same."""
LEASE = f"SELECT * FROM {LEASES} WHERE stream = :stream"  # noqa: S608
ALL_LEASES = f"SELECT * FROM {LEASES} ORDER BY stream"  # noqa: S608
ADD_LEASE = _insert(LEASES, LEASE_COLUMNS)
TAKE_LEASE = (
    f"UPDATE {LEASES} SET "  # noqa: S608
    + ", ".join(f"{name} = :{name}" for name in LEASE_COLUMNS if name != "stream")
    + " WHERE stream = :stream AND fence = :seen_fence AND expires_at = :seen_expires_at"
)
"""Compare-and-set: a holder that renews in the same moment keeps its lease."""
RENEW_LEASE = f"UPDATE {LEASES} SET expires_at = :expires_at {_MINE}"  # noqa: S608
RELEASE_LEASE = f"UPDATE {LEASES} SET holder_run = NULL, expires_at = :expires_at {_MINE}"  # noqa: S608
RAISE_FENCE = f"UPDATE {LEASES} SET fence = :raised {_MINE}"  # noqa: S608
RAISE_FENCE_OF_RUN = f"UPDATE {RUNS} SET fence = :raised WHERE id = :id AND fence <= :raised"  # noqa: S608

SAVE_CHECKPOINT = (
    _insert(CHECKPOINTS, CHECKPOINT_COLUMNS)
    + _or_overwrite(("id",), [name for name in CHECKPOINT_COLUMNS if name != "id"])
    + f" WHERE {CHECKPOINTS}.stream = excluded.stream AND {CHECKPOINTS}.fence <= excluded.fence"
    + f" AND {CHECKPOINTS}.version <= excluded.version"
)
"""Leaves a checkpoint of another stream, of a newer fence and of a newer version alone."""
CHECKPOINT = f"SELECT * FROM {CHECKPOINTS} WHERE id = :id"  # noqa: S608
ALL_CHECKPOINTS = f"SELECT * FROM {CHECKPOINTS} ORDER BY updated_at DESC, id DESC"  # noqa: S608
DELETE_CHECKPOINT = f"DELETE FROM {CHECKPOINTS} WHERE id = :id"  # noqa: S608
SUCCESSOR = (
    f"SELECT id FROM {RUNS} WHERE stream = :stream AND id <> :id AND dry_run = :no "  # noqa: S608
    "AND status IN ('succeeded', 'partial') AND started_at > :began ORDER BY started_at DESC LIMIT 1"
)
"""The run that has done the work of an unfinished one anew."""

DELETE_STALE_CHECKPOINTS = f"DELETE FROM {CHECKPOINTS} WHERE stream = :stream AND run_id <> :run_id AND fence <= :fence"  # noqa: S608
FORGET_DELETED = f"UPDATE {RUNS} SET checkpoint_id = NULL WHERE checkpoint_id = :id"  # noqa: S608
"""A run whose checkpoint was deleted on purpose cannot be resumed by its name any more."""
DELETE_CHECKPOINT_FENCED = DELETE_CHECKPOINT + _SAME_FENCE

SET_CURSOR = _insert(CURSORS, CURSOR_COLUMNS) + _or_overwrite(
    CURSOR_KEY, [name for name in CURSOR_COLUMNS if name not in CURSOR_KEY]
)
CURSOR = f"SELECT * FROM {CURSORS} WHERE stream = :stream AND field = :field"  # noqa: S608
ALL_CURSORS = f"SELECT * FROM {CURSORS} ORDER BY stream, field"  # noqa: S608
ADD_CURSOR_MOVE = _insert(CURSOR_HISTORY, CURSOR_HISTORY_COLUMNS) + _or_overwrite(
    CURSOR_HISTORY_KEY, ("after", "value_type", "moved_at")
)
"""A run that moves a cursor again and again has one row: from where it began to where it is."""
CURSOR_MOVES = f"SELECT * FROM {CURSOR_HISTORY} ORDER BY moved_at DESC, id DESC"  # noqa: S608
DELETE_CURSOR = f"DELETE FROM {CURSORS} WHERE stream = :stream AND field = :field"  # noqa: S608

ADD_DRIFT = _insert(DRIFT, DRIFT_COLUMNS) + _or_overwrite(DRIFT_KEY, ("action", "detail"))
DRIFT_OF_RUN = f"SELECT * FROM {DRIFT} WHERE run_id = :run_id ORDER BY found_at, destination, field, kind"  # noqa: S608
_NEWEST_DRIFT = "ORDER BY found_at DESC, run_id DESC, destination, field, kind LIMIT :limit"
ALL_DRIFT = f"SELECT * FROM {DRIFT} {_NEWEST_DRIFT}"  # noqa: S608
DRIFT_OF_CONTRACT = f"SELECT * FROM {DRIFT} WHERE contract = :contract {_NEWEST_DRIFT}"  # noqa: S608

HAS_VERSION_SQLITE = f"SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name = '{VERSION_TABLE}'"  # noqa: S608
HAS_VERSION_POSTGRES = f"SELECT 1 AS found WHERE to_regclass('{VERSION_TABLE}') IS NOT NULL"
VERSION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608
ADD_VERSION = _insert(VERSION_TABLE, ("version_num",))


def letters_where(
    contract: str | None, run_id: str | None, rule: str | None, status: str | None
) -> tuple[str, dict[str, Any]]:
    """Return a condition on dead letters and its binds; a rule is met by all that begin with it and a dot, too."""
    equal = {"contract": contract, "run_id": run_id, "status": status}
    values = {name: value for name, value in equal.items() if value is not None}
    parts = [f"{name} = :{name}" for name in values]
    if rule is not None:
        parts.append("(rule = :rule OR rule LIKE :rule_prefix ESCAPE '/')")
        values |= {"rule": rule, "rule_prefix": _literally(rule) + ".%"}
    return " AND ".join(parts) or "1 = 1", values


def _literally(text: str) -> str:
    for special in "/%_":
        text = text.replace(special, "/" + special)
    return text


def count_letters(where: str) -> str:
    """Return the query for how many dead letters broke each rule, the most frequent first."""
    return (
        f"SELECT rule, stage, count(*) AS number FROM {DEAD_LETTERS} WHERE {where} "  # noqa: S608
        "GROUP BY rule, stage ORDER BY number DESC, rule, stage"
    )


def first_letters(where: str) -> str:
    """Return the query for the first ``:examples`` dead letters of each rule."""
    order = f"ORDER BY {LETTER_ORDER}"
    return (
        f"SELECT letter.* FROM {DEAD_LETTERS} AS letter JOIN ("  # noqa: S608
        f"SELECT id, row_number() OVER (PARTITION BY rule, stage {order}) AS place FROM {DEAD_LETTERS} WHERE {where}"
        ") AS numbered ON numbered.id = letter.id "
        f"WHERE numbered.place <= :examples {order}"
    )
