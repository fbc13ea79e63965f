"""Replayed dead letters: today's contract, every record once, and clear words for those that cannot be replayed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etlctl.engine.services import StopRequest
from etlctl.errors import CheckpointError, NotInLedgerError, StateError
from etlctl.faults import POINTS
from etlctl.orchestrator import ETLOrchestrator, replay_book
from etlctl.orchestrator.replay_book import Wanted
from etlctl.orchestrator.replay_text import Selection
from etlctl.run import RunStatus

sys.path.insert(0, str(Path(__file__).parent))

from replaying import BAD, FIXED, HALF_FIXED, JSONL, SQLITE, STRICT, Shop, every, shop

LOADS = {
    "sqlite": SQLITE,
    "sqlite upsert": SQLITE.replace("append", "upsert") + "primary_key: id\n",
    "sqlite replace": SQLITE.replace("append", "replace"),
    "jsonl": JSONL,
    "jsonl replace": JSONL.replace("append", "replace"),
    "csv": "type: file\npath: out.csv\nwrite_method: append\n",
    "parts": "type: file\npath: out/\nformat: jsonl\nwrite_method: append\n",
}


@pytest.mark.parametrize("load", ["sqlite", "sqlite upsert", "sqlite replace", "jsonl", "jsonl replace"])
def test_reject_correct_the_contract_replay(tmp_path: Path, load: str) -> None:
    orders = shop(tmp_path, LOADS[load])
    assert orders.run().counts.rejected == 4
    orders.write(transform=FIXED)
    outcome = orders.replay()
    assert (outcome.unfit, [one.error for one in outcome.replays]) == ([], [None])
    (one,) = outcome.replays
    assert (one.records, one.result.records, one.settled.replayed) == (4, 4, 4)
    assert orders.ids() == every()
    assert {row["id"]: row["n"] for row in orders.rows() if str(row["n"]).startswith("x")} == BAD
    assert orders.letters() == []
    assert {letter.status for letter in orders.letters(None)} == {"replayed"}
    with orders.ledger as ledger:
        run = ledger.run(one.result.run_id)
    assert (run.trigger, run.stream, run.contract) == ("replay", "orders+replay", "orders")


@pytest.mark.parametrize("load", ["csv", "parts"])
def test_other_files(tmp_path: Path, load: str) -> None:
    orders = shop(tmp_path, LOADS[load])
    orders.run()
    orders.write(transform=FIXED)
    orders.replay()
    if load == "csv":
        lines = (orders.folder / "out.csv").read_text().splitlines()[1:]
    else:
        lines = [line for part in (orders.folder / "out").glob("*.jsonl") for line in part.read_text().splitlines()]
    assert len(lines) == len(set(lines)) == 20


@pytest.mark.parametrize("load", ["sqlite", "jsonl"])
def test_twice_is_once(tmp_path: Path, load: str) -> None:
    orders = shop(tmp_path, LOADS[load])
    orders.run()
    orders.write(transform=FIXED)
    orders.replay()
    again = orders.replay()
    assert (again.replays, again.unfit) == ([], [])
    assert orders.ids() == every()
    with pytest.raises(StateError, match="is replayed already"):
        orders.replay(Wanted(ids=(orders.letters(None)[0].id,)))


def test_what_is_rejected_again_stays_open_says_why_and_does_not_multiply(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    before = orders.letters()
    orders.write(contract="schema: {fields: {n: {type: string, pattern: '^[0-9]+$'}}}\n", transform=FIXED)
    for _ in range(3):
        (one,) = orders.replay().replays
        assert (one.result.status, one.settled.replayed, one.settled.records_again) == (RunStatus.partial, 0, 4)
        assert [letter.id for letter in orders.letters(None)] == [letter.id for letter in before]
    for old, new in zip(before, orders.letters(), strict=True):
        assert (old.rule, new.rule, new.step) == ("convert.integer", "check.pattern", "check")
        assert (new.raw, new.location, new.created_at) == (old.raw, old.location, old.created_at)
    assert orders.ids() == every(but="3 7 8 14")
    orders.write(contract="{}\n")
    orders.replay()
    assert orders.ids() == every()
    assert orders.letters() == []


def test_loaded_filtered_and_rejected_again(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=HALF_FIXED)
    (one,) = orders.replay().replays
    counts = one.result.counts
    assert (counts.extracted, counts.loaded, counts.filtered, counts.rejected) == (4, 2, 1, 1)
    assert [letter.raw["id"] for letter in orders.letters()] == ["14"]
    assert orders.ids() == every(but="8 14")


def test_values_of_every_kind_come_back_as_they_were(tmp_path: Path) -> None:
    orders = shop(tmp_path, JSONL)
    odd = {
        "id": "0",
        "n": "x",
        "deep": {"list": [1, {"a": None}], "big": 2**70},
        "text": "\x00\u2028é",
        "nothing": None,
    }
    orders.source([odd])
    orders.run()
    orders.write(transform=FIXED)
    orders.replay()
    assert orders.rows() == [odd]


def test_choosing_some(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    first = orders.run()
    orders.source([{"id": "90", "n": "y"}])
    second = orders.run()
    orders.write(transform=FIXED)
    letters = {letter.raw["id"]: letter.id for letter in orders.letters()}
    orders.replay(Wanted(ids=(letters["7"], letters["14"])))
    assert orders.ids() == every(but="3 8")
    orders.replay(Wanted(run=second.run_id))
    assert orders.ids() == every(but="3 8") + Counter(["90"])
    orders.replay(Wanted(rule="extract"))
    assert len(orders.letters()) == 2
    orders.replay(Wanted(rule="convert", contract="orders", run=first.run_id[:-2]))
    assert orders.ids() == every() + Counter(["90"])
    with pytest.raises(NotInLedgerError):
        orders.replay(Wanted(ids=("dl_nonsense",)))


def test_each_runs_letters_go_where_that_run_wrote(tmp_path: Path) -> None:
    orders = shop(tmp_path, "type: file\npath: out-${run_date}-${param:shop}.jsonl\n")
    extract = (orders.folder / "extract.yaml").read_text()
    orders.write(extract=extract + "input_params: {shop: {required: true}}\n")
    for day in ("2026-01-01", "2026-01-02"):
        orders.source([{"id": day, "n": "x"}, {"id": f"{day} good", "n": "1"}])
        orders.run(params={"shop": "east"}, run_date=day)
    orders.write(transform=FIXED)
    outcome = orders.replay()
    assert [one.error for one in outcome.replays] == [None, None]
    for day in ("2026-01-01", "2026-01-02"):
        text = (orders.folder / f"out-{day}-east.jsonl").read_text()
        assert text.count(f'"{day}"') == 1
        assert len(text.splitlines()) == 2


def test_the_run_date_of_old_letters_is_that_of_their_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = shop(tmp_path, "type: file\npath: out-${run_date}.jsonl\n")
    orders.run()
    with orders.ledger as ledger, ledger.store.transaction() as connection:
        connection.run("UPDATE etlctl_runs SET started_at = '2025-12-24 20:00:00.000000'", {})
    orders.write(transform=FIXED)
    (one,) = orders.replay().replays
    assert one.error is None
    assert len((orders.folder / "out-2025-12-24.jsonl").read_text().splitlines()) == 4


# Killed


_OF_SQLITE = [point for point in POINTS if not point.startswith("outbox.")]
_OF_FILES = ("load.after_commit", "publish.during", "publish.after", "ledger.finish")


@pytest.mark.parametrize(
    ("point", "load"), [*((point, "sqlite") for point in _OF_SQLITE), *((point, "jsonl") for point in _OF_FILES)]
)
def test_killed_anywhere_and_replayed_again(tmp_path: Path, point: str, load: str) -> None:
    """kill -9 at every point: the next replay brings it to its end; nothing lost, nothing doubled, no letter twice."""
    orders = shop(tmp_path, LOADS[load])
    orders.run()
    before = [letter.id for letter in orders.letters()]
    orders.write(transform=HALF_FIXED)
    killed = killed_replay(tmp_path, f"{point}=kill")
    assert killed.returncode == -9, killed.stderr
    outcome = orders.replay()
    assert [one.error for one in outcome.replays if one.error] == []
    assert orders.ids() == every(but="8 14")
    assert [letter.raw["id"] for letter in orders.letters()] == ["14"]
    assert [letter.id for letter in orders.letters(None)] == before
    with orders.ledger as ledger:
        assert ledger.checkpoints() == []


def killed_replay(root: Path, fault: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "ETLCTL_FAULT": fault}
    environ.pop("ETLCTL_STATE_URL", None)
    command = [sys.executable, "-m", "etlctl", "dead-letters", "replay", "--contract", "orders"]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("at", ["before settling", "letters renewed", "letters settled"])
def test_killed_while_settling(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from etlctl.state.ledger import Ledger

    orders = shop(tmp_path)
    orders.run()
    before = [letter.id for letter in orders.letters()]
    orders.write(transform=HALF_FIXED)

    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> Any:
        raise Killed

    method = {"letters renewed": "set_letter_status", "letters settled": "clear_dead_letters"}.get(at)
    original = replay_book.settle

    def settle(ledger: Ledger, replay: Any) -> Any:
        if method is None:
            raise Killed
        monkeypatch.setattr(Ledger, method, kill)
        return original(ledger, replay)

    with monkeypatch.context() as patched:
        patched.setattr(replay_book, "settle", settle)
        with pytest.raises(Killed):
            orders.replay()
    monkeypatch.undo()
    assert orders.ids() == every(but="8 14")
    outcome = orders.replay()
    assert all(one.result.counts.loaded == 0 for one in outcome.replays)
    assert orders.ids() == every(but="8 14")
    assert [letter.raw["id"] for letter in orders.letters()] == ["14"]
    assert [letter.id for letter in orders.letters(None)] == before


def test_an_unfinished_replay_is_finished_first_by_the_contract_of_today(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform="custom_function: {module: nowhere, function: work, mode: record}\n")
    (failed,) = orders.replay().replays
    assert failed.error is not None
    assert failed.result is None or failed.result.resume_command is None
    orders.write(transform=FIXED)
    outcome = orders.replay()
    assert [one.error for one in outcome.replays] == [None] * len(outcome.replays)
    assert orders.ids() == every()
    assert orders.letters() == []


@pytest.mark.parametrize("point", ["load.after_commit", "publish.after", "load.write"])
def test_a_killed_replay_is_finished_first_when_others_are_chosen_now(tmp_path: Path, point: str) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED)
    assert killed_replay(tmp_path, f"{point}=kill").returncode == -9
    orders.source([{"id": "90", "n": "y"}])
    orders.write(transform=STRICT)
    orders.run()
    orders.write(transform=FIXED)
    letters = {letter.raw["id"]: letter.id for letter in orders.letters()}
    outcome = orders.replay(Wanted(ids=(letters["7"], letters["90"])))
    assert [(one.finished_earlier, one.error) for one in outcome.replays] == [(True, None), (False, None)]
    assert orders.ids() == every() + Counter(["90"])
    assert orders.letters() == []


def test_resume_sends_to_the_replay(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED)
    assert killed_replay(tmp_path, "load.after_commit=kill").returncode == -9
    with orders.ledger as ledger:
        replay = ledger.runs()[0]
    with pytest.raises(CheckpointError, match="is a replay of dead letters"):
        orders.run(checkpoint_id=replay.run_id, resume=True)
    assert orders.replay().replays[0].finished_earlier
    assert orders.ids() == every()


def test_two_processes_at_once(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED)
    command = [sys.executable, "-m", "etlctl", "dead-letters", "replay", "--all"]
    children = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [child.communicate(timeout=120)[1] for child in children]
    assert {child.returncode for child in children} <= {0, 75, 7}, said
    assert 0 in {child.returncode for child in children}
    assert orders.ids() == every()
    assert orders.letters() == []


@pytest.mark.parametrize("settled", [True, False])
def test_letters_that_another_replay_took_meanwhile_are_left_to_it(tmp_path: Path, settled: bool) -> None:
    """Planned before, claimed after: what is known by then must still hold, or the records would come twice."""
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED)
    slow = orders.replayer()
    jobs = slow._planner.jobs
    three = Wanted(ids=tuple(letter.id for letter in orders.letters()[:3]))

    def slowly(wanted: Wanted, **options: Any) -> Any:
        chosen = jobs(wanted, **options)
        orders.replay(three)
        if not settled:
            with orders.ledger as ledger:  # as if the other one had finished, and not settled its letters yet
                for letter in orders.letters("replayed"):
                    with ledger.store.transaction() as connection:
                        connection.run(
                            "UPDATE etlctl_dead_letters SET status = 'open' WHERE id = :id", {"id": letter.id}
                        )
        return chosen

    slow._planner.jobs = slowly
    (one,) = asyncio.run(slow.replay(Wanted(contract="orders"))).replays
    assert "by another process meanwhile" in one.error
    assert orders.ids() == every(but="14")
    outcome = orders.replay()
    assert [one.error for one in outcome.replays] == [None]
    assert orders.ids() == every()
    assert orders.letters() == []


# What cannot be replayed


def reasons(orders: Shop) -> list[str]:
    outcome = orders.replay()
    assert all(one.help for one in outcome.unfit)
    return [one.why for one in outcome.unfit] + [one.error for one in outcome.replays if one.error]


def test_text_that_could_not_be_read(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    (orders.folder / "in.jsonl").write_text('{"id": "1", "n": "1"}\n{"id": oops\n')
    orders.run()
    assert "there is only its raw text" in reasons(orders)[0]
    assert len(orders.letters()) == 1


def test_a_masked_secret(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    with orders.ledger as ledger:
        ledger.add_dead_letters([replace(letter, redacted=True) for letter in orders.letters()])
    orders.write(transform=FIXED)
    assert "a secret was masked in it" in reasons(orders)[0]
    assert orders.ids() == every(but="3 7 8 14")


def test_a_dry_run(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run(dry_run=True)
    orders.write(transform=FIXED)
    assert all("was a dry run" in why for why in reasons(orders))
    assert orders.rows() == []


def test_a_run_that_did_not_finish_meets_its_records_again(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    with (orders.folder / "in.jsonl").open("a") as source:
        source.write("[1, 2]\n" * 3)
    orders.write(load=SQLITE + "dead_letters: {max: 3}\n")
    assert orders.run().exit_code == 5
    orders.write(transform=FIXED)
    whys = reasons(orders)
    assert whys
    assert all("did not finish" in why for why in whys)
    orders.write(load=SQLITE)
    with orders.ledger as ledger:
        checkpoint = ledger.runs()[0].checkpoint_id
    orders.run(checkpoint_id=checkpoint, resume=True, accept_changes=True)
    orders.replay()
    assert orders.ids() == every()


def test_duplicates_of_a_unique_field(tmp_path: Path) -> None:
    orders = shop(tmp_path, contract="schema: {fields: {id: {unique: true}, n: {}}}\n", transform=FIXED)
    orders.source([{"id": "1", "n": "a"}, {"id": "1", "n": "b"}])
    orders.run()
    assert "the same value of a unique field" in reasons(orders)[0]
    assert orders.ids() == Counter(["1"])


def test_a_step_that_needs_many_records(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED + "jsonata: {expression: '$', mode: batch}\n")
    assert "works on many records at once" in reasons(orders)[0]
    assert orders.ids() == every(but="3 7 8 14")


LINES = "transform:\n- unnest: lines\n- convert: {lines: integer}\n"
LINES_FIXED = LINES.replace("integer", "string")


def test_records_of_which_a_part_is_loaded_are_not_doubled(tmp_path: Path) -> None:
    orders = shop(tmp_path, transform=LINES)
    orders.source([{"id": "1", "lines": ["1", "x"]}, {"id": "2", "lines": ["3"]}, {"id": "3", "lines": "none"}])
    orders.run()
    assert orders.ids() == Counter(["1", "2"])
    orders.write(transform=LINES_FIXED.replace("- unnest: lines\n", "- flatten: {fields: []}\n- defaults: {a: b}\n"))
    orders.write(transform="transform: {convert: {lines: string}}\n")
    assert "makes several records of one" in reasons(orders)[0]
    # the one that was no list was rejected as a whole, by the step itself
    assert orders.ids() == Counter(["1", "2", "3"])


def test_by_key_they_are_replayed(tmp_path: Path) -> None:
    load = SQLITE.replace("append", "upsert") + "primary_key: [id, lines]\n"
    orders = shop(tmp_path, load, transform=LINES)
    orders.source([{"id": "1", "lines": ["1", "x"]}, {"id": "2", "lines": ["3"]}])
    orders.run()
    orders.write(
        transform=LINES.replace("convert: {lines: integer}", "filter: {field: lines, operator: ne, value: 'x'}")
    )
    assert reasons(orders) == []
    assert orders.ids() == Counter(["1", "2"]) or orders.ids()["1"] == 2
    assert orders.letters() == []


def test_a_replay_that_loads_a_part_keeps_its_own_letters(tmp_path: Path) -> None:
    """Rejected as a whole first; the replay loads one half of it: replaying the record again would double that half."""
    orders = shop(
        tmp_path, transform="transform:\n- convert: {n: integer}\n- unnest: lines\n- convert: {lines: integer}\n"
    )
    orders.source([{"id": "1", "n": "x", "lines": ["1", "y"]}, {"id": "2", "n": "2", "lines": ["3"]}])
    orders.run()
    (old,) = orders.letters()
    orders.write(transform="transform:\n- convert: {n: string}\n- unnest: lines\n- convert: {lines: integer}\n")
    (one,) = orders.replay().replays
    assert orders.ids() == Counter(["1", "2"])
    (new,) = orders.letters()
    assert new.id != old.id
    assert new.run_id == one.result.run_id
    for _ in range(2):
        assert "makes several records of one" in reasons(orders)[0]
        assert [letter.id for letter in orders.letters()] == [new.id]
        assert orders.ids() == Counter(["1", "2"])


def test_a_later_run_has_replaced_everything(tmp_path: Path) -> None:
    orders = shop(tmp_path, LOADS["sqlite replace"])
    first = orders.run()
    orders.write(transform=FIXED)
    orders.run()
    assert orders.ids() == every()
    assert f"has replaced what {first.run_id} loaded" in reasons(orders)[0]
    assert orders.ids() == every()


def test_a_contract_that_moved(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED)
    new = tmp_path / "contracts" / "elsewhere"
    orders.folder.rename(new)
    (one,) = orders.replay().replays
    assert "is not at" in one.error
    assert "--contract-path" in one.error_help
    (one,) = orders.replay(contract_path=new).replays
    assert "is now contract elsewhere, not orders" in one.error
    (new / "contract.yaml").write_text("name: orders\n")
    (one,) = orders.replay(contract_path=new).replays
    assert one.error is None
    new.rename(orders.folder)
    assert orders.ids() == every()


def test_a_contract_that_does_not_hold(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform="transform: {convrt: {n: string}}\n")
    (one,) = orders.replay().replays
    assert "does not hold" in one.error
    assert one.exit_code == 3
    assert len(orders.letters()) == 4


def test_a_destination_that_cannot_be_added_to(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    loaders = tmp_path / "loaders"
    loaders.mkdir()
    (loaders / "hole.py").write_text(
        '"""Takes everything."""\n'
        "from etlctl.sdk import Loader, Published, Receipt, Writer\n\n\n"
        "class _Writer(Writer):\n"
        "    count = 0\n"
        "    async def write(self, batch):\n"
        "        self.count += len(batch)\n"
        "        return Receipt(len(batch))\n"
        "    async def finish(self):\n"
        "        return Published((), self.count)\n"
        "    async def abort(self):\n"
        "        pass\n\n\n"
        'class Hole(Loader):\n    """Takes everything."""\n\n'
        "    async def open(self, ctx):\n        return _Writer()\n"
    )
    orders.write(load="type: hole\n")
    orders.run()
    assert "Hole cannot add records" in reasons(orders)[0]


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    orders.run()
    orders.write(transform=FIXED)
    outcome = orders.replayer().plan(Wanted(contract="orders"))
    assert [(one.records, one.result, one.error) for one in outcome.replays] == [(4, None, None)]
    assert len(orders.letters()) == 4
    assert orders.ids() == every(but="3 7 8 14")
    with orders.ledger as ledger:
        assert len(ledger.runs()) == 1


async def test_a_stop_request_begins_no_more(tmp_path: Path) -> None:
    orders = shop(tmp_path)
    await ETLOrchestrator(orders.folder).run()
    stop = StopRequest()
    stop.request("SIGTERM", 143)
    outcome = await orders.replayer().replay(Wanted(contract="orders"), stop)
    assert [one.error for one in outcome.replays] == ["not begun: stopped by SIGTERM"]


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ([(1, 0)], "run_a 1:0"),
        ([(2, 5), (1, 7), (1, 4), (1, 5), (1, 6), (1, 0), (1, 0)], "run_a 1:0,4-7 2:5"),
        ([(1, 1), (1, 2), (1, 4), (1, 5)], "run_a 1:1-2,4-5"),
    ],
)
def test_selections_as_text(places: list[tuple[int, int]], text: str) -> None:
    selection = Selection.of("run_a", places)
    assert str(selection) == text
    assert Selection.parse(text) == selection
    assert selection.places == tuple(sorted(set(places)))


@pytest.mark.parametrize("text", ["run_a 1:x", "run_a :", "run_a ***", "run_a 1:2-"])
def test_texts_that_are_no_selection(text: str) -> None:
    if text == "run_a 1:2-":
        assert Selection.parse(text).places == ((1, 2),)
        return
    with pytest.raises(StateError):
        Selection.parse(text)
