"""``run_multiple``: the same as the runs one by one, some at once, none of them able to hurt the others."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etlctl import ETLOrchestrator
from etlctl.engine.services import StopRequest
from etlctl.errors import ContractError
from etlctl.orchestrator.multiple import MultipleResult, run_sets
from etlctl.orchestrator.param_sets import ParamSet, ParamSetError
from etlctl.run import Counts, RunResult, RunStatus
from etlctl.state import open_ledger


def workspace(root: Path, load: str, *, extract: str = "", transform: str | None = None) -> Path:
    """A contract that reads ``in_${symbol}.csv``; AAPL, MSFT and GOOGL have 3, 5 and 2 records."""
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "prices"
    folder.mkdir(parents=True)
    params = "input_params: {symbol: {required: true}, day: {type: date}, n: {type: integer}}\n"
    (folder / "extract.yaml").write_text("type: file\npath: in_${param:symbol}.csv\n" + params + extract)
    (folder / "load.yaml").write_text(load)
    if transform is not None:
        (folder / "transform.yaml").write_text(transform)
    for symbol, count in (("AAPL", 3), ("MSFT", 5), ("GOOGL", 2)):
        source(folder, symbol, count)
    return folder


def source(folder: Path, symbol: str, count: int) -> None:
    lines = [f"{symbol},{number}\n" for number in range(count)]
    (folder / f"in_{symbol}.csv").write_text("symbol,n\n" + "".join(lines))


def loaded(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


EACH_ITS_FILE = "type: file\npath: out/${param:symbol}.jsonl\n"
ONE_FILE = "type: file\npath: out.jsonl\nwrite_method: append\n"


async def test_the_guides_first_snippet(tmp_path: Path) -> None:
    folder = workspace(tmp_path, EACH_ITS_FILE)
    orchestrator = ETLOrchestrator(contract_dir=folder)
    results = await orchestrator.run_multiple(
        param_name="symbol",
        param_values=["AAPL", "MSFT", "GOOGL", "TSLA"],
        batch_size=5,
        delay_between_runs=0.001,
    )
    told = [f"{one['params']}: {one['success']} - {one.get('records', 0)} records" for one in results]
    assert told == [
        "{'symbol': 'AAPL'}: True - 3 records",
        "{'symbol': 'MSFT'}: True - 5 records",
        "{'symbol': 'GOOGL'}: True - 2 records",
        "{'symbol': 'TSLA'}: False - 0 records",
    ]
    assert len(loaded(folder / "out" / "MSFT.jsonl")) == 5


async def test_the_guides_second_snippet(tmp_path: Path) -> None:
    folder = workspace(tmp_path, "type: file\npath: out/${param:symbol}-${param:day}.jsonl\n")
    results = await ETLOrchestrator(contract_dir=folder).run_multiple(
        param_sets=[
            {"symbol": "AAPL", "day": "2024-01-01"},
            {"symbol": "MSFT", "day": "2024-01-02"},
            {"symbol": "GOOGL", "day": "2024-01-03"},
        ],
        batch_size=3,
        delay_between_runs=0.0,
    )
    assert [one["records"] for one in results] == [3, 5, 2]
    assert sorted(path.name for path in (folder / "out").glob("*.jsonl")) == [
        "AAPL-2024-01-01.jsonl", "GOOGL-2024-01-03.jsonl", "MSFT-2024-01-02.jsonl",
    ]  # fmt: skip


async def test_a_failed_set_has_an_error_and_the_others_have_none(tmp_path: Path) -> None:
    folder = workspace(tmp_path, EACH_ITS_FILE)
    good, bad, also = await ETLOrchestrator(folder).run_multiple("symbol", ["AAPL", "BAD", "MSFT"])
    assert [one["success"] for one in (good, bad, also)] == [True, False, True]
    assert "error" not in good
    assert {"params", "success", "error"} <= set(bad)
    assert "in_BAD.csv" in bad["error"]
    assert good.run_id == good["run_id"] == good.result.run_id
    assert good["resume_command"] is None
    assert bad["resume_command"] == f"etlctl resume --checkpoint {bad['run_id']}"
    assert json.loads(json.dumps(bad.to_dict()))["result"]["status"] == "failed"


async def test_a_failed_set_is_resumed_by_itself(tmp_path: Path) -> None:
    folder = workspace(tmp_path, ONE_FILE)
    orchestrator = ETLOrchestrator(folder)
    results = await orchestrator.run_multiple("symbol", ["AAPL", "TSLA"])
    source(folder, "TSLA", 4)
    resumed = await orchestrator.run(checkpoint_id=results[1].result.checkpoint_id, resume=True)
    assert (resumed.success, resumed.records, resumed.run_id) == (True, 4, results[1].run_id)
    assert Counter(record["symbol"] for record in loaded(folder / "out.jsonl")) == {"AAPL": 3, "TSLA": 4}


@pytest.mark.parametrize(
    ("given_as", "message"),
    [
        ({}, "Must provide either (param_name + param_values) OR param_sets"),
        ({"param_name": "symbol"}, "Must provide either (param_name + param_values) OR param_sets"),
        ({"param_values": ["A"]}, "Must provide either (param_name + param_values) OR param_sets"),
        (
            {"param_name": "symbol", "param_values": ["A"], "param_sets": [{"symbol": "A"}]},
            "Must provide either (param_name + param_values) OR param_sets",
        ),
        ({"param_sets": []}, "param_sets must be a non-empty list of dictionaries"),
        ({"param_name": "symbol", "param_values": []}, "param_values must be a non-empty list"),
        (
            {"param_name": "symbol", "param_values": "AAPL"},
            "param_values must be a non-empty list of values, not 'AAPL'",
        ),
        ({"param_sets": {"symbol": "A"}}, "param_sets must be a non-empty list of dictionaries, not"),
        ({"param_sets": [{"symbol": "A"}, "B"]}, "param_sets must be a non-empty list of dictionaries: set 2 is 'B'"),
        ({"param_sets": [{1: "A"}]}, "set 1 is {1: 'A'}"),
        (
            {"param_sets": [{"symbol": "A", "n": 5}, {"symbol": "B"}, {"n": "5", "symbol": "A"}]},
            "parameter sets 1 and 3 are equal (n=5, symbol=A)",
        ),
    ],
)
async def test_sets_given_wrongly(tmp_path: Path, given_as: dict[str, Any], message: str) -> None:
    folder = workspace(tmp_path, EACH_ITS_FILE)
    with pytest.raises(ParamSetError) as caught:
        await ETLOrchestrator(folder).run_multiple(**given_as)
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert not (tmp_path / ".etlctl").exists()


async def test_the_parameter_that_varies_must_be_one(tmp_path: Path) -> None:
    folder = workspace(tmp_path, EACH_ITS_FILE)
    with pytest.raises(ContractError, match="unknown parameter 'simbol'") as caught:
        await ETLOrchestrator(folder).run_multiple("simbol", ["A"])
    assert "symbol" in (caught.value.help or "")


@pytest.mark.parametrize(
    ("at_once", "delay"), [(0, 0), (-1, 0), (1.5, 0), (1, -1), (1, float("inf")), (1, float("nan"))]
)
async def test_pace_out_of_range(tmp_path: Path, at_once: Any, delay: float) -> None:
    with pytest.raises(ValueError):
        await ETLOrchestrator(workspace(tmp_path, EACH_ITS_FILE)).run_multiple(
            "symbol", ["AAPL"], batch_size=at_once, delay_between_runs=delay
        )


# What runs when


class Runs:
    """Runs that end when they are told to, and a clock of sleeps."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.running = self.most = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.busy: set[str] = set()
        self.both = asyncio.Event()

    async def run(self, one: ParamSet, earlier: RunResult | None) -> RunResult:
        name = one.params["s"]
        self.log.append(f"begin {name}" + (" again" if earlier else ""))
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == 2:
            self.both.set()
        try:
            if name in self.gates:
                await self.gates[name].wait()
            await asyncio.sleep(0)
            if name.startswith("BAD"):
                raise KeyError(name) if name == "BAD" else SystemExit(3)
            failed = name in self.busy and earlier is None
            status = RunStatus.failed if failed else RunStatus.succeeded
            return RunResult(f"run_{name}", "c", status, Counts(loaded=100), exit_code=75 if failed else 0)
        finally:
            self.running -= 1
            self.log.append(f"end {name}")

    async def sleep(self, seconds: float) -> None:
        self.log.append(f"sleep {seconds:g}")
        await asyncio.sleep(0)


