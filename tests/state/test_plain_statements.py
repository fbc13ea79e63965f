"""The plain statements a run is recorded with agree with the tables of SQLAlchemy, on every store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from ledger_samples import BEGAN, ENDED, attempt, checkpoint, letter, result, start
from sqlalchemy import Table, create_engine, delete, insert, select

from etlctl.clock import FixedClock
from etlctl.quality import Drift
from etlctl.run import Counts
from etlctl.sdk.outbox import Parcel, Pledge, Sender, SourceRecord
from etlctl.state import open_ledger, outbox_statements, schema, statements
from etlctl.state.cursors import StoredCursor
from etlctl.state.ledger import Ledger
from etlctl.state.new_store import NEW_STORE
from etlctl.state.outbox import StateOutbox

NOW = datetime(2026, 3, 1, 12, 0, 1, 7, tzinfo=UTC)
NEW_YORK = timezone(timedelta(hours=-5))


@pytest.fixture
def still(store_url: str) -> Iterator[Ledger]:
    """Return a ledger whose clock stands still."""
    with open_ledger(store_url, clock=FixedClock(NOW)) as ledger:
        yield ledger


def columns(table: Table, *, needed: bool = False) -> set[str]:
    """Return the columns of a table; only those an insert must name, if asked so."""
    return {
        column.name for column in table.columns if not needed or (not column.nullable and column.server_default is None)
    }


@pytest.mark.parametrize(
    ("table", "inserted", "later"),
    [
        (schema.runs, statements.RUN_COLUMNS, {*statements.END_COLUMNS, "destinations"}),
        (schema.steps, statements.STEP_COLUMNS, set()),
        (schema.dead_letters, statements.LETTER_COLUMNS, {"by_run"}),
        (schema.leases, statements.LEASE_COLUMNS, set()),
        (schema.checkpoints, statements.CHECKPOINT_COLUMNS, set()),
        (schema.cursors, statements.CURSOR_COLUMNS, set()),
        (schema.outboxes, outbox_statements.OUTBOX_COLUMNS, set()),
        (schema.outbox_requests, outbox_statements.REQUEST_COLUMNS, set()),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_column_is_named(table: Table, inserted: tuple[str, ...], later: set[str]) -> None:
    assert len(set(inserted)) == len(inserted)
    assert columns(table, needed=True) <= set(inserted)
    assert set(inserted) | later == columns(table)


def test_a_key_is_the_one_of_the_table() -> None:
    (unique,) = [one for one in schema.dead_letters.constraints if one.name == _UNIQUE]
    assert tuple(column.name for column in unique.columns) == statements.LETTER_KEY
    assert tuple(schema.cursors.primary_key.columns.keys()) == statements.CURSOR_KEY


_UNIQUE = "uq_etlctl_dead_letters_run_id_seq_index_part"


def test_a_new_sqlite_store_has_the_tables_of_the_schema() -> None:
    found = []
    for build in (schema.metadata.create_all, _run_new_store):
        engine = create_engine("sqlite://")
        with engine.begin() as connection:
            build(connection)
            made = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
        engine.dispose()
        found.append({name: re.sub(r"\s+", " ", sql).replace(" )", ")").replace("( ", "(") for name, sql in made})
    wanted, made_at_once = found
    version = made_at_once.pop(statements.VERSION_TABLE)
    assert version.startswith("CREATE TABLE etlctl_version (version_num VARCHAR(32) NOT NULL,")
    assert made_at_once == wanted


def _run_new_store(connection: Any) -> None:
    for statement in NEW_STORE:
        connection.exec_driver_sql(statement)


def record(ledger: Ledger) -> None:
    """Record a run with every column filled, and values that are easily stored in two ways."""
    begun = start(
        started_at=BEGAN.astimezone(NEW_YORK),
        contract_path="contracts/people",
        contract_version="1.2.0",
        contract_hash={"extract": "é", "load": "cd"},
        params={"day": "2026-03-01", "n": 3, "deep": {"a": [1, None, 0.1]}, "at": BEGAN, "odd": "\ud800"},
        mode="streaming",
        batch_size=2**40,
        run_key="nightly",
        destinations=("out/a.csv",),
    )
    ledger.start_run(begun)
    ledger.add_attempts("run_1", [attempt(batch=2**40)])
    ledger.finish_run(
        result(error="'odd' \x00", error_type="FatalError", ended_at=ENDED, dry_run=True, report="r.json")
    )
    ledger.add_dead_letters(
        [
            letter(created_at=ENDED.astimezone(NEW_YORK), redacted=True, seq=2**40, index=2**41),
            letter(index=1, field=None, location=None, raw="a,\x00b"),
        ]
    )
    assert ledger.set_letter_status(["dl_1_1_1"], "replayed", by_run="run_9") == 1
    claim = ledger.claim(start("run_2", stream="other", checkpoint_id="cp"))
    ledger.save_checkpoint(checkpoint(run_id="run_2", stream="other", seq=2**40, fence=claim.fence))
    ledger.add_drift("run_1", "people", "people", [Drift("t", "é\x00", "field_added", "evolve", "text '\ud800'")])
    ledger.set_cursor(StoredCursor(stream="people", field="at", value="2026-01-01", value_type="date", run_id="run_1"))
    sender = Sender("people", "run_1", 1)
    StateOutbox(ledger.store, clock=FixedClock(NOW)).keep(
        sender, 2**40, [Parcel(0, "k", "POST", "http://é", {}, b"\x00a", [1]), Parcel(1, "", "GET", "u", {}, None, [])], {},
        Pledge(2**40, {}, {}, [SourceRecord(1, {"a": "\ud800"}, None)]),
    )  # fmt: skip


def raw_rows(ledger: Ledger, table: Table) -> list[dict[str, Any]]:
    """Return the rows as they stand in the store: text of every value, and its type where values have one."""
    kind = "typeof" if ledger.store.is_sqlite else "pg_typeof"
    shown = ", ".join(
        f'CAST("{name}" AS TEXT) AS "{name}", CAST({kind}("{name}") AS TEXT) AS "type_{name}"'
        for name in sorted(columns(table))
    )
    with ledger.store.transaction(writing=False) as connection:
        return sorted(connection.fetch(f"SELECT {shown} FROM {table.name}"), key=repr)


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_sqlalchemy_would_have_stored_the_same(still: Ledger, table: Table) -> None:
    record(still)
    plain = raw_rows(still, table)
    assert plain
    with still.store.write() as connection:
        rows = [dict(row) for row in connection.execute(select(table)).mappings()]
        connection.execute(delete(table))
        connection.execute(insert(table), rows)
    assert raw_rows(still, table) == plain


def test_values_come_back_through_sqlalchemy_as_they_were(still: Ledger) -> None:
    record(still)
    with still.store.read() as connection:
        run = dict(connection.execute(select(schema.runs).where(schema.runs.c.id == "run_1")).mappings().one())
        letters = [dict(row) for row in connection.execute(select(schema.dead_letters)).mappings()]
    assert (run["started_at"], run["updated_at"], run["ended_at"]) == (BEGAN, NOW, ENDED)
    assert run["started_at"].tzinfo is UTC
    assert (run["dry_run"], run["batch_size"], run["report"]) == (True, 2**40, "r.json")
    assert run["contract_hash"] == {"extract": "é", "load": "cd"}
    assert run["params"]["deep"] == {"a": [1, None, 0.1]}
    assert (run["params"]["at"], run["params"]["odd"]) == (str(BEGAN), "\ud800")
    assert run["destinations"] == ["out/people.parquet"]
    assert {one["created_at"] for one in letters} == {ENDED, NOW}
    assert {one["redacted"] for one in letters} == {True, False}
    assert {one["updated_at"] for one in letters} == {NOW}


def test_destinations_of_the_start_stay_when_the_end_knows_none(still: Ledger) -> None:
    still.start_run(start(destinations=("out/a.csv", "out/b.csv")))
    still.finish_run(result(destinations=()))
    assert still.run("run_1").destinations == ("out/a.csv", "out/b.csv")


def test_progress_leaves_everything_else_alone(still: Ledger) -> None:
    record(still)
    before = still.run("run_1")
    still.progress("run_1", Counts(1, 2, 3, 4, 5, 6), 7)
    after = still.run("run_1")
    assert (after.counts, after.batches, after.updated_at) == (Counts(1, 2, 3, 4, 5, 6), 7, NOW)
    assert (after.status, after.params, after.destinations) == (before.status, before.params, before.destinations)


RULES = ("convert.integer", "convert.date", "converted", "a%b", "a%b.c", "axb.c", "a_b.c", "a/b.c", "a\\b.c")


@pytest.mark.parametrize("rule", ["convert", "convert.date", "a%b", "a_b", "a/b", "a\\b", "%", "none"])
def test_counting_and_listing_ask_the_same_question(ledger: Ledger, rule: str) -> None:
    ledger.add_dead_letters([letter(index=index, rule=name) for index, name in enumerate(RULES)])
    ledger.add_dead_letters([letter("run_2", index=index, rule=name) for index, name in enumerate(RULES)])
    wanted = sorted(name for name in RULES if name == rule or name.startswith(rule + "."))
    listed = ledger.dead_letters(run_id="run_1", rule=rule)
    counted = ledger.count_dead_letters(run_id="run_1", rule=rule, examples=3)
    assert sorted(one.rule for one in listed) == wanted
    assert sorted(one.rule for one in counted) == wanted
    assert sorted((example for one in counted for example in one.examples), key=lambda one: one.index) == listed


def test_an_example_is_the_whole_record_that_is_listed(ledger: Ledger) -> None:
    record(ledger)
    (counted,) = ledger.count_dead_letters(examples=3, status=None)
    assert list(counted.examples) == ledger.dead_letters(status=None)
    assert {one.redacted for one in counted.examples} == {True, False}
    assert all(one.created_at is not None and one.created_at.tzinfo is UTC for one in counted.examples)
