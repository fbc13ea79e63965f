"""One source record, many dead letters: where a step makes several records of one, the source record is stored once.

The letter that is stored first holds it. The others of the same source record hold that letter's id in its place, so
that a document of a thousand parts is not stored a thousand times. Short records are stored with every letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etlctl.run import DeadLetter
from etlctl.state import rows, statements
from etlctl.state.connection import PlainConnection
from etlctl.state.payload import SHARED_FORM, TEXT_FORM, decode_raw

WORTH_SHARING = 1024
"""Characters of an encoded source record from which it is stored once."""

_GONE = "the source record is not in the ledger any more"


class Sharing:
    """Tells of the letters that are stored together which hold their source record, and which point to it."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], tuple[Any, str] | None] = {}

    def holder(self, letter: DeadLetter) -> str | None:
        """Return the id of the letter that holds the source record of this one; None when it holds its own."""
        found = self._first.get((letter.seq, letter.index))
        if found is None or found[1] == letter.id:
            return None
        raw, holder = found
        return holder if raw is letter.raw or (type(raw) is type(letter.raw) and raw == letter.raw) else None

    def stored(self, letter: DeadLetter, text: str) -> None:
        """Take note of a letter that holds its source record, encoded as ``text``."""
        if len(text) >= WORTH_SHARING:
            self._first.setdefault((letter.seq, letter.index), (letter.raw, letter.id))


def dead_letters(found: Iterable[Mapping[str, Any]], connection: PlainConnection) -> Iterator[DeadLetter]:
    """Yield the letters of rows, those that share a source record with the very same object.

    Args:
        found: Rows of dead letters.
        connection: Where the letters that hold the records are looked up; it must be open until the last is yielded.
    """
    known: dict[str, tuple[str, Any]] = {}
    for row in found:
        if row["raw_form"] == SHARED_FORM:
            if row["raw"] not in known:
                known[row["raw"]] = _looked_up(row["raw"], connection)
            holder, raw = known[row["raw"]]
            yield rows.dead_letter(row, raw, holder)
        elif row["id"] in known:
            yield rows.dead_letter(row, known[row["id"]][1])
        else:
            letter = rows.dead_letter(row)
            if len(row["raw"]) >= WORTH_SHARING:
                known[letter.id] = (letter.id, letter.raw)
            yield letter


def unshare(connection: PlainConnection, run_id: str, after_seq: int) -> None:
    """Give settled letters their own copy of a source record whose open letter is about to be forgotten.

    Args:
        connection: In the transaction that forgets it.
        run_id: The run.
        after_seq: The open letters of later batches are going to be forgotten.
    """
    while connection.run(statements.UNSHARE_LETTERS, {"run_id": run_id, "after_seq": after_seq, "form": SHARED_FORM}):
        pass  # what was copied may point on: to a letter that was stored even earlier


def _looked_up(holder: str, connection: PlainConnection) -> tuple[str, Any]:
    """Return the letter that holds a source record, be it by way of others, and the record."""
    raw, form = holder, SHARED_FORM
    while form == SHARED_FORM:
        holder = raw
        found = connection.fetch(statements.RAW_OF_LETTER, {"id": holder})
        raw, form = (found[0]["raw"], found[0]["raw_form"]) if found else (_GONE, TEXT_FORM)
    return holder, decode_raw(raw, form)