def sets(names: str) -> list[ParamSet]:
    return [ParamSet({"s": name}, name) for name in names.split()]


async def test_one_at_a_time_with_a_delay_and_no_sleep_after_the_last() -> None:
    runs = Runs()
    await run_sets(sets("A B C"), runs.run, at_once=1, delay=0.5, sleep=runs.sleep)
    assert runs.log == [
        "begin A", "end A", "sleep 0.5", "begin B", "end B", "sleep 0.5", "begin C", "end C",
    ]  # fmt: skip


@pytest.mark.parametrize("at_once", [2, 3, 10])
async def test_as_many_at_once_as_asked_for_in_order_and_with_the_same_sleeps(at_once: int) -> None:
    runs = Runs()
    told: list[int] = []
    results = await run_sets(
        sets("A B C D E F"), runs.run, at_once=at_once, delay=0.5, sleep=runs.sleep, ended=lambda n, _: told.append(n)
    )
    assert runs.log.count("sleep 0.5") == 5
    assert [one.params["s"] for one in results] == list("ABCDEF")
    assert sorted(told) == list(range(6))
    assert runs.most <= at_once


async def test_a_slow_run_leaves_the_other_places_to_the_rest() -> None:
    runs = Runs()
    runs.gates["A"] = asyncio.Event()
    done: list[int] = []

    def ended(number: int, _result: MultipleResult) -> None:
        done.append(number)
        if len(done) == 5:
            runs.gates["A"].set()

    results = await run_sets(sets("A B C D E F"), runs.run, at_once=2, ended=ended)
    assert done[-1] == 0
    assert runs.most == 2
    assert [one.params["s"] for one in results] == list("ABCDEF")


