"""The acceptance cases of the SQLite loader, in every form and mode."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from etlctl.loaders.sqlite import Sqlite
from pydantic import ValidationError
from sqlite_driving import load, query
from test_load_cases import batches, source_frame

from etlctl.errors import FatalError

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "sqlite_cases.yaml").read_text(encoding="utf-8"))["cases"]


def make_table(folder: Path, given: dict[str, Any]) -> None:
    with closing(sqlite3.connect(folder / "x.db")) as connection, connection:
        if "table" in given:
            connection.execute(f"CREATE TABLE {given['table']}")
        for row in given.get("before", []):
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", row)


def batches_of(given: dict[str, Any], form: str) -> list[Any]:
    if form == "frame" and "rows" in given:
        return [pl.DataFrame(given["rows"])]
    return batches(given, form)


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
async def test_case(tmp_path: Path, case: dict[str, Any], form: str, once: bool) -> None:
    given, expect = case["given"], case["expect"]
    options = {"path": "x.db", **{key: value for key, value in given["load"].items() if key != "type"}}
    make_table(tmp_path, given)
    if "config_error" in expect:
        with pytest.raises(ValidationError, match=expect["config_error"]):
            Sqlite(**options)
        return
    if "error_contains" in expect:
        with pytest.raises(FatalError, match=expect["error_contains"]):
            await load(tmp_path, batches_of(given, form), ctx={"publish_once": once}, **options)
        return
    done = await load(tmp_path, batches_of(given, form), ctx={"publish_once": once}, **options)
    after = query(tmp_path, "SELECT * FROM t ORDER BY 1")
    told = [re.match(r"([\d,]+) of ([\d,]+) records matched no row", one) for one in done.warnings]
    unmatched = sum(int(one[1]) for one in told if one)
    found: dict[str, Any] = {
        "after": [list(row) for row in after],
        "row_count": len(after),
        "unmatched": unmatched,
        "changed": done.published.records - unmatched,
    }
    if "after_contains_json" in expect:
        first, text, *rest = expect["after_contains_json"]
        assert [[row[0], json.loads(row[1]), *row[2:]] for row in after if row[0] == first] == [
            [first, json.loads(text), *rest]
        ]
        return
    assert {key: found[key] for key in expect} == expect
    if "rows" not in given:
        assert after == sorted(source_frame().rows())
