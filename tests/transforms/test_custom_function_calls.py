"""Custom functions in the run's own process: what they are called with, and what they may give back."""

from __future__ import annotations

import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from function_runs import call, custom_function, rules
from operations_driver import run_frame, run_rows

from etlctl.batch import rows_to_frame
from etlctl.errors import FatalError, RetryableError, UnexpectedError

CODE = '''
import asyncio, sqlite3, threading

async def slow_add(record, by=1):
    await asyncio.sleep(0)
    if record["a"] == 2:
        raise LookupError("no two")
    return {"a": record["a"] + by}

def later(record):
    return slow_add(record)

class Keeps:
    """Has things that belong to one thread and one event loop."""
    def __init__(self, start=0):
        self.seen = start
        self.database = sqlite3.connect(":memory:")
        self.loop = None
    async def run(self, record):
        loop = asyncio.get_running_loop()
        assert self.loop in (None, loop)
        self.loop = loop
        self.seen += self.database.execute("select 1").fetchone()[0]
        return {"seen": self.seen, "thread": threading.get_ident()}

class Split:
    def __init__(self, factor): self.factor = factor
    def optimize(self, record, add): return {"a": record["a"] * self.factor + add}

class Both:
    def __init__(self, k): self.k = k
    def run(self, record, k, **more): return {"init": self.k, "call": k, "more": more}

SHARED = {}
def shared(record):
    SHARED["a"] = record["a"]
    return SHARED

EARLIER = []
def touches_earlier(record):
    for one in EARLIER:
        one["touched"] = True
    EARLIER.append(record)
    return record

def spoils(record):
    record["nested"]["list"].append("spoilt")
    del record["nested"]["list"][0]
    record.clear()
    raise ValueError("after the damage")

def empties(records):
    for record in records:
        record["nested"].clear()
    records.clear()
    return [{"done": True}]

def generated(record):
    yield {"a": record["a"]}
    if record["a"] == 2:
        raise ValueError("in the middle")
    yield {"a": -record["a"]}

async def generated_async(records):
    for record in records:
        yield {"a": record["a"] * 2}

def twice(records): return records + records
def per_kind(record): return RESULTS[record["a"]]
LOOP = {"x": 1}
LOOP["self"] = LOOP
RESULTS = [None, [], {}, "text", 5, float("nan"), object(), {1: 2}, [{"a": 1}, 5], [None], {"a"}, [{None: 1}], LOOP]

def grows(record, seen=[]):
    seen.append(record["a"])
    return {"seen": len(seen)}

class BadText(Exception):
    def __str__(self): raise RuntimeError("not even that")

def nameless(record): raise BadText
def exits(record): raise SystemExit(3)
def interrupts(record): raise KeyboardInterrupt
def cancels(record): raise asyncio.CancelledError
def inner(record): return int(record["a"])
def outer(record): return {"a": inner(record)}

def gives_up(record):
    from etlctl.sdk import FatalError, RecordRejected, RetryableError
    raise {1: FatalError, 2: RetryableError, 3: RecordRejected}[record["a"]](
        *(["my.rule"] if record["a"] == 3 else []), "the service is gone")

def takes_nothing(): return {}
def no_such_word(record, colour): return record
def prints(record):
    print("noise", record["a"])
    return record
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(CODE, encoding="utf-8")
    return tmp_path


A = [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize("function", ["slow_add", "later"])
@pytest.mark.parametrize("timeout", [None, 30])
def test_async_functions_and_functions_that_return_an_awaitable(
    folder: Path, function: str, timeout: float | None
) -> None:
    outcome = call(folder, A, function=function, mode="record", timeout=timeout)
    assert outcome.records == [{"a": 2}, {"a": 4}]
    ((index, _, rule, message),) = outcome.refused
    assert (index, rule) == (1, "custom_function.raised")
    assert message == f"custom function functions.{function} raised LookupError: no two (functions.py line 7)"


@pytest.mark.parametrize("timeout", [None, 30])
def test_one_object_one_thread_and_one_event_loop_for_all_chunks(folder: Path, timeout: float | None) -> None:
    operation = custom_function(callable="functions.Keeps", mode="record", timeout=timeout, kwargs={"start": 10})
    from etlctl.sdk import RowSlice, StepContext

    seen = []
    for _ in range(2):
        rows = RowSlice([{"a": 1}, {"a": 2}], [0, 1])
        thread = threading.Thread(target=operation.rows, args=(rows, StepContext(base_dir=folder)))
        thread.start()
        thread.join()
        assert not rows.rejections
        seen += rows.records
    operation.close()
    assert [record["seen"] for record in seen] == [11, 12, 13, 14]
    assert len({record["thread"] for record in seen}) == 1


def test_close_ends_the_thread_and_gives_stdout_back(folder: Path) -> None:
    from etlctl.sdk import RowSlice, StepContext

    operation = custom_function(callable="functions.prints", mode="record")
    before = sys.stdout
    operation.rows(RowSlice([{"a": 1}], [0]), StepContext(base_dir=folder))
    (thread,) = [one for one in threading.enumerate() if one.name.startswith("etlctl-custom-function")][-1:]
    operation.close()
    thread.join(10)
    assert not thread.is_alive()
    if not any(one.name.startswith("etlctl-custom-function") for one in threading.enumerate()):
        assert sys.stdout is before


def test_a_constructor_gets_the_kwargs_it_names(folder: Path) -> None:
    split = call(folder, A, function="Split", mode="record", kwargs={"factor": 10, "add": 5})
    assert split.records == [{"a": 15}, {"a": 25}, {"a": 35}]
    both = call(folder, A[:1], function="Both", mode="record", kwargs={"k": 1, "z": 2})
    assert both.records == [{"init": 1, "call": 1, "more": {"z": 2}}]


@pytest.mark.parametrize("function", ["takes_nothing", "no_such_word", "Split"])
def test_kwargs_that_do_not_fit_are_told_once_and_before_the_first_record(folder: Path, function: str) -> None:
    with pytest.raises(FatalError, match=rf"functions\.{function}"):
        call(folder, A, function=function, mode="record", kwargs={"size": 1})


def test_an_object_that_the_function_gives_again_and_again_is_a_record_each_time(folder: Path) -> None:
    assert call(folder, A, function="shared", mode="record").records == A
    assert call(folder, A, function="touches_earlier", mode="record").records == A
    doubled = call(folder, A, function="twice")
    assert doubled.records == A + A
    assert len({id(record) for record in doubled.records}) == 6


def test_sources_stay_as_they_were(folder: Path) -> None:
    source = [{"nested": {"list": [1, 2]}}]
    assert rules(call(folder, source, function="spoils", mode="record")) == {0: "custom_function.raised"}
    assert source == [{"nested": {"list": [1, 2]}}]
    assert call(folder, source, function="empties").records == [{"done": True}]
    assert source == [{"nested": {"list": [1, 2]}}]


def test_a_generator_does_for_a_list(folder: Path) -> None:
    outcome = call(folder, A, function="generated", mode="record")
    assert outcome.records == [{"a": 1}, {"a": -1}, {"a": 3}, {"a": -3}]
    assert outcome.ordinals == [0, 0, 2, 2]
    assert rules(outcome) == {1: "custom_function.raised"}
    assert call(folder, A, function="generated_async").records == [{"a": 2}, {"a": 4}, {"a": 6}]


def test_nonsense_is_refused_record_by_record(folder: Path) -> None:
    outcome = call(folder, [{"a": n} for n in range(13)], function="per_kind", mode="record")
    assert outcome.ordinals == [2, 12]  # an empty record is one; a record may hold itself: no destination takes it
    assert rules(outcome) == dict.fromkeys(range(3, 12), "custom_function.result")
    messages = {
        index: message.removeprefix("custom function functions.per_kind returned ")
        for index, _, _, message in outcome.refused
    }
    assert messages[3] == "a text, not a record, list of records or None"
    assert messages[7].startswith("an object with a field name that is a number")
    assert messages[8].startswith("a list with a number in it")
    assert messages[9].startswith("a list with None in it")
    assert messages[10].startswith("a set")


@pytest.mark.parametrize("number", [3, 5, 7, 8, 10])
def test_nonsense_for_a_batch_ends_the_run(folder: Path, number: int) -> None:
    code = CODE + f"\ndef nonsense(records): return RESULTS[{number}]\n"
    (folder / "functions.py").write_text(code, encoding="utf-8")
    with pytest.raises(FatalError, match=r"functions\.nonsense returned"):
        call(folder, A, function="nonsense")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("nameless", "raised BadText: <its text raised RuntimeError>"),
        ("exits", "raised SystemExit: 3"),
        ("interrupts", "raised KeyboardInterrupt: "),
        ("cancels", "raised CancelledError: "),
    ],
)
@pytest.mark.parametrize("timeout", [None, 30])
def test_whatever_is_raised_refuses_the_record(folder: Path, function: str, text: str, timeout: float | None) -> None:
    outcome = call(folder, A, function=function, mode="record", timeout=timeout)
    assert rules(outcome) == dict.fromkeys(range(3), "custom_function.raised")
    assert text in outcome.refused[0][3]
    with pytest.raises(UnexpectedError, match=f"custom function functions.{function} raised"):
        call(folder, A, function=function, timeout=timeout)


def test_the_line_is_the_innermost_one_of_the_users_own_code(folder: Path) -> None:
    line = CODE.split("\n").index('def inner(record): return int(record["a"])') + 1
    outcome = call(folder, [{"a": "x"}], function="outer", mode="record")
    assert outcome.refused[0][3].endswith(f"(functions.py line {line})")


def test_a_long_text_is_cut(folder: Path) -> None:
    outcome = call(folder, [{"a": "x" * 10_000}], function="outer", mode="record")
    assert len(outcome.refused[0][3]) < 700


def test_a_function_can_say_what_its_failure_means(folder: Path) -> None:
    with pytest.raises(FatalError, match="the service is gone"):
        call(folder, [{"a": 1}], function="gives_up", mode="record")
    with pytest.raises(RetryableError, match="the service is gone"):
        call(folder, [{"a": 2}], function="gives_up", mode="record")
    assert rules(call(folder, [{"a": 3}], function="gives_up", mode="record")) == {0: "my.rule"}


def test_kwargs_are_the_functions_own(folder: Path) -> None:
    operation = custom_function(callable="functions.grows", mode="record", kwargs={"seen": []})
    for _ in range(2):
        assert run_rows([operation], A, base_dir=folder).records == [{"seen": 1}, {"seen": 2}, {"seen": 3}]
    assert operation.kwargs == {"seen": []}


# --- frames -----------------------------------------------------------------------------------------------------------

FRAMES = """
import polars as pl
def fewer(frame): return frame.filter(pl.col("a") > 1)
def more(frame): return pl.concat([frame, frame])
def lazy(frame, by): return frame.lazy().with_columns(pl.col("a") * by)
def none(frame): return None
def rows(frame): return frame.to_dicts()
def objects(frame): return frame.with_columns(pl.Series("o", [object()] * frame.height, dtype=pl.Object))
def boom(frame): raise ValueError("no frame")
def spoil(frame):
    frame[0, "a"] = 99
    frame.drop_in_place("b")
    return frame
async def later(frame): return frame.select("a")
def kind(frame):
    assert type(frame) is pl.DataFrame
    return frame
"""


def frames(folder: Path, records: list[dict[str, Any]], **options: Any) -> Any:
    (folder / "functions.py").write_text(FRAMES, encoding="utf-8")
    operation = custom_function(module="functions", mode="frame", **options)
    by_rows = run_rows([operation], records, base_dir=folder)
    by_frame = run_frame([operation], rows_to_frame(records), base_dir=folder)
    assert by_rows == by_frame
    assert by_rows.forms == ["frame"]
    return by_frame


AB = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}]


@pytest.mark.parametrize("isolate", [False, True])
def test_frames_in_frames_out(tmp_path: Path, isolate: bool) -> None:
    fewer = frames(tmp_path, AB, function="fewer", isolate=isolate)
    assert fewer.records == AB[1:]
    assert frames(tmp_path, AB, function="lazy", kwargs={"by": 10}, isolate=isolate).records[2] == {"a": 30, "b": "z"}
    assert frames(tmp_path, AB, function="none", isolate=isolate).records == []
    more = frames(tmp_path, AB, function="more", isolate=isolate)
    assert (more.records, more.ordinals) == (AB + AB, [0, 1, 2, 2, 2, 2])
    assert frames(tmp_path, AB, function="later", isolate=isolate).records == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("rows", "returned a list"),
        ("objects", "column 'o' holds Python objects"),
        ("boom", "raised ValueError: no frame"),
    ],
)
def test_what_is_no_frame_ends_the_run(tmp_path: Path, function: str, text: str, isolate: bool) -> None:
    with pytest.raises(FatalError, match=text):
        frames(tmp_path, AB, function=function, isolate=isolate)


def test_a_frame_function_cannot_spoil_the_source(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FRAMES, encoding="utf-8")
    frame = rows_to_frame(AB)
    outcome = run_frame([custom_function(callable="functions.spoil", mode="frame")], frame, base_dir=tmp_path)
    assert outcome.records == [{"a": 99}, {"a": 2}, {"a": 3}]
    assert frame.to_dicts() == AB


def test_records_that_make_no_frame_are_told_by_field(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FRAMES, encoding="utf-8")
    with pytest.raises(FatalError, match="'a' mixes int and str") as caught:
        run_rows([custom_function(callable="functions.kind", mode="frame")], [{"a": 1}, {"a": "x"}], base_dir=tmp_path)
    assert "mode: batch" in (caught.value.help or "")


def test_neighbours_of_a_frame_function_stay_columnar(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FRAMES, encoding="utf-8")
    from operations_driver import build, operation_classes

    found = operation_classes()
    operations = [
        build(found["convert"], {"a": "integer"}),
        custom_function(callable="functions.fewer", mode="frame"),
        build(found["rename"], {"a": "c"}),
    ]
    outcome = run_frame(operations, pl.DataFrame({"a": ["1", "2", "3"]}), base_dir=tmp_path)
    assert outcome.forms == ["frame", "frame", "frame"]
    assert outcome.records == [{"c": 2}, {"c": 3}]


def test_sqlite_connections_do_belong_to_a_thread() -> None:
    """What ``Keeps`` relies on: without a thread of its own, the calls above would fail."""
    connection = sqlite3.connect(":memory:")
    failed: list[Exception] = []

    def use() -> None:
        try:
            connection.execute("select 1")
        except sqlite3.ProgrammingError as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failed