async def test_whatever_a_run_raises_stays_its_own() -> None:
    runs = Runs()
    results = await run_sets(sets("A BAD B BADEXIT C"), runs.run, at_once=2)
    assert [one.success for one in results] == [True, False, True, False, True]
    assert results[1].error == "KeyError: 'BAD'"
    assert results[3].error == "SystemExit: 3"


async def test_runs_that_find_their_destination_busy_take_turns_at_the_end() -> None:
    runs = Runs()
    runs.busy = {"B", "C"}
    results = await run_sets(sets("A B C D"), runs.run, at_once=4, delay=0.5, sleep=runs.sleep)
    assert all(one.success for one in results)
    assert runs.log[-6:] == ["sleep 0.5", "begin B again", "end B", "sleep 0.5", "begin C again", "end C"]


async def test_alone_a_busy_destination_is_somebody_elses() -> None:
    runs = Runs()
    runs.busy = {"B"}
    results = await run_sets(sets("A B C"), runs.run, at_once=1)
    assert [one.success for one in results] == [True, False, True]
    assert runs.log.count("begin B") == 1


async def test_a_stop_request_begins_no_more() -> None:
    runs, stop = Runs(), StopRequest()
    results = await run_sets(
        sets("A B C"), runs.run, at_once=1, stop=stop, ended=lambda *_: stop.request("SIGTERM", 143)
    )
    assert [one.success for one in results] == [True, False, False]
    assert [one.error for one in results[1:]] == ["not begun: stopped by SIGTERM"] * 2
    assert not any(one.begun for one in results[1:])
    assert runs.log == ["begin A", "end A"]


async def test_a_stop_request_breaks_off_the_delay() -> None:
    runs, stop = Runs(), StopRequest()

    async def for_ever(_seconds: float) -> None:
        stop.request("SIGTERM", 143)
        await asyncio.Event().wait()

    results = await run_sets(sets("A B"), runs.run, at_once=1, delay=1, stop=stop, sleep=for_ever)
    assert [one.success for one in results] == [True, False]
    assert runs.log == ["begin A", "end A"]


async def test_canceling_cancels_the_runs_in_hand() -> None:
    runs = Runs()
    runs.gates = {"A": asyncio.Event(), "B": asyncio.Event()}
    task = asyncio.ensure_future(run_sets(sets("A B C"), runs.run, at_once=2))
    await runs.both.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runs.running == 0
    assert "begin C" not in runs.log


# Real destinations


@pytest.mark.parametrize("at_once", [1, 3])
async def test_sets_that_append_to_one_file_take_turns(tmp_path: Path, at_once: int) -> None:
    folder = workspace(tmp_path, ONE_FILE)
    results = await ETLOrchestrator(folder).run_multiple("symbol", ["AAPL", "MSFT", "GOOGL"], batch_size=at_once)
    assert [one["records"] for one in results] == [3, 5, 2], results
    assert Counter(record["symbol"] for record in loaded(folder / "out.jsonl")) == {"AAPL": 3, "MSFT": 5, "GOOGL": 2}
    with open_ledger(state_dir=tmp_path / ".etlctl") as ledger:
        runs = ledger.runs()
    assert {str(run.status) for run in runs} == {"succeeded"}
    assert len(runs) == 3


