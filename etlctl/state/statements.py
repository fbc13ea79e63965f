"""The statements a run writes its record with: plain SQL with ``:name`` binds that SQLite and PostgreSQL both take.

They are not SQLAlchemy's because a run on SQLite must not import it: that costs more than many a run. Tests hold them
against the tables of ``etlctl.state.schema``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

VERSION_TABLE = "etlctl_version"
RUNS = "etlctl_runs"
STEPS = "etlctl_steps"
DEAD_LETTERS = "etlctl_dead_letters"

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


START_RUN = _insert(RUNS, RUN_COLUMNS) + _or_overwrite(
    ("id",),
    [name for name in RUN_COLUMNS if name not in RUN_KEPT],
    ("ended_at", "error", "error_type", "exit_code"),
)
PROGRESS = _update_run((*COUNT_COLUMNS, "updated_at"))
FINISH_RUN = _update_run(END_COLUMNS, ", destinations = COALESCE(:destinations, destinations)")
"""Destinations that are not known in the end stay those of the beginning."""
NOTE_REPORT = _update_run(("report",))

DELETE_STEPS = f"DELETE FROM {STEPS} WHERE run_id = :run_id"  # noqa: S608
ADD_STEP = _insert(STEPS, STEP_COLUMNS)

ADD_DEAD_LETTER = _insert(DEAD_LETTERS, LETTER_COLUMNS) + _or_overwrite(
    LETTER_KEY, [name for name in LETTER_COLUMNS if name not in LETTER_KEPT]
)

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
