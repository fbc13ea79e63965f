"""Extractor ``database``: what its options refuse, how URLs are told, and how a query's text is understood."""

from __future__ import annotations

from pathlib import Path

import pytest
from etlctl.extractors.database import Database
from pydantic import ValidationError

from etlctl.errors import FatalError
from etlctl.kit.sql.reading_query import read_query
from etlctl.kit.sql.urls import read_url, url_problem

URL = "postgresql://etl@localhost/shop"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "t"}, "say once where the database is"),
        ({"url": URL, "connection_string": URL, "table": "t"}, "connection_string and url are given"),
        ({"url": "localhost/shop", "table": "t"}, "url: this is no database URL"),
        ({"database": {"url": "sqlite://"}, "table": "t"}, "database: this is a SQLite database in memory"),
        ({"url": "sqlite://people.db", "table": "t"}, "needs three slashes"),
        ({"url": "postgresql://h:port/d", "table": "t"}, "the port 'port' is no number"),
        ({"url": URL}, "give either query or table"),
        ({"url": URL, "query": "SELECT 1", "table": "t"}, "not both"),
        ({"url": URL, "query": "SELECT 1", "columns": ["a"]}, "columns goes with table"),
        ({"url": URL, "query": "SELECT 1", "schema": "s"}, "schema goes with table"),
        ({"url": URL, "query": "SELECT 1; DROP TABLE t"}, "query: there are several statements"),
        ({"url": URL, "query": " -- nothing"}, "query: it is empty"),
        ({"url": URL, "query": "SELECT :a"}, "query: :a has no value; give it: params: {a: …}"),
        ({"url": URL, "query": "SELECT ':a'", "params": {"a": 1}}, "params: 'a' is not used"),
        ({"url": URL, "table": "t", "where": "a = :a"}, "where: :a has no value"),
        ({"url": URL, "table": "t", "params": {"a": 1}}, "params: 'a' is not used"),
        ({"url": URL, "table": "t", "key": ["a", "a"]}, "names a column twice"),
        ({"url": "sqlite:///a.db", "table": "t", "statement_timeout": 5}, "no effect on sqlite"),
    ],
)
def test_options_that_do_not_go_together(options, said) -> None:
    with pytest.raises(ValidationError) as refused:
        Database(**options)
    assert said in str(refused.value)


def test_what_is_not_known_yet_is_not_judged() -> None:
    made = Database(url="${env:DATABASE_URL}", query="SELECT * FROM t WHERE a > :since", params={"since": "${cursor}"})
    assert made.fields(".") is None
    assert Database(url=URL, table="t", columns=["a", "b"]).fields(".") == {"a": "any", "b": "any"}


@pytest.mark.parametrize(
    ("url", "shown", "driver"),
    [
        ("postgres://u:se/c#re?t@h/d", "postgresql://u@h/d", "postgresql+psycopg://u:se%2Fc%23re%3Ft@h/d"),
        ("postgresql+psycopg2://u:p%40w@h:1/d?sslmode=require", "postgresql://u@h:1/d", "postgresql+psycopg://u:p%40w@h:1/d?sslmode=require"),
        ("postgresql://u:a@b@h/d", "postgresql://u@h/d", "postgresql+psycopg://u:a%40b@h/d"),
        ("postgresql:///d?host=/tmp&password=hidden", "postgresql:///d", "postgresql+psycopg:///d?host=%2Ftmp&password=hidden"),
        ("mariadb://root@[::1]:3307/d", "mysql://root@::1:3307/d", "mysql+pymysql://root@[::1]:3307/d"),
        ("oracle+oracledb://u:secret@h/d", "oracle://u@h/d", "oracle+oracledb://u:secret@h/d"),
    ],
)  # fmt: skip
def test_urls(url, shown, driver) -> None:
    address = read_url(url, Path())
    assert (str(address), address.url) == (shown, driver)
    for secret in address.secrets:
        assert secret not in repr(address) + str(address)
        assert address.hide(f"login with {secret!r} failed") == "login with '***' failed"


def test_urls_of_files_start_at_the_contract(tmp_path: Path) -> None:
    assert read_url("sqlite:///a/b.db", tmp_path).file == tmp_path / "a" / "b.db"
    assert read_url(f"sqlite:///{tmp_path}/c.db", Path("/elsewhere")).file == tmp_path / "c.db"
    assert read_url("postgres://h/d", tmp_path).identity == read_url("postgresql://u:p@H:5432/d", tmp_path).identity
    with pytest.raises(FatalError, match="no database URL"):
        read_url("people.db", tmp_path)
    assert url_problem("${env:DATABASE_URL}") is None


@pytest.mark.parametrize(
    ("kind", "text", "binds"),
    [
        (
            "postgresql",
            "SELECT a::int, :x, ':no', \"a:no\", $$ :no; $$, $t$ $$ :no $t$ -- :no\n, /* :no */ :y",
            {"x", "y"},
        ),
        ("postgresql", r"SELECT E'\':no', 'a''b :no', '\', :x", {"x"}),
        ("postgresql", r"SELECT a[1:2], '12:30', \:no", set()),
        ("mysql", r"SELECT 'a\':no;', `b:no`, :x # :no;", {"x"}),
        ("sqlite", "SELECT '\\', :x;  -- the end", {"x"}),
    ],
)
def test_binds(kind, text, binds) -> None:
    query = read_query(text, kind)
    assert (query.binds, query.problem) == (binds, None)


def test_escaped_colons_are_plain_ones() -> None:
    assert read_query(r"SELECT a[1 \:n], :b", "postgresql").text(lambda name: f"<{name}>") == "SELECT a[1 :n], <b>"


@pytest.mark.parametrize(("text", "ordered"), [("SELECT 1 ORDER\n BY 1", True), ("SELECT 'order by'", False)])
def test_order(text, ordered) -> None:
    assert read_query(text, "postgresql").ordered is ordered
