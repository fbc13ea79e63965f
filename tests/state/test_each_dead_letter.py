"""All dead letters of a run, page by page, on every store."""

from __future__ import annotations

from ledger_samples import letter, start

from etlctl.state import letter_book
from etlctl.state.ledger import Ledger


def test_every_letter_comes_once_in_the_order_of_the_source(ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setattr(letter_book, "_PAGE", 3)
    places = [(1, 0, 0), (1, 0, 1), (1, 2, 0), (1, 10, 0), (2, 0, 0), (2, 0, 1), (10, 0, 0), (10, 1, 0), (10, 1, 1)]
    for run in ("run_1", "run_2"):
        ledger.start_run(start(run))
        ledger.add_dead_letters([letter(run, *place) for place in reversed(places)])
    found = list(ledger.each_dead_letter("run_1"))
    assert [(one.seq, one.index, one.part) for one in found] == places
    assert {one.run_id for one in found} == {"run_1"}
    assert found[0].raw == {"name": "Ann", "age": "x"}
    ledger.set_letter_status([found[0].id], "discarded")
    assert len(list(ledger.each_dead_letter("run_1"))) == len(places), "what became of them does not matter"
    assert list(ledger.each_dead_letter("run_3")) == []