@pytest.mark.parametrize("mode", ["full", "streaming"])
async def test_many_sets_into_one_database_at_once(tmp_path: Path, mode: str) -> None:
    """More runs than Python has threads by default wait for one database: nobody waits for ever, nothing is lost."""
    folder = workspace(
        tmp_path,
        "type: sqlite\npath: out.db\ntable: prices\n",
        extract=f"batch_size: 50\nprocessing_mode: {mode}\n",
        transform="transform: {convert: {n: integer}}\n",
    )
    with sqlite3.connect(folder / "out.db") as database:
        database.execute("CREATE TABLE prices (symbol TEXT, n INTEGER)")
    symbols = [f"S{number}" for number in range(16)]
    for symbol in symbols:
        source(folder, symbol, 120)
    results = await ETLOrchestrator(folder).run_multiple("symbol", symbols, batch_size=16)
    assert [one.error for one in results] == [None] * 16
    found = sqlite3.connect(folder / "out.db").execute(
        "SELECT symbol, count(*), count(DISTINCT n) FROM prices GROUP BY 1"
    )
    assert sorted(found.fetchall()) == sorted((symbol, 120, 120) for symbol in symbols)


async def test_sets_that_replace_each_others_records_are_warned_of(tmp_path: Path) -> None:
    warned: list[str] = []
    folder = workspace(tmp_path, "type: file\npath: out.jsonl\n")
    await ETLOrchestrator(folder, warn=warned.append).run_multiple("symbol", ["AAPL", "MSFT"])
    assert any("every parameter set replaces" in text for text in warned)


@pytest.mark.parametrize("load", [EACH_ITS_FILE, ONE_FILE])
async def test_sets_that_do_not_are_not(tmp_path: Path, load: str) -> None:
    warned: list[str] = []
    await ETLOrchestrator(workspace(tmp_path, load), warn=warned.append).run_multiple("symbol", ["AAPL", "MSFT"])
    assert warned == []


async def test_run_keys_and_checkpoints_are_the_sets_own(tmp_path: Path) -> None:
    folder = workspace(tmp_path, ONE_FILE)
    orchestrator = ETLOrchestrator(folder)
    first = await orchestrator.run_multiple(
        param_sets=[{"symbol": "AAPL", "n": 1}, {"symbol": "MSFT", "n": 2}], run_key="monday", batch_size=1
    )
    keys = [one.result.run_key for one in first]
    assert all(key.startswith("monday-") and len(key) == len("monday-") + 8 for key in keys)
    assert len(set(keys)) == 2
    again = await orchestrator.run_multiple(
        param_sets=[{"n": "2", "symbol": "MSFT"}, {"symbol": "AAPL", "n": 1}], run_key="monday", batch_size=1
    )
    assert [one.result.run_key for one in again] == keys[::-1]
    assert [one.result.reused for one in again] == [True, True]
    assert len(loaded(folder / "out.jsonl")) == 8


async def test_records_per_batch(tmp_path: Path) -> None:
    folder = workspace(tmp_path, EACH_ITS_FILE)
    results = await ETLOrchestrator(folder).run_multiple("symbol", ["AAPL", "MSFT"], records_per_batch=2)
    assert [one.result.batches for one in results] == [2, 3]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.one_of(st.integers(0, 30), st.none()), min_size=1, max_size=6),
    at_once=st.integers(1, 7),
    batch=st.integers(1, 12),
    mode=st.sampled_from(["full", "streaming", "hybrid"]),
)
def test_run_multiple_is_the_runs_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int | None], at_once: int, batch: int, mode: str
) -> None:
    """The law; a size of None is a set whose source is missing, and records whose n is a multiple of 7 are rejected."""

    def made(name: str) -> Path:
        folder = workspace(
            tmp_path_factory.mktemp(name),
            ONE_FILE,
            extract=f"processing_mode: {mode}\nbatch_size: {batch}\n",
            transform="transform: {convert: {n: integer}}\n",
        )
        for number, size in enumerate(sizes):
            if size is not None:
                rows = [f"S{number},{'x' if n % 7 == 6 else n}\n" for n in range(size)]
                (folder / f"in_S{number}.csv").write_text("symbol,n\n" + "".join(rows))
        return folder

    names = [f"S{number}" for number in range(len(sizes))]
    together, single = made("together"), made("single")
    many = asyncio.run(ETLOrchestrator(together).run_multiple("symbol", names, batch_size=at_once))
    alone = [asyncio.run(ETLOrchestrator(single, params={"symbol": name}).run()) for name in names]
    assert [one.success for one in many] == [one.success for one in alone]
    assert [one.result.counts for one in many] == [one.counts for one in alone]
    assert [str(one.result.status) for one in many] == [str(one.status) for one in alone]
    assert contents(together) == contents(single)


def contents(folder: Path) -> Counter[str]:
    path = folder / "out.jsonl"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()
