"""Cursors: how far an incremental field is, in the source's own text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ledger_samples import ENDED, start

from etlctl.clock import FixedClock
from etlctl.errors import StateError
from etlctl.state import open_ledger
from etlctl.state.cursors import StoredCursor
from etlctl.state.ledger import Ledger


def cursor(value: str = "2026-03-01T12:00:00.123456789+02:00", **changes: str) -> StoredCursor:
    base = {"stream": "people#a", "field": "updated_at", "value_type": "datetime", "run_id": "run_1"}
    return StoredCursor(value=value, **{**base, **changes})


@pytest.mark.parametrize(
    "value", ["2026-03-01T12:00:00.123456789+02:00", "12345678901234567890.1000", "007", " a ", "é🎉", ""]
)
def test_a_cursor_keeps_the_sources_own_text(ledger: Ledger, value: str) -> None:
    ledger.set_cursor(cursor(value))
    found = ledger.cursor("people#a", "updated_at")
    assert found is not None
    assert (found.value, found.value_type, found.run_id) == (value, "datetime", "run_1")
    assert found.updated_at is not None
    assert found.updated_at.tzinfo is UTC


def test_a_cursor_moves_and_is_forgotten(store_url: str) -> None:
    with open_ledger(store_url, clock=FixedClock(ENDED)) as ledger:
        assert ledger.cursor("people#a", "updated_at") is None
        ledger.set_cursor(cursor("1"))
        ledger.set_cursor(cursor("2", run_id="run_2"))
        ledger.set_cursor(cursor("3", field="id"))
        ledger.set_cursor(cursor("4", stream="people#b"))
        assert [(one.stream, one.field, one.value) for one in ledger.cursors()] == [
            ("people#a", "id", "3"),
            ("people#a", "updated_at", "2"),
            ("people#b", "updated_at", "4"),
        ]
        assert [one.value for one in ledger.cursors("people#b")] == ["4"]
        assert ledger.cursors("people#a")[1] == StoredCursor(
            stream="people#a", field="updated_at", value="2", value_type="datetime", run_id="run_2", updated_at=ENDED
        )
        assert ledger.delete_cursor("people#a", "updated_at") is True
        assert ledger.delete_cursor("people#a", "updated_at") is False
        assert len(ledger.cursors()) == 2


def test_a_value_that_would_not_come_back_is_refused(ledger: Ledger) -> None:
    for odd in ("a\x00b", "\ud800"):
        with pytest.raises(StateError, match="no database takes"):
            ledger.set_cursor(cursor(odd))
    assert ledger.cursors() == []


def test_the_run_that_holds_the_stream_moves_its_cursor(ledger: Ledger) -> None:
    claim = ledger.claim(start(started_at=datetime(2026, 3, 1, tzinfo=UTC)))
    ledger.set_cursor(cursor("1"), fence=claim.fence)
    assert len(ledger.cursors()) == 1
