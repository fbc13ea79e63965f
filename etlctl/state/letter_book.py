"""The dead letters of the ledger: kept, counted, settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from etlctl.run import DeadLetter
from etlctl.state import statements
from etlctl.state.ledger_part import LedgerPart
from etlctl.state.records import RuleSummary
from etlctl.state.shared_raw import Sharing, dead_letters, unshare

SETTLED = ("replayed", "discarded")
"""What can become of an open dead letter."""

_PAGE = 1000


class LetterBook(LedgerPart):
    """Dead letters."""

    # Writing

    def add_dead_letters(self, letters: Sequence[DeadLetter], *, fence: int | None = None) -> None:
        """Keep rejected records, all of them or none. One that is there already is overwritten, its status kept.

        Args:
            letters: All of one run.
            fence: The fence the run has.

        Raises:
            FencedError: Another process has taken the run over.
        """
        if not letters:
            return
        now = self._clock.now()
        columns = statements.LETTER_COLUMNS
        values = itemgetter(*columns)
        # Before the lock is taken, so that other runs write meanwhile; as tuples, which are small.
        encoded = [values(row) for row in self._encoded(letters, now)]
        with self.store.transaction() as connection:
            self._check_fence(connection, letters[0].run_id, fence)
            connection.run_many(statements.ADD_DEAD_LETTER, (dict(zip(columns, row, strict=True)) for row in encoded))

    def clear_dead_letters(self, run_id: str, after_seq: int, *, fence: int | None = None) -> int:
        """Forget the open dead letters of batches that a resumed run does again; returns how many there were.

        Args:
            run_id: The run.
            after_seq: Number of the last batch whose letters stay.
            fence: The fence the run has.

        Raises:
            FencedError: Another process has taken the run over.
        """
        with self.store.transaction() as connection:
            self._check_fence(connection, run_id, fence)
            unshare(connection, run_id, after_seq)
            return connection.run(statements.CLEAR_LETTERS, {"run_id": run_id, "after_seq": after_seq})

    def _encoded(self, letters: Sequence[DeadLetter], now: datetime) -> Iterator[dict[str, Any]]:
        sharing, redacted = Sharing(), dict[str, bool]()
        for letter in letters:
            holder = sharing.holder(letter)
            row = self._rows.letter(letter, now, holder)
            if holder is None:
                sharing.stored(letter, row["raw"])
                redacted[letter.id] = row["redacted"]
            else:  # a secret was masked in what it points to
                row["redacted"] = row["redacted"] or redacted[holder]
            yield row

    def set_letter_status(self, ids: Iterable[str], status: str, by_run: str | None = None) -> int:
        """Settle open dead letters; those that are settled already stay as they are.

        Args:
            ids: Which.
            status: ``replayed`` or ``discarded``.
            by_run: The run that replayed them.

        Returns:
            How many were open.

        Raises:
            ValueError: The status is none of the two.
        """
        if status not in SETTLED:
            raise ValueError(f"a dead letter becomes {' or '.join(SETTLED)}, not {status!r}")
        changed = 0
        with self.store.transaction() as connection:
            now = self._rows.instant(self._clock.now())
            for letter_id in ids:
                values = {"id": letter_id, "status": status, "by_run": by_run, "updated_at": now}
                changed += connection.run(statements.SETTLE_LETTER, values)
        return changed

    # Reading

    def dead_letters(
        self,
        contract: str | None = None,
        run_id: str | None = None,
        rule: str | None = None,
        status: str | None = "open",
        *,
        limit: int = 50,
        offset: int = 0,
    ) -> list[DeadLetter]:
        """Return rejected records: the newest run first, within a run in the order of the source.

        Args:
            contract: Only those of this contract.
            run_id: Only those of this run.
            rule: Only those that broke this rule; ``convert`` means all of ``convert.…``.
            status: Only those with this status; None for all.
            limit: At most so many.
            offset: Leave out so many first.
        """
        return self._reader.dead_letters(contract, run_id, rule, status, limit=limit, offset=offset)

    def each_dead_letter(self, run_id: str) -> Iterator[DeadLetter]:
        """Yield the rejected records of a run, whatever their status, in the order of the source.

        Args:
            run_id: The run.
        """
        place = {"seq": -1, "index": -1, "part": -1}
        while True:
            with self.store.transaction(writing=False) as connection:
                found = connection.fetch(statements.LETTERS_AFTER, {"run_id": run_id, **place, "limit": _PAGE})
                letters = list(dead_letters(found, connection))
            yield from letters
            if len(found) < _PAGE:
                return
            place = {name: found[-1][name] for name in place}

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a rejected record by its id or the beginning of it; ``dl_`` may be left out.

        Raises:
            NotInLedgerError: There is none, or more than one.
        """
        return self._reader.dead_letter(letter_id)

    def count_dead_letters(
        self,
        contract: str | None = None,
        run_id: str | None = None,
        rule: str | None = None,
        status: str | None = "open",
        *,
        examples: int = 0,
    ) -> list[RuleSummary]:
        """Return how many records broke each rule, the most frequent first.

        Args:
            contract: Only those of this contract.
            run_id: Only those of this run.
            rule: Only this rule, or all that begin with it and a dot.
            status: Only those with this status; None for all.
            examples: How many records to give along for each rule.
        """
        where, values = statements.letters_where(contract, run_id, rule, status)
        first: dict[tuple[str, str], list[DeadLetter]] = {}
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.count_letters(where), values)
            if examples and found:
                examined = connection.fetch(statements.first_letters(where), {**values, "examples": examples})
                for letter in dead_letters(examined, connection):
                    first.setdefault((letter.rule, letter.stage), []).append(letter)
        return [
            RuleSummary(row["rule"], row["stage"], row["number"], tuple(first.get((row["rule"], row["stage"]), ())))
            for row in found
        ]
