"""Between the ledger's values and the rows of its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from etlctl import __version__
from etlctl.quality import Drift
from etlctl.redact import Redactor
from etlctl.run import Counts, DeadLetter, RunResult, RunStatus, StepAttempt, StepCounts
from etlctl.state.column_values import instant, instant_text, json_text, utc
from etlctl.state.payload import SHARED_FORM, decode_raw, encode_raw, mask, storable
from etlctl.state.records import RunStart
from etlctl.state.result_text import result_text

_OWN_WORDS = frozenset(
    {"id", "run_id", "status", "trigger", "mode", "stage", "kind", "form", "raw_form", "raw", "result"}
)
"""Columns that etlctl itself words, or that are masked before: ids must stay ids."""


class RowMaker:
    """Makes rows for the plain statements, with secrets masked in every text a user, a source or a server worded.

    Args:
        redactor: Knows the secrets.
        is_sqlite: Whether the rows are for SQLite.
    """

    def __init__(self, redactor: Redactor, *, is_sqlite: bool) -> None:
        self._redactor = redactor
        self._instant: Callable[[datetime], datetime | str] = instant_text if is_sqlite else utc

    def instant(self, value: datetime) -> datetime | str:
        """Return an instant as the store takes it."""
        return self._instant(value)

    def text(self, text: str) -> str:
        """Return a text as it stands in a row: what is looked for must be changed like what was stored."""
        return storable(self._redactor.text(text))

    def started(self, start: RunStart, at: datetime) -> dict[str, Any]:
        """Return the row of a run that begins. A dry run does nothing under its key, so it does not take it."""
        row = {
            "id": start.run_id,
            "contract": start.contract,
            "contract_path": start.contract_path,
            "contract_version": start.contract_version,
            "contract_hash": dict(start.contract_hash),
            "stream": start.stream,
            "run_key": None if start.dry_run else start.run_key,
            "trigger": start.trigger,
            "params": dict(start.params),
            "status": str(RunStatus.running),
            "mode": str(start.mode),
            "batch_size": start.batch_size,
            "started_at": start.started_at,
            "updated_at": at,
            "dry_run": start.dry_run,
            "destinations": list(start.destinations),
            "host": start.host,
            "pid": start.pid,
            "etlctl_version": __version__,
            "checkpoint_id": start.checkpoint_id,
            "attempt": 1,
            "fence": 0,
        }
        return self._stored(row)

    def progress(self, run_id: str, counts: Counts, batches: int, at: datetime) -> dict[str, Any]:
        """Return what changes in the row of a run on its way."""
        return self._stored({"id": run_id, **counts.to_dict(), "batches": batches, "updated_at": at})

    def finished(self, result: RunResult, at: datetime) -> dict[str, Any]:
        """Return what changes in the row of a run that ended."""
        row: dict[str, Any] = {
            "id": result.run_id,
            "status": str(result.status),
            **result.counts.to_dict(),
            "batches": result.batches,
            "updated_at": at,
            "ended_at": result.ended_at or at,
            "error": result.error,
            "error_type": result.error_type,
            "exit_code": result.exit_code,
            "dry_run": result.dry_run,
            "report": result.report,
            "destinations": list(result.destinations) or None,
            "checkpoint_id": result.checkpoint_id,
            "result": result_text(result, self._redactor),
        }
        return self._stored(row)

    def step(self, result: RunResult, position: int, step: StepCounts) -> dict[str, Any]:
        """Return the row of a step of a run that ended; its attempt is still to be numbered."""
        failed = not result.success and step.name == result.failed_step
        row = {
            **_step_columns(step),
            "run_id": result.run_id,
            "position": position,
            "kind": step.name.partition(".")[0],
            "status": _step_status(result, failed=failed),
            "started_at": result.started_at,
            "ended_at": result.ended_at,
            "error": result.error if failed else None,
            "batch": None,
        }
        return self._stored(row)

    def attempt(self, run_id: str, attempt: StepAttempt) -> dict[str, Any]:
        """Return the row of a try that did not work out; it is still to be numbered."""
        row = {
            **_step_columns(StepCounts(attempt.name, seconds=(attempt.ended_at - attempt.started_at).total_seconds())),
            "run_id": run_id,
            "position": attempt.position,
            "kind": attempt.name.partition(".")[0],
            "status": str(RunStatus.failed),
            "started_at": attempt.started_at,
            "ended_at": attempt.ended_at,
            "error": attempt.error,
            "batch": attempt.batch,
        }
        return self._stored(row)

    def letter(self, letter: DeadLetter, at: datetime, holder: str | None = None) -> dict[str, Any]:
        """Return the row of a rejected record; ``holder`` is the letter that has its source record already."""
        if holder is None:
            raw, form, redacted = encode_raw(letter.raw, self._redactor)
        else:
            raw, form, redacted = holder, SHARED_FORM, False
        row = {
            "id": letter.id,
            "run_id": letter.run_id,
            "contract": letter.contract,
            "stream": letter.stream,
            "seq": letter.seq,
            "index": letter.index,
            "part": letter.part,
            "stage": letter.stage,
            "step": letter.step,
            "rule": letter.rule,
            "message": letter.message,
            "field": letter.field,
            "location": letter.location,
            "raw": raw,
            "raw_form": form,
            "redacted": redacted or letter.redacted,
            "status": letter.status,
            "created_at": letter.created_at or at,
            "updated_at": at,
        }
        return self._stored(row)

    def drift(self, run_id: str, contract: str, stream: str, drift: Drift, at: datetime) -> dict[str, Any]:
        """Return the row of a difference between records and a destination."""
        row = {"run_id": run_id, "contract": contract, "stream": stream, **drift.to_dict(), "found_at": at}
        return {**self._stored(row), "kind": drift.kind, "action": drift.action}

    def _stored(self, row: dict[str, Any]) -> dict[str, Any]:
        redactor = self._redactor
        for name, value in row.items():
            if isinstance(value, str):
                if name not in _OWN_WORDS:
                    row[name] = storable(redactor.text(value))
            elif isinstance(value, datetime):
                row[name] = self._instant(value)
            elif isinstance(value, dict | list):
                row[name] = json_text(mask(value, redactor))
        return row


def _step_columns(step: StepCounts) -> dict[str, Any]:
    """Return what the table of steps keeps; why a step ran as it did stands in the run's whole result."""
    return {name: value for name, value in step.to_dict().items() if name != "why"}


