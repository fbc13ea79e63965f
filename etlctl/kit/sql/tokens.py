"""The table of commit tokens in a database: which batch of each stream it holds, and who may commit the next one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Protocol

from etlctl.batch import Position
from etlctl.errors import CheckpointError, EtlctlError, FencedError
from etlctl.frozen import frozen

TABLE = "_etlctl_commits"
"""Name of the table."""

CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    stream TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL, seq BIGINT NOT NULL, fence BIGINT NOT NULL, position TEXT,
    account TEXT NOT NULL, records BIGINT NOT NULL, finished INTEGER NOT NULL, visible INTEGER NOT NULL,
    updated_at TEXT NOT NULL)"""
"""The statement that makes the table."""


class Answer(Protocol):
    """What a statement gives back: a cursor of any driver."""

    @property
    def rowcount(self) -> int:
        """Rows changed."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> Sequence[Any]:
        """Return the rows that are left."""


@frozen
class Token:
    """Which batch of a stream the destination holds; the attributes are those of ``etlctl.sdk.CommitToken``.

    The run is empty while the stream is only claimed.
    """

    stream: str
    run: str
    seq: int
    fence: int
    position: Position | None = None
    account: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = False
    visible: bool = False


@frozen
class Stored:
    """A row of the table.

    Attributes:
        token: The token.
        records: Records that the run's batches loaded so far.
        updated_at: When it was written, ISO 8601.
    """

    token: Token
    records: int
    updated_at: str

    @property
    def staged(self) -> bool:
        """It speaks of rows that wait for their publication."""
        return bool(self.token.seq) and not self.token.visible and not self.token.finished


class TokenTable:
    """The token of one stream. Everything happens in the caller's transaction.

    Args:
        execute: Runs a statement with values.
        stream: Contract and parameter set.
        run: The run that writes.
        fence: Generation of its lease.
        place: The destination, for messages.
        mark: What stands for a value in a statement.
        table: The table as SQL names it, a schema included.
        lock: What makes a SELECT wait for a transaction that is changing its row, such as ``FOR UPDATE``.
    """

    def __init__(
        self,
        execute: Callable[[str, Sequence[Any]], Answer],
        *,
        stream: str,
        run: str,
        fence: int,
        place: str,
        mark: str = "?",
        table: str = TABLE,
        lock: str = "",
    ) -> None:
        self._run_statement = execute
        self._stream = stream
        self._run = run
        self._fence = fence
        self._place = place
        self._mark = mark
        self._table = table
        self._lock = lock

    def read(self, *, locked: bool = False) -> Stored | None:
        """Return what the table holds for the stream.

        Args:
            locked: Wait for whoever is changing it now, and keep others from changing it until the transaction ends.
        """
        row = self._execute(
            f"SELECT run, seq, fence, position, account, finished, visible, records, updated_at "
            f"FROM {self._table} WHERE stream = ? {self._lock if locked else ''}",
            self._stream,
        ).fetchone()
        if row is None:
            return None
        run, seq, fence, position, account, finished, visible, records, updated_at = row
        where = json.loads(position) if position is not None else None
        token = Token(
            self._stream, run, seq, fence, where, json.loads(account), finished=bool(finished), visible=bool(visible)
        )
        return Stored(token, records, updated_at)

    def claim(self, stored: Stored | None) -> bool:
        """Keep holders of older leases from committing; tell whether that was ours to do."""
        if stored is None:
            self._insert(Token(self._stream, "", 0, self._fence), 0)
            return True
        if stored.token.fence > self._fence:
            return False
        self._execute(
            f"UPDATE {self._table} SET fence = ? WHERE stream = ? AND fence < ?", self._fence, self._stream, self._fence
        )
        return True

    def forget_staged(self, stored: Stored | None) -> None:
        """Note that rows which waited for their publication are gone."""
        if stored is not None and stored.staged:
            self._execute(
                f"UPDATE {self._table} SET run = '', seq = 0, position = NULL, account = '{{}}', records = 0 "
                "WHERE stream = ? AND fence <= ?",
                self._stream,
                self._fence,
            )

    def advance(self, token: Token, records: int) -> None:
        """Move on by one batch.

        Args:
            token: What the destination is to hold now.
            records: Records of the run up to and with this batch.

        Raises:
            FencedError: A newer lease has been here.
            CheckpointError: The batch is not the next one.
        """
        changed = self._execute(
            f"UPDATE {self._table} SET run = ?, seq = ?, fence = ?, position = ?, account = ?, finished = ?, "
            "visible = ?, records = ?, updated_at = ? WHERE stream = ? AND fence <= ? "
            "AND ((run = ? AND seq = ?) OR (run <> ? AND ? = 1))",
            *(token.run, token.seq, token.fence, *_texts(token), int(token.finished), int(token.visible)),
            *(records, _now(), token.stream, token.fence, token.run, token.seq - 1, token.run, token.seq),
        ).rowcount
        if changed:
            return
        stored = self.read()
        if stored is not None or token.seq != 1:
            raise self._refused(stored, token.fence, f"batch {token.seq:,} of run {token.run}")
        self._insert(token, records)

    def finish(self, records: int) -> None:
        """Mark the run as published.

        Raises:
            FencedError: A newer lease has been here.
        """
        changed = self._execute(
            f"UPDATE {self._table} SET finished = 1, visible = 1, records = ?, updated_at = ? "
            "WHERE stream = ? AND fence <= ? AND run = ?",
            *(records, _now(), self._stream, self._fence, self._run),
        ).rowcount
        if changed:
            return
        self.check(f"publishing run {self._run}")
        # A run without a single batch has no token yet.
        done = Token(self._stream, self._run, 0, self._fence, None, {}, finished=True, visible=True)
        self._execute(f"DELETE FROM {self._table} WHERE stream = ?", self._stream)
        self._insert(done, records)

    def check(self, what: str) -> None:
        """Make sure that no newer lease has been here.

        Raises:
            FencedError: One has.
        """
        stored = self.read()
        if stored is not None and stored.token.fence > self._fence:
            raise self._refused(stored, self._fence, what)

    def _refused(self, stored: Stored | None, fence: int, what: str) -> EtlctlError:
        if stored is not None and stored.token.fence > fence:
            who = f"run {stored.token.run}" if stored.token.run else "another run"
            return FencedError(
                f"{what} was not committed to {self._place}: {who} has taken {self._stream} over with lease "
                f"{stored.token.fence} ({stored.updated_at}), this run has lease {fence}",
                help="nothing of it was kept; see the run that goes on with: etlctl runs list",
            )
        there = f"batch {stored.token.seq:,} of run {stored.token.run or '(none)'}" if stored else "nothing"
        return CheckpointError(
            f"{what} does not follow what {self._place} holds for {self._stream}: {there}; nothing was committed",
            help="the destination was changed or restored meanwhile; compare with: etlctl checkpoints show",
        )

    def _insert(self, token: Token, records: int) -> None:
        self._execute(
            f"INSERT INTO {self._table} "
            "(stream, run, seq, fence, position, account, finished, visible, records, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(token.stream, token.run, token.seq, token.fence, *_texts(token)),
            *(int(token.finished), int(token.visible), records, _now()),
        )

    def _execute(self, sql: str, *values: Any) -> Answer:
        return self._run_statement(sql.replace("?", self._mark), values)


def _texts(token: Token) -> tuple[str | None, str]:
    position = None if token.position is None else json.dumps(dict(token.position))
    return position, json.dumps(dict(token.account))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
