"""Claims: which process may run what. One transaction finds the run, takes the lease of its stream and records both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from etlctl.errors import ResumeRefused, StateError
from etlctl.run import RunResult, RunStatus
from etlctl.state import statements
from etlctl.state.claim import Claim
from etlctl.state.column_values import aware
from etlctl.state.connection import PlainConnection
from etlctl.state.lease import LEASE_SECONDS, busy, lease_of
from etlctl.state.ledger_part import LedgerPart
from etlctl.state.records import RunStart
from etlctl.state.run_record import run_record

_DONE = {str(RunStatus.succeeded), str(RunStatus.partial)}
_USAGE = 2


class Claims(LedgerPart):
    """Claims of runs."""

    def claim(self, start: RunStart, *, resume: bool = False, ttl: float = LEASE_SECONDS) -> Claim:
        """Ask for a run. Of several processes that ask at the same instant, exactly one gets it.

        A run is found by its key, or by its id when it is to be resumed. One that has finished is not run again; one
        that failed, was stopped or whose process died is taken up again under its own id; else a new run begins.

        Args:
            start: The run: its id is that of a new run, or of the one to resume.
            resume: Take up the run with this id; it need not be known, for the ledger may have been lost.
            ttl: Seconds the lease lasts unless it is renewed.

        Raises:
            RunBusyError: Another run has the stream now; the message names it.
            StateError: The key or the id is that of a run of something else.
            ValueError: It is a dry run, which claims nothing.
        """
        if start.dry_run:
            raise ValueError("a dry run claims nothing: start_run records it")
        wanted = self._rows.started(start, self._clock.now())
        _refuse_secret_key(start, wanted)
        with self.store.transaction() as connection:
            if not self.store.is_sqlite:
                for statement in statements.LOCK_CLAIMS:
                    connection.run(statement)
            previous = _previous(connection, wanted, resume=resume)
            if previous is not None and previous["status"] in _DONE:
                return _finished(previous)
            if previous is not None and resume:
                self._refuse_superseded(connection, previous)
            known = previous["fence"] if previous is not None else 0
            row = _taken_up(wanted, previous) if previous is not None else wanted
            row["fence"] = self._take_lease(connection, row, ttl, known)
            row["updated_at"] = self._rows.instant(self._clock.now())
            connection.run(statements.START_RUN, row)
        return Claim(
            run_id=row["id"],
            fence=row["fence"],
            attempt=row["attempt"],
            started_at=aware(row["started_at"]),
            resumed=resume or previous is not None,
            checkpoint_id=row["checkpoint_id"],
        )

    @staticmethod
    def _refuse_superseded(connection: PlainConnection, previous: Mapping[str, Any]) -> None:
        values = {"stream": previous["stream"], "id": previous["id"], "began": previous["started_at"], "no": False}
        found = connection.fetch(statements.SUCCESSOR, values)
        if found:
            raise ResumeRefused(
                f"run {previous['id']} cannot be resumed: run {found[0]['id']} of the same contract and parameters "
                "began later and has finished; the rest of this one would come a second time",
                help=f"see it with: etlctl runs show {found[0]['id']}; to load again, start a new run",
            )

    def _take_lease(self, connection: PlainConnection, row: Mapping[str, Any], ttl: float, known: int) -> int:
        """Take the lease of the row's stream; returns its fence.

        Args:
            connection: In a transaction.
            row: The run.
            ttl: Seconds.
            known: The fence the run had before, for a lease that is not there any more.
        """
        # Asked only now: the transaction may have waited for other writers.
        now = self._clock.now()
        values = {
            "stream": row["stream"],
            "fence": known + 1,
            "holder_run": row["id"],
            "host": row["host"],
            "pid": row["pid"],
            "acquired_at": self._rows.instant(now),
            "expires_at": self._rows.instant(now + timedelta(seconds=ttl)),
        }
        found = connection.fetch(statements.LEASE, {"stream": row["stream"]})
        if not found:
            connection.run(statements.ADD_LEASE, values)
            return int(values["fence"])
        lease = lease_of(found[0])
        if lease.is_held(now):
            raise busy(lease)
        values["fence"] = lease.fence + 1
        seen = {"seen_fence": lease.fence, "seen_expires_at": found[0]["expires_at"]}
        if connection.run(statements.TAKE_LEASE, {**values, **seen}) != 1:
            # It was renewed in this very moment.
            (renewed,) = connection.fetch(statements.LEASE, {"stream": row["stream"]})
            raise busy(lease_of(renewed))
        return int(values["fence"])


def _previous(connection: PlainConnection, wanted: Mapping[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """Return the row of the run that is asked for, None for one that is new.

    Raises:
        StateError: It is a run of something else.
    """
    by_key = _one(connection, statements.RUN_BY_KEY, wanted, "contract", "run_key") if wanted["run_key"] else None
    by_id = _one(connection, statements.RUN_BY_ID, wanted, "id")
    if by_key is not None:
        if resume and by_key["id"] != wanted["id"]:
            raise _usage(
                f"run {wanted['id']} cannot be resumed under the run key {wanted['run_key']!r}: that is the key of run "
                f"{by_key['id']}",
                "leave the run key out, or give that of the run",
            )
        if _another_contract(by_key, wanted):
            raise _usage(
                f"the run key {wanted['run_key']!r} is that of run {by_key['id']} of {by_key['contract_path']}, "
                f"which is another contract with the same name {wanted['contract']!r}",
                "give one of the two another name: name: in contract.yaml",
            )
        if by_key["stream"] != wanted["stream"]:
            raise _usage(
                f"the run key {wanted['run_key']!r} is that of run {by_key['id']} of {by_key['stream']}, which has "
                f"other parameters than {wanted['stream']}",
                f"choose another run key, or run it with the parameters of that run: etlctl runs show {by_key['id']}",
            )
        return by_key
    if by_id is None:
        return None
    if not resume:
        raise _usage(f"there is a run {by_id['id']} already", "give a new run another id")
    if by_id["stream"] != wanted["stream"]:
        raise _usage(
            f"run {by_id['id']} is one of {by_id['stream']}, not of {wanted['stream']}",
            "resume it with the contract and the parameters it began with",
        )
    if by_id["run_key"] and wanted["run_key"]:
        raise _usage(
            f"run {by_id['id']} has the run key {by_id['run_key']!r}, not {wanted['run_key']!r}",
            "leave the run key out, or give that of the run",
        )
    return by_id


def _one(connection: PlainConnection, query: str, wanted: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    found = connection.fetch(query, {name: wanted[name] for name in names})
    return found[0] if found else None


def _another_contract(previous: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a run is of another contract: one in another place that reads and writes something else, too."""
    if previous["contract_path"] == wanted["contract_path"]:
        return False
    hashes = [_parts(row["contract_hash"]) for row in (previous, wanted)]
    known = [name for name in ("extract", "load") if all(name in one for one in hashes)]
    return bool(known) and all(hashes[0][name] != hashes[1][name] for name in known)


