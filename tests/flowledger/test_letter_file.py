"""``dead_letters.path``: the dead letters of a run as a file, written when it ends in whatever way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from daily import lines

from etlctl import ETLOrchestrator
from etlctl.run import RunResult

FIELDS = ["id", "rule", "message", "field", "location", "stage", "step", "raw"]


class Shop:
    """A contract that converts ``n`` to an integer."""

    def __init__(self, root: Path, load: str = "", extract: str = "") -> None:
        self.root = root
        (root / "etlctl.yaml").write_text("name: t\n", encoding="utf-8")
        self.folder = root / "contracts" / "c"
        self.folder.mkdir(parents=True)
        self.write("extract", f"type: file\npath: in.jsonl\nbatch_size: 2\n{extract}")
        self.write("transform", "transform:\n  convert: {n: integer}\n")
        self.write("load", f"type: file\npath: out.jsonl\n{load or 'dead_letters: {path: bad/letters.jsonl}'}\n")
        self.letters = self.folder / "bad" / "letters.jsonl"

    def write(self, part: str, text: str) -> None:
        (self.folder / f"{part}.yaml").write_text(text, encoding="utf-8")

    def reports(self) -> list[Path]:
        return list((self.root / ".etlctl" / "reports").iterdir())

    async def run(self, *values: Any, **options: Any) -> RunResult:
        if values:
            text = "".join(json.dumps({"n": value}) + "\n" for value in values)
            (self.folder / "in.jsonl").write_text(text, encoding="utf-8")
        return await ETLOrchestrator(self.folder, warn=lambda _: None).run(**options)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.delenv("ETLCTL_STATE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path)


async def test_the_file_has_every_dead_letter_in_the_order_of_the_source(shop: Shop) -> None:
    result = await shop.run(1, "x", 2, None, "ÿ", 3)
    assert (str(result.status), result.exit_code) == ("partial", 4), "a path alone is no budget"
    first, second = lines(shop.letters)
    assert list(first) == FIELDS
    assert first["id"].startswith(f"dl_{result.run_id.removeprefix('run_')}_1_1")
    assert (first["rule"], first["field"], first["stage"]) == ("convert.integer", "n", "transform")
    assert (first["location"], first["raw"]) == ("in.jsonl:2", {"n": "x"})
    assert "'x' is not an integer" in first["message"]
    assert second["raw"] == {"n": "ÿ"}
    assert sorted(path.name for path in shop.letters.parent.iterdir()) == ["letters.jsonl"]


async def test_many_pages(shop: Shop) -> None:
    await shop.run(*(f"x{number}" for number in range(2501)))
    assert [one["raw"]["n"] for one in lines(shop.letters)] == [f"x{number}" for number in range(2501)]


async def test_equal_bad_records_are_two_dead_letters(shop: Shop) -> None:
    """Case ot-dlq-same-bad-row-twice."""
    from daily import ROOT
    from yaml import safe_load

    cases = safe_load((ROOT / "tests" / "cases" / "recovery_cases.yaml").read_text(encoding="utf-8"))["cases"]
    case = next(one for one in cases if one["id"] == "ot-dlq-same-bad-row-twice")
    shop.write("transform", "transform:\n  convert: {email: integer}\n")
    text = "".join(json.dumps(row) + "\n" for row in case["given"]["rows"])
    (shop.folder / "in.jsonl").write_text(text, encoding="utf-8")
    result = await shop.run()
    assert result.counts.rejected == case["expect"]["dlq_records"]
    assert len({one["id"] for one in lines(shop.letters)}) == case["expect"]["dlq_records"]


async def test_without_any_there_is_no_file_and_a_stale_one_goes(shop: Shop) -> None:
    assert (await shop.run(1)).success
    assert not shop.letters.parent.exists()
    await shop.run("x")
    assert len(lines(shop.letters)) == 1
    await shop.run(1, 2)
    assert not shop.letters.exists()


async def test_the_file_of_another_stream_stays(shop: Shop) -> None:
    shop.write("extract", "type: file\npath: in.jsonl\ninput_params: {shop: {type: string}}\n")
    await shop.run("x", params={"shop": "one"})
    before = shop.letters.read_bytes()
    await shop.run(1, params={"shop": "two"})
    assert shop.letters.read_bytes() == before


async def test_something_else_is_neither_overwritten_nor_removed(shop: Shop) -> None:
    from etlctl.errors import StateError

    shop.letters.parent.mkdir()
    shop.letters.write_text("mine\n", encoding="utf-8")
    assert (await shop.run(1)).success
    with pytest.raises(StateError, match="it holds something else") as caught:
        await shop.run(1, "x")
    assert "dead_letters.path" in str(caught.value.help)
    assert "etlctl dead-letters list --run run_" in str(caught.value.help)
    assert shop.letters.read_text(encoding="utf-8") == "mine\n"


async def test_what_was_published_is_not_overwritten(shop: Shop) -> None:
    from etlctl.errors import StateError

    shop.write("load", "type: file\npath: out.jsonl\ndead_letters: {path: out.jsonl}\n")
    with pytest.raises(StateError, match="it holds something else"):
        await shop.run(1, "x")
    assert lines(shop.folder / "out.jsonl") == [{"n": 1}]


async def test_a_run_over_its_budget_writes_them_too(shop: Shop) -> None:
    shop.write("load", "type: file\npath: out.jsonl\ndead_letters: {max: 1, path: bad/letters.jsonl}\n")
    result = await shop.run(1, "x", 2, "y")
    assert result.exit_code == 5
    assert [one["raw"]["n"] for one in lines(shop.letters)] == ["x", "y"]


async def test_a_resumed_run_writes_the_file_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from etlctl import faults

    shop.write("extract", "type: file\npath: in.jsonl\nbatch_size: 2\ncheckpoint: {interval: 1}\n")
    faults.arm("load.write:3=fail")
    try:
        failed = await shop.run(1, "x", 2, "y", 3, "z", 4, run_key="k")
    finally:
        faults.arm(None)
    assert not failed.success
    so_far = [one["raw"]["n"] for one in lines(shop.letters)]
    assert so_far[:2] == ["x", "y"]
    resumed = await shop.run(run_key="k")
    assert (resumed.success, resumed.run_id) == (True, failed.run_id)
    assert [one["raw"]["n"] for one in lines(shop.letters)] == ["x", "y", "z"]
    assert resumed.counts.rejected == 3


async def test_a_failed_run_tells_both_what_failed_and_that_the_file_could_not_be_written(shop: Shop) -> None:
    (shop.folder / "bad").write_text("in the way", encoding="utf-8")
    shop.write("load", "type: file\npath: out.jsonl\ndead_letters: {max: 0, path: bad/letters.jsonl}\n")
    result = await shop.run(1, "x")
    assert result.exit_code == 5
    assert "dead_letters.max" in str(result.error), "why the run failed comes first"
    assert str(shop.letters) in str(result.error_help)
    assert f"etlctl dead-letters list --run {result.run_id}" in str(result.error_help)
    assert [path.stem for path in shop.reports()] == [result.run_id], "the report is there all the same"


async def test_a_run_that_is_good_but_for_the_file_is_a_state_problem(shop: Shop) -> None:
    from etlctl.errors import StateError

    (shop.folder / "bad").write_text("in the way", encoding="utf-8")
    with pytest.raises(StateError, match=r"the dead letters of run_\w+: cannot write") as caught:
        await shop.run(1, "x", "y")
    assert caught.value.exit_code == 7
    assert lines(shop.folder / "out.jsonl") == [{"n": 1}]
    assert len(shop.reports()) == 1, "the report is there all the same"


async def test_a_dry_run_writes_nothing(shop: Shop) -> None:
    result = await shop.run(1, "x", dry_run=True)
    assert result.counts.rejected == 1
    assert not shop.letters.parent.exists()


async def test_secrets_are_masked(shop: Shop) -> None:
    secret = "none-of-your-business"
    shop.write("extract", "type: file\npath: ${secret:file}\n")
    (shop.folder / f"{secret}.jsonl").write_text(
        json.dumps({"n": f"say {secret}.jsonl"}) + "\n" + json.dumps({"n": 1}) + "\n", encoding="utf-8"
    )
    result = await ETLOrchestrator(
        shop.folder, warn=lambda _: None, environ={"ETLCTL_SECRET_file": f"{secret}.jsonl"}
    ).run()
    assert result.counts.rejected == 1
    text = shop.letters.read_text(encoding="utf-8")
    assert secret not in text
    assert lines(shop.letters)[0]["raw"] == {"n": "say ***"}


async def test_a_busy_run_leaves_the_file_of_the_one_that_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that never began has no dead letters, which says nothing about those of the run it met."""
    from etlctl.errors import RunBusyError
    from etlctl.state.ledger import Ledger

    first = await shop.run("x", run_key="k")
    assert first.exit_code == 4
    before = shop.letters.read_bytes()

    def busy(*_: object, **__: object) -> None:
        raise RunBusyError("somebody has it")

    monkeypatch.setattr(Ledger, "claim", busy)
    result = await shop.run(1, run_key="another")
    assert result.exit_code == 75
    assert shop.letters.read_bytes() == before


async def test_a_large_record_of_which_many_parts_are_rejected_is_written_once(shop: Shop) -> None:
    shop.write("transform", "transform:\n- unnest: n\n- convert: {n: integer}\n")
    items = [f"x{number}" + "." * 100 for number in range(200)]
    await shop.run(items)
    first, *others = lines(shop.letters)
    assert (first["raw"], "raw_of" in first) == ({"n": items}, False)
    assert {(one["raw"], one["raw_of"]) for one in others} == {(None, first["id"])}
    assert len(others) == 199
    assert shop.letters.stat().st_size < 200 * 600
