"""Custom functions that stop the event loop, leave things in it, and return or raise what fights back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from function_runs import call, custom_function

from etlctl.sdk import FatalError, RowSlice, StepContext

CODE = """
import asyncio

async def stops(record):
    if record["a"] == 2:
        asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    return record

async def stops_and_holds_on(record):
    if record["a"] == 2:
        asyncio.get_running_loop().stop()
        for _ in range(3):
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass
    return record

async def task_raises(record):
    async def interrupt():
        raise KeyboardInterrupt
    if record["a"] == 2:
        asyncio.get_running_loop().create_task(interrupt())
        await asyncio.sleep(0.01)
    return record

async def exits(record):
    if record["a"] == 2:
        raise GeneratorExit
    return record

async def leaves_a_deaf_task(record):
    async def deaf():
        while True:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                pass
    asyncio.get_running_loop().create_task(deaf())
    await asyncio.sleep(0)
    return record

async def leaves_a_busy_task(record):
    async def busy():
        try:
            await asyncio.sleep(1e6)
        finally:
            while True:
                pass
    asyncio.get_running_loop().create_task(busy())
    await asyncio.sleep(0)
    return record

class Odd(dict):
    def keys(self): raise ValueError("no keys")
    def __iter__(self): raise ValueError("no keys")

def odd(record):
    return Odd(record) if record["a"] == 2 else record

async def async_odd(record):
    return odd(record)

class Unsayable(Exception):
    def __str__(self): raise KeyboardInterrupt

def unsayable(record):
    if record["a"] == 2:
        raise Unsayable
    return record

class Text(str): pass

def wrong(record):
    return {1: [[record]], 2: {Text("b"): 1}, 3: (record, None)}[record["a"]]
"""
A = [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(CODE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("options", [{}, {"timeout": 30}, {"isolate": True}])
@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("stops", "RuntimeError: Event loop stopped"),
        ("stops_and_holds_on", "RuntimeError: Event loop stopped"),
        ("task_raises", "KeyboardInterrupt"),
        ("exits", "GeneratorExit"),
        ("odd", "ValueError: no keys"),
        ("async_odd", "ValueError: no keys"),
        ("unsayable", "Unsayable: <its text raised KeyboardInterrupt>"),
    ],
)
def test_it_refuses_the_record_in_hand_and_no_other(
    folder: Path, function: str, text: str, options: dict[str, Any]
) -> None:
    outcome = call(folder, A, function=function, mode="record", **options)
    assert outcome.records == [{"a": 1}, {"a": 3}]
    ((index, _, rule, message),) = outcome.refused
    assert (index, rule) == (1, "custom_function.raised")
    assert message.startswith(f"custom function functions.{function} raised {text}")


@pytest.mark.parametrize("function", ["leaves_a_deaf_task", "leaves_a_busy_task"])
def test_what_it_leaves_in_its_loop_does_not_hold_the_run(folder: Path, function: str) -> None:
    operation, rows = custom_function(callable=f"functions.{function}", mode="record"), RowSlice([*A], [0, 1, 2])
    operation.rows(rows, StepContext(base_dir=folder))
    closing = threading.Thread(target=operation.close, daemon=True)
    closing.start()
    closing.join(30)
    assert (rows.records, closing.is_alive()) == (A, False)


def test_messages_say_what_was_returned(folder: Path) -> None:
    outcome = call(folder, A, function="wrong", mode="record")
    said = [message.partition("returned ")[2].partition(", not a record")[0] for *_, message in outcome.refused]
    assert said == [
        "a list with a list of records in it",
        "an object with a field name that is a Text",
        "a list with None in it",
    ]


def test_one_record_is_not_a_list_of_them(folder: Path) -> None:
    (folder / "one.py").write_text("def one(records):\n    return {'n': 1}\n", encoding="utf-8")
    with pytest.raises(FatalError, match=r"one\.one returned an object, not a list of records"):
        call(folder, A, callable="one.one", mode="batch")
