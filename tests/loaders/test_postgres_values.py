"""Values in PostgreSQL: exactly what they were, or the record is rejected with the reason; whichever way they come."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_driving import column_types, execute, load, query

from etlctl.batch import rows_to_frame
from etlctl.errors import ConversionError, FatalError
from etlctl.kit.sql import postgres_copy, postgres_dml
from etlctl.kit.sql.postgres_copy import copy_csv, copy_text
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.urls import read_url

# ruff: noqa: DTZ001 - columns without a zone take times without one

EAST = timezone(timedelta(hours=2))

KEPT = [
    ("text", ["", "a,b", 'say "x"', "two\nlines", "\\N", "\\.", "a\n\\.\nb", "\r\n", "\t", " é \U0001f600", None]),
    ("text[]", [["a", None, 'x"\\'], [], None]),
    ("int[]", [[1, 2], [[1], [2]]]),
    ("bigint", [0, 2**63 - 1, -(2**63), None]),
    ("numeric", [Decimal("1.50"), Decimal("1e-30"), 10**40, None]),
    ("numeric(4,2)", [Decimal("12.34"), Decimal("1.500"), 12.25, None]),
    ("double precision", [0.1, 1e300, 5e-324, float("inf"), 123456789012345680.0, None]),
    ("real", [0.1, 1.5, None]),
    ("boolean", [True, False, None]),
    ("date", [date(1, 1, 1), date(9999, 12, 31), None]),
    ("timestamp", [datetime(2024, 1, 1), datetime(2024, 1, 1, 1, 2, 3, 4), None]),
    ("timestamptz", [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=UTC), None]),
    ("time", [time(0), time(1, 2, 3, 10_000), None]),
    ("interval", [timedelta(days=1), timedelta(microseconds=-5), timedelta(0), None]),
    ("bytea", [b"", b"\0\xff", None]),
    ("jsonb", [{"a": [1, {"b": None}], "é": "\\"}, [], [{"x": 1.5}], None]),
    ("uuid", [UUID(int=5), None]),
    ("inet", ["10.0.0.1/8", None]),
]


def as_batch(records: list[dict[str, Any]], *, framed: bool) -> Any:
    """Return records as rows or as a frame; None when no column type holds them."""
    try:
        return rows_to_frame(records) if framed else records
    except ConversionError:
        return None


@pytest.mark.parametrize("framed", [False, True])
async def test_values_are_kept(postgres_url: str, framed: bool) -> None:
    for number, (declared, values) in enumerate(KEPT):
        execute(postgres_url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id int, v {declared})")
        batch = as_batch([{"id": place, "v": value} for place, value in enumerate(values)], framed=framed)
        if batch is None:
            continue
        run = await load(postgres_url, [batch], ctx={"run_id": f"run_{number}"})
        assert (declared, [one.message for one in run.rejected]) == (declared, [])
        found = [row[1] for row in query(postgres_url, "SELECT id, v FROM t ORDER BY id")]
        if declared == "inet":
            found = [value if value is None else str(value) for value in found]
        assert (declared, found) == (declared, values)


REFUSED = [
    ("smallint", 40_000, "load.out_of_range"),
    ("int", 2**31, "load.out_of_range"),
    ("bigint", 2**63, "load.out_of_range"),
    ("bigint", 1.5, "load.type"),
    ("bigint", float("inf"), "load.type"),
    ("bigint", "many", "load.type"),
    ("numeric(4,2)", Decimal("1.005"), "load.out_of_range"),
    ("numeric(4,2)", 1.005, "load.out_of_range"),
    ("numeric(4,2)", "1.005", "load.out_of_range"),
    ("numeric(4,2)", Decimal(100), "load.out_of_range"),
    ("double precision", 2**53 + 1, "load.out_of_range"),
    ("real", 0.1234567891, "load.out_of_range"),
    ("varchar(3)", "four", "load.too_long"),
    ("text", "nul\0", "load.nul"),
    ("text", "half \ud800", "load.not_utf8"),
    ("jsonb", "{bad", "load.type"),
    ("jsonb", '"\\u0000"', "load.not_utf8"),
    ("jsonb", {"a": float("nan")}, "load.not_finite"),
    ("date", "2024-02-30", "load.out_of_range"),
    ("date", datetime(2024, 1, 1, 5), "load.type"),
    ("timestamp", "2024-01-01T00:00:00+02:00", "load.type"),
    ("timestamp(0)", datetime(2024, 1, 1, 0, 0, 0, 5), "load.out_of_range"),
    ("uuid", "nope", "load.type"),
    ("boolean", 7, "load.type"),
    ("int[]", ["x"], "load.type"),
]


@pytest.mark.parametrize("framed", [False, True])
async def test_what_a_column_would_change_is_refused(postgres_url: str, framed: bool) -> None:
    for number, (declared, value, rule) in enumerate(REFUSED):
        execute(postgres_url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id int, v {declared})")
        batch = as_batch([{"id": 1, "v": None}, {"id": 2, "v": value}, {"id": 3, "v": None}], framed=framed)
        if batch is None:
            continue
        run = await load(postgres_url, [batch], ctx={"run_id": f"run_{number}"})
        found = [(one.index, one.rule) for one in run.rejected]
        assert (declared, value, found) == (declared, value, [(1, rule)])
        assert query(postgres_url) == [(1, None), (3, None)]


async def test_texts_become_what_the_column_is_for(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (i int, n numeric(6,2), b bool, d date, z timestamptz, u uuid, j jsonb)")
    records = [
        {"i": " 7 ", "n": "1.50", "b": "yes", "d": "2024-01-02", "z": "2024-01-02T03:04:05+02:00",
         "u": str(UUID(int=1)), "j": '{"a": 1}'},
    ]  # fmt: skip
    run = await load(postgres_url, [pl.DataFrame(records)])
    assert run.rules == []
    assert [one for one in run.drift if one.kind == "type_changed"] == []
    assert query(postgres_url) == [
        (7, Decimal("1.50"), True, date(2024, 1, 2), datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC), UUID(int=1), {"a": 1})
    ]


async def test_times_with_a_zone_are_in_utc_where_the_column_has_none(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (at timestamp)")
    noon = datetime(2024, 1, 1, 12, tzinfo=EAST)
    await load(postgres_url, [[{"at": noon}], pl.DataFrame({"at": [noon.astimezone(UTC)]})])
    assert query(postgres_url) == [(datetime(2024, 1, 1, 10),), (datetime(2024, 1, 1, 10),)]


@pytest.mark.parametrize(
    ("policy", "loaded", "rules"),
    [
        ("evolve", [(1,), (2,)], ["load.type"]),
        ("drop_row", [(1,), (2,)], ["load.changed_type"]),
        ("drop_value", [(1,), (2,), (None,)], []),
    ],
)
async def test_changed_types_are_told_and_handled(postgres_url: str, policy: str, loaded: Any, rules: Any) -> None:
    execute(postgres_url, "CREATE TABLE t (n int)")
    evolution = {"new_fields": "freeze", "changed_types": policy}
    run = await load(postgres_url, [[{"n": "1"}, {"n": "2"}, {"n": "a lot"}]], schema_evolution=evolution)
    assert (query(postgres_url), run.rules) == (loaded, rules)
    assert [(one.field, one.kind, one.action) for one in run.drift] == [("n", "type_changed", policy)]


async def test_changed_types_can_end_the_run(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (n int)")
    with pytest.raises(FatalError, match="has changed its type"):
        await load(postgres_url, [[{"n": "a lot"}]], schema_evolution={"changed_types": "freeze"})


async def test_mixed_values_get_a_column_that_holds_them(postgres_url: str) -> None:
    records = [
        {"a": 1, "b": 1, "c": {"x": 1}, "d": "s", "e": True, "f": 2**70},
        {"a": 2.5, "b": "two", "c": [1], "d": 5, "e": 1, "f": 1},
    ]
    run = await load(postgres_url, [records], create_table=True)
    assert run.rules == []
    assert column_types(postgres_url) == {
        "a": "numeric", "b": "text", "c": "jsonb", "d": "text", "e": "text", "f": "numeric",
    }  # fmt: skip
    assert query(postgres_url, "SELECT a::text, b, c, d, e, f FROM t ORDER BY a") == [
        ("1.0", "1", {"x": 1}, "s", "true", Decimal(2**70)), ("2.5", "two", [1], "5", "1", Decimal(1)),
    ]  # fmt: skip


async def test_odd_names_are_just_names(postgres_url: str) -> None:
    names = ['a"b', "a%sb", "select", "Upper", "é", "a b", "*", "^x$", "?", "{}"]
    record = {name: number for number, name in enumerate(names)}
    for once in (False, True):
        execute(postgres_url, 'DROP TABLE IF EXISTS "o%d""d"')
        run = await load(
            postgres_url, [[record], pl.DataFrame([record]), [{**record, names[0]: 9, "new%": 1}]], table='o%d"d',
            create_table=True, write_method="upsert", primary_key=names[:2], schema_evolution="evolve",
            ctx={"publish_once": once, "run_id": f"run_{once}"},
        )  # fmt: skip
        assert run.rules == []
        assert query(postgres_url, 'SELECT * FROM "o%d""d" ORDER BY 1') == [
            (*range(10), None), (9, *range(1, 10), 1),
        ]  # fmt: skip


async def test_a_name_the_server_would_cut_off_is_refused(postgres_url: str) -> None:
    with pytest.raises(FatalError, match="63 bytes"):
        await load(postgres_url, [[{"x" * 64: 1}]], create_table=True)


texts = st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), st.sampled_from(["\\.", "\n\\.\n", '"', "\\N", ""]))  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, texts), max_size=8), st.booleans())
async def test_any_text_comes_back(
    postgres_url: str, pairs: list[tuple[str | None, str | None]], careful: bool
) -> None:

    database = PostgresDatabase(read_url(postgres_url, Path()))
    frame = pl.DataFrame(
        {"a": [a for a, _ in pairs], "b": [b for _, b in pairs]}, schema={"a": pl.String, "b": pl.String}
    )
    try:
        for width in (1, 2):
            database.begin()
            database.execute("CREATE TEMPORARY TABLE x (n serial, a text, b text) ON COMMIT DROP")
            (copy_text if careful else copy_csv)(database, "x", frame[:, :width])
            found = database.execute("SELECT a, b FROM x ORDER BY n").fetchall()
            database.rollback()
            assert [row[:width] for row in found] == [pair[:width] for pair in pairs]
    finally:
        database.close()


@pytest.mark.parametrize("method", ["insert", "upsert", "replace"])
@pytest.mark.parametrize("framed", [False, True])
async def test_bad_rows_anywhere_take_no_good_ones_along(postgres_url: str, method: str, framed: bool) -> None:
    """References have no line, checks have one, and texts the server must read for itself do: all in one batch."""
    execute(
        postgres_url,
        "CREATE TABLE kind (k int PRIMARY KEY)",
        "INSERT INTO kind VALUES (0), (1), (2)",
        "CREATE TABLE t (id int PRIMARY KEY, k int REFERENCES kind, n int CHECK (n <> 3), d date NOT NULL)",
    )
    records = [
        {"id": number, "k": 9 if number % 401 == 300 else number % 3, "n": number % 97, "d": "2024-13-01\nx" if number % 500 == 7 else "2024-01-01"}
        for number in range(3_000)
    ]  # fmt: skip
    bad = {one["id"] for one in records if one["k"] > 2 or one["n"] == 3 or one["id"] % 500 == 7}
    run = await load(
        postgres_url, [pl.DataFrame(records) if framed else records], write_method=method, primary_key="id"
    )
    assert {one.index for one in run.rejected} == bad
    assert {row[0] for row in query(postgres_url, "SELECT id FROM t")} == {one["id"] for one in records} - bad
    messages = {one.index: one.message for one in run.rejected}
    assert "2024-13-01" in messages[7]
    assert "t_n_check" in messages[3]
    assert "kind" in messages[300]


@pytest.mark.parametrize(("rule", "most"), [("id int REFERENCES p", 100), ("id int CHECK (id >= 0)", 30)])
async def test_statements_grow_with_the_bad_rows_and_not_with_the_good_ones(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, rule: str, most: int
) -> None:
    """Halving finds a record among n in log n steps; where the server names the line, it takes no search at all."""
    execute(postgres_url, "CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p SELECT generate_series(0, 49999)",
            f"CREATE TABLE t ({rule}, v text)")  # fmt: skip
    counted = []
    copy = postgres_copy.copy_text
    monkeypatch.setattr(postgres_dml, "copy_text", lambda *given: (counted.append(1), copy(*given))[1])
    records = [{"id": number, "v": "x"} for number in range(20_000)]
    for place in (3, 9_999, 17_000):
        records[place] = {"id": -place, "v": "x"}
    run = await load(postgres_url, [pl.DataFrame(records)])
    assert {one.index for one in run.rejected} == {3, 9_999, 17_000}
    assert 0 < len(counted) < most, len(counted)


async def test_a_trigger_that_raises_refuses_just_its_record(postgres_url: str) -> None:
    execute(
        postgres_url,
        "CREATE TABLE t (id int)",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.id = 2 THEN RAISE EXCEPTION 'no twos'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
    )
    run = await load(postgres_url, [[{"id": 1}, {"id": 2}, {"id": 3}]])
    assert [(one.index, "no twos" in one.message) for one in run.rejected] == [(1, True)]


async def test_constraints_that_wait_for_the_commit_do_not(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    run = await load(postgres_url, [[{"id": 1}, {"id": 2}, {"id": 1}]])
    assert [(one.index, one.rule) for one in run.rejected] in ([(2, "load.constraint")], [(0, "load.constraint")])
    assert sorted(query(postgres_url)) == [(1,), (2,)]