def _step_status(result: RunResult, *, failed: bool) -> str:
    # A step that did not fail in a run that did has not done all of its work either: the run's end cut it short.
    if result.success:
        return str(RunStatus.succeeded)
    return str(RunStatus.failed if failed else RunStatus.canceled)


def step_counts(row: Mapping[str, Any]) -> StepCounts:
    """Return the step of a row."""
    names = ("name", "records_in", "records_out", "added", "filtered", "rejected", "seconds", "form")
    return StepCounts(**{name: row[name] for name in names})


_OWN_RAW: Any = object()


def dead_letter(row: Mapping[str, Any], raw: Any = _OWN_RAW, holder: str | None = None) -> DeadLetter:
    """Return the rejected record of a row, or the same with a source record that is known from elsewhere.

    Args:
        row: The row.
        raw: The source record; by default the row's own.
        holder: Id of the letter that holds it, if the row does not.
    """
    names = ("id", "run_id", "contract", "stream", "seq", "index", "part", "stage", "step", "rule", "message")
    return DeadLetter(
        **{name: row[name] for name in names},
        field=row["field"],
        location=row["location"],
        raw=decode_raw(row["raw"], row["raw_form"]) if raw is _OWN_RAW else raw,
        status=row["status"],
        created_at=instant(row["created_at"]),
        redacted=bool(row["redacted"]),
        raw_of=holder,
    )
