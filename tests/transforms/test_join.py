"""Operation ``join``: matches, both sides' leftovers, names, limits; its source is checked, guarded and read once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from etlctl.transforms.join import Join
from operations_driver import build, ready, run_frame, run_rows
from pydantic import PrivateAttr, ValidationError

from etlctl import ETLOrchestrator, faults
from etlctl.batch import Batch, Rejection, rows_to_frame
from etlctl.contract.compile import check, load_contract
from etlctl.contract.render import full
from etlctl.errors import ContractError, FatalError
from etlctl.sdk import Extractor, FieldSet, ReadContext

LEFT = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}, {"id": 3, "v": "c"}]
RIGHT = [{"id": 1, "v": "A", "w": "x"}, {"id": 1, "v": "AA", "w": "y"}, {"id": 4, "v": "D", "w": "z"}]
APART = {"id": "id_right", "v": "v_right", "w": "w"}


class Given(Extractor):
    """Gives some chunks."""

    _chunks: list[Batch] = PrivateAttr(default_factory=list)

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        for chunk in self._chunks:
            yield chunk


def join(*chunks: Batch | list[dict[str, Any]], **options: Any) -> Join:
    source = Given()
    source._chunks = [Batch.of_rows(each, {}) if isinstance(each, list) else each for each in chunks]
    operation = build(Join, {"with": {"type": "given"}, **options}).with_sources({"with": (source,)}, ".")
    assert isinstance(operation, Join)
    return operation


def seed_case(left: list[Any], right: list[Any]) -> list[dict[str, Any]]:
    names = ("id", "v", "id_right", "v_right", "w")
    none = (None, None, None)
    return [
        dict(zip(names, [*(one or (None, None)), *(other or none)], strict=True))
        for one, other in zip(left, right, strict=True)
    ]


A, B, C = (1, "a"), (2, "b"), (3, "c")
X, Y, Z = (1, "A", "x"), (1, "AA", "y"), (4, "D", "z")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("left", seed_case([A, A, B, C], [X, Y, None, None])),
        ("right", seed_case([A, A, None], [X, Y, Z])),
        ("outer", seed_case([A, A, B, C, None], [X, Y, None, None, Z])),
        ("inner", seed_case([A, A], [X, Y])),
    ],
)
def test_the_joins_of_the_seed(how: str, expected: list[dict[str, Any]]) -> None:
    """Cases ot-join-left, ot-join-right and ot-join-outer; the names of the right side are given."""
    operation = join(RIGHT, on={"id": "id"}, how=how, select=APART)
    assert run_rows([operation], LEFT).records == expected
    assert run_frame([operation], pl.DataFrame(LEFT)).records == expected
    framed = join(Batch.of_frame(pl.DataFrame(RIGHT), {}), on={"id": "id"}, how=how, select=APART)
    assert run_frame([framed], pl.DataFrame(LEFT)).records == expected


def test_one_key_field_tells_the_key_of_both_sides() -> None:
    operation = join(RIGHT, on="id", how="outer", suffix="_right")
    assert run_rows([operation], LEFT).records[-1] == {"id": 4, "v": None, "v_right": "D", "w_right": "z"}


@pytest.mark.parametrize(
    ("options", "kept", "rules"),
    [
        ({"how": "inner"}, "aa", []),
        ({"how": "inner", "unmatched": "reject"}, "aa", ["join.unmatched", "join.unmatched"]),
        ({"on_many": "first"}, "abc", []),
        ({"on_many": "reject"}, "bc", ["join.many"]),
        ({"how": "inner", "on_many": "reject"}, "", ["join.many"]),
    ],
)
def test_records_without_a_match_and_with_several(options: dict[str, Any], kept: str, rules: list[str]) -> None:
    operation = join(RIGHT, on="id", prefix="r_", **options)
    for outcome in (run_rows([operation], LEFT), run_frame([operation], pl.DataFrame(LEFT))):
        assert "".join(record["v"] for record in outcome.records) == kept
        assert [rule for _, _, rule, _ in outcome.refused] == rules
    assert run_frame([operation], pl.DataFrame(LEFT)).forms[0] in {"frame", "mixed"}


def test_keys_are_compared_by_kind_and_null_matches_nothing() -> None:
    right = [{"k": key, "n": number} for number, key in enumerate((1, "1", True, None, [1], {"a": 1, "b": None}))]
    given = [{"k": key} for key in (1.0, "1", True, None, [1.0], {"a": 1}, 0, "x", float("nan"))]
    found = [record["n"] for record in run_rows([join(right, on="k")], given).records]
    assert found == [0, 1, 2, None, 4, 5, None, None, None]


@pytest.mark.parametrize("right", [[], [{"k": None}], [{"j": 1}]])
def test_a_right_side_without_matches(right: list[dict[str, Any]]) -> None:
    operation = join(right, on={"a": "k"} if right != [{"j": 1}] else {"a": "j"})
    assert run_rows([operation], [{"a": None}, {}, {"a": 2**200}]).records == [{"a": None}, {}, {"a": 2**200}]
    assert run_frame([operation], pl.DataFrame({"a": ["x"]})).records == [{"a": "x"}]
    assert run_rows([operation], []).records == []


def test_a_field_of_both_sides_is_an_error_with_a_way_out() -> None:
    operation = join(RIGHT, on="id")
    for run, given in ((run_rows, LEFT), (run_frame, pl.DataFrame(LEFT))):
        with pytest.raises(FatalError, match="both sides of the join have a field 'v'") as caught:
            run([operation], given)
        assert "select: {v: other_name}" in (caught.value.help or "")


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (join(RIGHT, on={"id": "nr"}), "the right side of the join has no field 'nr'"),
        (join(RIGHT, on="id", select=["x"]), "has no field 'x'"),
        (join(RIGHT, RIGHT, on="id", max_records=5), "has more than 5 records"),
    ],
)
def test_what_is_wrong_with_the_right_side_ends_the_run(operation: Join, problem: str) -> None:
    with pytest.raises(FatalError, match=problem):
        ready([operation])


def test_a_record_of_the_right_side_that_cannot_be_read_ends_the_run() -> None:
    bad = Rejection(0, "extract", "extract", "csv.columns", "has 3 values", "raw", location="right.csv:7")
    with pytest.raises(FatalError, match=r"cannot be read \(right.csv:7\): has 3 values"):
        ready([join(Batch.of_rows([], {}, rejected=[bad]), on="id")])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"on": []}, "at least 1"),
        ({"on": "id", "unmatched": "reject"}, "goes with how: inner"),
        ({"on": "id", "select": {"a": "x", "b": "x"}}, "two fields the name x"),
        ({"on": "id", "how": "cross"}, "'left', 'inner', 'right' or 'outer'"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        join([], **options)


def test_right_and_outer_need_the_whole_set() -> None:
    for how in ("right", "outer"):
        with pytest.raises(FatalError, match="must see every record"):
            ready([join(RIGHT, on="id", how=how)], whole=False)
    assert ready([join(RIGHT, on="id")], whole=False)


def test_mixed_chunks_of_the_right_side_keep_every_value() -> None:
    chunks = [Batch.of_frame(rows_to_frame([{"id": 1, "n": 2}]), {}), Batch.of_rows([{"id": "1", "n": 2.5}], {})]
    operation = join(*chunks, on="id")
    assert run_rows([operation], [{"id": 1}, {"id": "1"}]).records == [{"id": 1, "n": 2}, {"id": "1", "n": 2.5}]
    assert run_frame([operation], pl.DataFrame({"id": [1]})).records == [{"id": 1, "n": 2}]


def test_the_effect_without_knowledge_of_the_right_side_is_open() -> None:
    known = FieldSet({"id": "integer"}, closed=True)
    assert not join(RIGHT, on="id").effect(known).closed
    after = join(RIGHT, on="id", select={"w": "x"}).effect(known)
    assert (after.closed, after.types) == (True, {"id": "integer", "x": "any"})
    assert [each.field for each in join(RIGHT, on="nr", select=["w"]).effect(known).problems] == ["nr"]


# --- in a contract ---------------------------------------------------------------------------------------------------


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    folder = tmp_path / "contracts" / "orders"
    folder.mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("name: t\n")
    (folder / "in.csv").write_text("id,country\n" + "".join(f"{n},{'DE' if n % 2 else 'FR'}\n" for n in range(100)))
    (folder / "countries.csv").write_text("country,name\nDE,Germany\nFR,France\n")
    (folder / "extract.yaml").write_text("type: file\npath: in.csv\nprocessing_mode: streaming\nbatch_size: 10\n")
    write(folder, "{with: {type: file, path: countries.csv}, on: country}")
    (folder / "load.yaml").write_text(
        "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\nwrite_method: append\n"
    )
    return folder


def write(folder: Path, *joins: str, more: str = "") -> None:
    steps = "".join(f"- join: {each}\n" for each in joins)
    (folder / "transform.yaml").write_text(f"transform:\n{steps}{more}")


def run(folder: Path, **options: Any) -> Any:
    return asyncio.run(ETLOrchestrator(folder).run(**options))


def rows(folder: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "out.db") as database:
        return database.execute("SELECT * FROM t ORDER BY CAST(id AS INTEGER)").fetchall()


def test_a_run_joins(orders: Path) -> None:
    result = run(orders)
    assert result.success, result.error
    assert rows(orders) == [(str(n), "DE" if n % 2 else "FR", "Germany" if n % 2 else "France") for n in range(100)]
    assert result.steps[1].form == "frame"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{with: {path: x.csv}, on: a}", "transform.yaml:2:10 E202 'with' needs 'type': it names the extractor"),
        ("{with: {type: flie}, on: a}", "transform.yaml:2:23 E301 unknown extract type 'flie'"),
        ("{with: {type: file}, on: a}", "transform.yaml:2:10 E202 extract type 'file' needs 'path'"),
        ("{with: {type: file, pth: x}, on: a}", "transform.yaml:2:29 E201 unknown key 'pth' in extract type 'file'"),
        ("{with: {type: file, path: 5}, on: a}", "transform.yaml:2:35 E203 'transform[0].join.with.path' must be"),
        ("{with: {type: 5}, on: a}", "transform.yaml:2:23 E203 'type' must be the name of the extractor, not 5"),
        ("{with: file, on: a}", "transform.yaml:2:16 E203 'transform[0].join.with' must be a mapping, not 'file'"),
        ('{with: {type: file, path: "${env:NO_SUCH}"}, on: a}', "E402 environment variable 'NO_SUCH' is not set"),
        ('{with: {type: file, path: "${param:q}"}, on: a}', "E402 parameter 'q' has no value"),
        ("{with: {type: file, path: countries.csv, batch_size: 5}, on: a}", "E201 unknown key 'batch_size'"),
        ("{with: {type: file, path: countries.csv}, on: contry}", "E501 field 'contry' does not exist here"),
        ("{with: {type: file, path: in.csv}, on: id}", "E503 both sides of the join have a field 'country'"),
        ("{with: {type: file, path: countries.csv}, on: country, select: [nme]}", "E501 field 'nme' does not exist"),
    ],
)
def test_validate_looks_into_the_section(orders: Path, options: str, expected: str) -> None:
    write(orders, options)
    assert expected in full(check(orders, environ={}))


def test_variables_are_filled_in_as_in_extract(orders: Path) -> None:
    write(orders, '{with: {type: file, path: "${env:FOLDER}/${which}.csv"}, on: country}')
    assert check(orders, environ={"FOLDER": "."}, params={"which": "countries"}) == []
    environ = {"FOLDER": str(orders)}
    contract = load_contract(orders, environ=environ, params={"which": "countries"})
    assert contract.steps[0].operation.places(orders) == ((orders / "countries.csv").resolve(),)
    with pytest.raises(ContractError):
        load_contract(orders, environ=environ)


def test_secrets_of_the_section_are_known_to_be(orders: Path) -> None:
    write(orders, '{with: {type: file, path: "${secret:PLACE}"}, on: country}')
    with pytest.raises(ContractError) as refused:
        load_contract(orders, environ={"ETLCTL_SECRET_PLACE": "very-secret.csv"})
    assert "***" in str(refused.value)
    assert "very-secret" not in str(refused.value)
    (orders / "very-secret.csv").write_text((orders / "countries.csv").read_text())
    contract = load_contract(orders, environ={"ETLCTL_SECRET_PLACE": "very-secret.csv"})
    assert "very-secret.csv" in contract.secrets


def test_validate_finds_a_right_side_that_is_not_there(orders: Path) -> None:
    (orders / "countries.csv").unlink()
    (found,) = check(orders)
    assert "the right side of the join: File not found" in found.message


def test_nothing_is_written_where_the_right_side_is_read(orders: Path) -> None:
    (orders / "load.yaml").write_text("type: file\npath: countries.csv\n")
    result = run(orders)
    assert "would write where it reads" in result.error
    assert (orders / "countries.csv").read_text().startswith("country,name")


def test_a_changed_right_side_is_not_resumed_just_so(orders: Path) -> None:
    faults.arm("load.before_commit:3=fail")
    try:
        failed = run(orders)
    finally:
        faults.arm(None)
    assert 0 < failed.counts.loaded < 100
    (orders / "countries.csv").write_text("country,name\nDE,Deutschland\nFR,France\n")
    again = run(orders, resume=True, checkpoint_id=failed.checkpoint_id)
    assert "countries.csv changed" in again.error


def test_an_outer_join_is_refused_batch_by_batch(orders: Path) -> None:
    write(orders, "{with: {type: file, path: countries.csv}, on: country, how: outer}")
    assert [found.code for found in check(orders)] == ["W601"]
    assert "must see every record" in run(orders).error


def test_an_empty_left_side_gives_nothing(orders: Path) -> None:
    (orders / "in.csv").write_text("id,country\n")
    write(orders, "{with: {type: file, path: countries.csv}, on: country, how: outer}")
    result = run(orders, mode="full")
    assert (result.success, result.counts.loaded) == (True, 0)


def test_counts_of_an_outer_join_balance(orders: Path) -> None:
    (orders / "countries.csv").write_text("country,name\nDE,Germany\nDE,Deutschland\nXX,nowhere\n")
    write(orders, "{with: {type: file, path: countries.csv}, on: country, how: outer}")
    (orders / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    result = run(orders, mode="full")
    assert result.success, result.error
    found = [json.loads(line) for line in (orders / "out.jsonl").read_text().splitlines()]
    assert len(found) == 151
    assert found[-1] == {"id": None, "country": "XX", "name": "nowhere"}
    assert (result.counts.extracted, result.counts.added, result.counts.loaded) == (100, 51, 151)


def test_leftovers_of_a_right_side_that_is_no_table_come_along() -> None:
    """Values of several kinds have no frame form; the right side is rows then."""
    right = [{"id": 1, "w": "x"}, {"id": "1", "w": "y"}, {"id": 2.5, "w": "z"}]
    outcome = run_rows([join(right, on="id", how="outer")], [{"id": 1, "v": "a"}], whole=True)
    assert outcome.records == [
        {"id": 1, "v": "a", "w": "x"},
        {"id": "1", "v": None, "w": "y"},
        {"id": 2.5, "v": None, "w": "z"},
    ]


@pytest.mark.parametrize("options", [{}, {"on_many": "first"}, {"on_many": "reject"}, {"how": "inner"}])
def test_a_large_right_side_is_joined_like_a_small_one(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = rows_to_frame([{"id": n % 7 if n % 5 else None, "n": n} for n in range(40)])
    right = Batch.of_frame(rows_to_frame([{"id": n % 9 or None, "w": n} for n in range(20)]), {})
    small = run_frame([join(right, on="id", **options)], left)
    monkeypatch.setattr("etlctl.transforms.join._LARGE", 1)
    large = run_frame([join(right, on="id", **options)], left)
    assert large == small
    assert large.records == run_rows([join(right, on="id", **options)], left.to_dicts()).records
    assert large.forms[0] != "rows"