def _parts(value: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(value) if isinstance(value, str) else value
    return found


def _taken_up(wanted: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a run that goes on: what it is stays, how it runs is new."""
    own = wanted["checkpoint_id"]
    if own is not None and own == wanted["id"]:
        own = previous["id"]  # a checkpoint that is named after the run follows the run
    return {
        **wanted,
        "id": previous["id"],
        "started_at": previous["started_at"],
        "run_key": previous["run_key"] or wanted["run_key"],
        "checkpoint_id": previous["checkpoint_id"] or own,
        "attempt": previous["attempt"] + 1,
    }


def _finished(row: Mapping[str, Any]) -> Claim:
    run = run_record(row)
    result = run.result or RunResult(
        run.run_id,
        run.contract,
        run.status,
        run.counts,
        batches=run.batches,
        started_at=run.started_at,
        ended_at=run.ended_at,
        destinations=run.destinations,
        params=run.params,
        attempt=run.attempt,
        run_key=run.run_key,
    )
    return Claim(
        run_id=run.run_id,
        fence=run.fence,
        attempt=run.attempt,
        started_at=run.started_at,
        # The report is written, and noted, after the result was stored.
        finished=replace(result, reused=True, exit_code=0, report=run.report or result.report),
        checkpoint_id=run.checkpoint_id,
    )


def _refuse_secret_key(start: RunStart, wanted: Mapping[str, Any]) -> None:
    if start.run_key is not None and not start.run_key.strip():
        raise _usage("the run key is empty", "give a run key of plain text, such as the date the run is for, or none")
    # Two keys that differ in a secret would be the same once it is masked, and the second run would not take place.
    if wanted["run_key"] != start.run_key:
        raise _usage(
            f"the run key {wanted['run_key']!r} holds a secret or a character that cannot be stored",
            "choose a run key of plain text, such as the date the run is for",
        )


def _usage(message: str, help: str) -> StateError:  # noqa: A002
    error = StateError(message, help=help)
    error.exit_code = _USAGE
    return error
