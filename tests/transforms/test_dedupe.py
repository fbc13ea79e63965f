"""Operation ``dedupe``: what counts as the same, which record stays, memory that is bounded and exact, resuming."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from etlctl.transforms.dedupe import Dedupe
from hypothesis import given, settings
from hypothesis import strategies as st
from operations_driver import build, ready, run_frame, run_ready, run_rows

from etlctl import ETLOrchestrator
from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.kit.key_set import KeySet
from etlctl.kit.keys import LONG, key, key_column, key_text, record_column
from etlctl.sdk import FieldSet, Scope

EAST = timezone(timedelta(hours=2))
NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)
KINDS: list[list[Any]] = [
    [1, 1.0, Decimal(1), Decimal("1.00")],
    ["1"],
    [True],
    [0, -0.0, 0.0],
    [False],
    [float("nan"), float("nan"), Decimal("NaN")],
    ["nan"],
    [float("inf"), Decimal("Infinity")],
    [2**53 + 1],
    [float(2**53)],
    [0.1],
    [Decimal("0.1")],
    [10**5000],
    [-(10**30), Decimal(-(10**30))],
    [NOON, NOON.astimezone(EAST)],
    [NOON.replace(tzinfo=None)],
    [date(2024, 1, 5)],
    [datetime(2024, 1, 5)],  # noqa: DTZ001
    ["2024-01-05"],
    [[1, "a"], (1.0, "a")],
    [["1", "a"]],
    [[]],
    [{"a": 1, "b": None}, {"a": 1.0}],
    [{"a": "1"}],
    [{}],
    ["\x00"],
    ["\\x00"],
    ["\ud800"],
    ["x" * 500],
    ["x" * 501],
    [b"x"],
    ["é"],
    ["e\u0301"],
]


def test_values_of_one_kind_are_one_key_and_no_others() -> None:
    values = [(number, value) for number, same in enumerate(KINDS) for value in same]
    for one, first in values:
        for other, second in values:
            assert (key_text([first]) == key_text([second])) == (one == other), (first, second)
            assert (key(first) == key(second)) == (one == other), (first, second)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=2, max_size=6))
def test_the_key_of_several_fields_is_told_apart(pairs: list[tuple[str, str]]) -> None:
    assert len({key_text(pair) for pair in pairs}) == len(set(pairs))


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "a": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
                "b": st.none() | st.integers(-(2**63), 2**63 - 1),
                "c": st.none() | st.floats(),
                "d": st.none() | st.booleans(),
                "e": st.none() | st.dates(),
                "f": st.none() | st.lists(st.integers(0, 2), max_size=2),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_keys_of_columns_are_those_of_values(records: list[dict[str, Any]]) -> None:
    schema = {"a": pl.String, "b": pl.Int64, "c": pl.Float64, "d": pl.Boolean, "e": pl.Date, "f": pl.List(pl.Int64)}
    frame = pl.DataFrame(records, schema=schema)
    for names in (["a"], ["b", "a"], list(schema), ["missing", "d"]):
        assert key_column(frame, names).to_list() == [key_text([row.get(name) for name in names]) for row in records]
    assert record_column(frame).to_list() == [key_text([row]) for row in records]


def test_long_keys_are_kept_as_digests() -> None:
    assert len(key_text(["x" * 10_000])) == 65 < LONG


# --- the set ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [1 << 30, 20_000, 1])
@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_key_set_is_a_set_in_memory_and_on_disk(memory: int, size: int) -> None:
    chance = random.Random(size)
    keys = [f"s{chance.randrange(3000)}" for _ in range({1: 300, 7: 1500}.get(size, 6000))]
    made, known = KeySet(memory), set()
    for start in range(0, len(keys), size):
        expected = []
        for each in keys[start : start + size]:
            expected.append(each not in known)
            known.add(each)
        assert made.add(keys[start : start + size]).to_list() == expected
    assert len(made) == len(known)
    assert (made.on_disk > 0) == (memory < 24 * len(known))


def test_keys_of_the_same_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Series, "hash", lambda self, _seed: pl.Series([7] * self.len(), dtype=pl.UInt64))
    made = KeySet()
    assert made.add(["a", "b", "a"]).to_list() == [True, True, False]
    assert made.add(["c", "b", "d", "a", "c"]).to_list() == [True, False, True, False, False]
    assert len(made) == 4


def test_a_million_keys_take_about_25_megabytes() -> None:
    made = KeySet()
    for start in range(0, 1_000_000, 100_000):
        made.add(pl.select("n" + pl.int_range(start, start + 100_000).cast(pl.String) + ";").to_series())
    assert made.size == 24_000_000
    made.add(["x" * 20])
    assert made.size == 24_000_044


# --- the operation ---------------------------------------------------------------------------------------------------


def dedupe(options: Any) -> Dedupe:
    operation = build(Dedupe, options)
    assert isinstance(operation, Dedupe)
    return operation


RECORDS = [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}, {"id": 1, "n": "c"}, {"id": None, "n": "d"}, {"n": "e"}]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("id", "abde"),
        (["id"], "abde"),
        ({"by": "id", "keep": "last"}, "bcde"),
        ({"by": "id", "within": "batch"}, "abde"),
        ({}, "abcde"),
        (None, "abcde"),
        ({"by": ["id", "n"]}, "abcde"),
    ],
)
def test_one_record_per_key_stays(options: Any, kept: str) -> None:
    assert "".join(each["n"] for each in run_rows([dedupe(options)], RECORDS).records) == kept
    frame = pl.DataFrame(RECORDS)
    outcome = run_frame([dedupe(options)], frame)
    assert "".join(each["n"] for each in outcome.records) == kept
    assert outcome.forms == ["frame"]
    assert run_rows([dedupe(options)], []).records == []
    assert run_frame([dedupe(options)], frame.clear()).records == []


def test_rows_and_frames_share_one_memory_over_chunks() -> None:
    steps = ready([dedupe("id")])
    chunks = [
        Batch.of_frame(pl.DataFrame({"id": [1, 2]}), {}),
        Batch.of_rows([{"id": 2.0}, {"id": "2"}, {"id": 3}], {}),
        Batch.of_frame(pl.DataFrame({"id": ["2", "x"]}), {}),
        Batch.of_frame(pl.DataFrame({"id": [3.0, 4.5]}), {}),
        Batch.of_frame(pl.DataFrame({"other": [1]}), {}),
        Batch.of_rows([{"id": 4.5}], {}),
    ]
    kept = [[record.get("id") for record in run_ready(steps, chunk).records] for chunk in chunks]
    assert kept == [[1, 2], ["2", 3], ["x"], [4.5], [None], []]


def test_a_rejected_duplicate_names_its_key() -> None:
    operation = dedupe({"by": ["id", "n"], "on_duplicate": "reject"})
    given = [{"id": 1, "n": "x"}, {"id": 1, "n": "x"}, {"id": 1}]
    told = "a record of the same key (id 1, n 'x') comes before it"
    for outcome in (run_rows([operation], given), run_frame([operation], pl.DataFrame(given))):
        assert outcome.refused == [(1, "0.dedupe", "dedupe.duplicate", told)]


def test_what_it_needs_to_see_follows_from_the_options() -> None:
    assert (dedupe("a").scope, dedupe("a").remembers, dedupe("a").by_batch) == (Scope.record, True, False)
    last = dedupe({"by": "a", "keep": "last"})
    assert (last.scope, last.remembers, last.by_batch) == (Scope.batch, False, False)
    assert dedupe({"within": "batch"}).by_batch
    with pytest.raises(FatalError, match="cannot keep the last record of the run"):
        ready([last], whole=False)
    assert ready([dedupe({"by": "a", "keep": "last", "within": "batch"})], whole=False)
    assert [each.field for each in dedupe(["a", "b"]).effect(FieldSet({"a": "any"}, closed=True)).problems] == ["b"]


def test_a_run_has_no_memory_of_the_run_before_and_a_resumed_one_has(tmp_path: Path) -> None:
    folder = tmp_path / "contracts" / "c"
    folder.mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("name: t\n")
    records = [{"id": n % 30, "n": n} for n in range(100)]
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records))
    (folder / "extract.yaml").write_text("type: file\npath: in.jsonl\nbatch_size: 10\nprocessing_mode: streaming\n")
    (folder / "transform.yaml").write_text(
        "transform:\n- dedupe: id\n- custom_function: {module: once, function: work, mode: batch}\n"
    )
    (folder / "once.py").write_text(
        "import pathlib\n"
        "def work(records):\n"
        "    flag = pathlib.Path(__file__).with_name('failed')\n"
        "    if any(record['n'] == 25 for record in records) and not flag.exists():\n"
        "        flag.touch()\n"
        "        raise ValueError('once')\n"
        "    return records\n"
    )
    (folder / "load.yaml").write_text(
        "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\nwrite_method: append\n"
    )
    failed = asyncio.run(ETLOrchestrator(folder).run())
    assert not failed.success
    done = asyncio.run(ETLOrchestrator(folder).run(resume=True, checkpoint_id=failed.checkpoint_id))
    assert done.success, done.error
    with sqlite3.connect(folder / "out.db") as database:
        assert database.execute("SELECT id, n FROM t").fetchall() == [(n, n) for n in range(30)]
    assert (done.counts.extracted, done.counts.filtered, done.counts.loaded) == (100, 70, 30)
