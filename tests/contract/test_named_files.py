"""Files that a contract's steps name are looked at by ``validate``, and nothing of the user's is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etlctl.contract.compile import check

FILES = {"extract": {"type": "made"}, "load": {"type": "sink"}}


def told(make: Any, steps: Any, files: dict[str, str]) -> list[tuple[str, str | None]]:
    """Return code, place and message of what is found, and the help, for a contract with files beside it."""
    folder: Path = make(**FILES, transform={"transform": steps})
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    lines = (folder / "transform.yaml").read_text(encoding="utf-8").split("\n")
    return [
        (
            f"{one.code} {lines[one.span.line - 1][one.span.column - 1 : one.span.end_column - 1]}: {one.message}",
            one.help,
        )
        for one in check(folder, environ={})
        if one.span is not None
    ]


def function(**options: Any) -> list[Any]:
    """Return the steps of a contract with one custom function."""
    return [{"custom_function": options}]


@pytest.mark.parametrize(
    ("options", "files", "said", "help_"),
    [
        (
            {"module": "prics", "function": "net"},
            {"prices.py": "def net(records): return records\n"},
            "E205 prics: there is no module 'prics' beside the contract, in the workspace or among the installed packages",
            "did you mean 'prices'?",
        ),
        (
            {"callable": "prices.nett"},
            {"prices.py": "def net(records): return records\n"},
            "E205 nett: prices.py has no function 'nett'",
            "did you mean 'net'?",
        ),
        (
            {"module": "prices", "function": "other"},
            {"prices.py": "import os\nclass Net: pass\n_hidden = 1\n"},
            "E205 other: prices.py has no function 'other'",
            "it could be: Net, os",
        ),
        (
            {"module": "prices", "function": "net"},
            {"prices.py": "x = 1\ndef net(records:\n"},
            "E205 prices: prices.py, line 2: '(' was never closed",
            None,
        ),
        (
            {"module": "prices", "function": "net"},
            {"prices.py": "return 5\n"},
            "E205 prices: prices.py, line 1: 'return' outside function",
            None,
        ),
        (
            {"module": "shop.prices", "function": "net"},
            {"shop/prices.py": "", "shop/__init__.py": ""},
            "E205 net: prices.py has no function 'net'",
            None,
        ),
    ],
)
def test_a_function_that_cannot_be_called(
    make: Any, options: dict[str, Any], files: dict[str, str], said: str, help_: str | None
) -> None:
    assert told(make, function(**options), files) == [(said, help_)]


@pytest.mark.parametrize(
    "text",
    [
        "def net(r): return r",
        "async def net(r): return r",
        "class net: pass",
        "net = print",
        "from os import getcwd as net",
        "from os.path import *",
        "try:\n    from x import net\nexcept ImportError:\n    net = None",
        "if True:\n    def net(r): return r",
        "(net := print)",
        "for net in [print]: pass",
        "def __getattr__(name): return print",
        "globals()['net'] = print",
        "a, (net, b) = 1, (print, 2)",
        "raise SystemExit('this file was run')\ndef net(r): return r",
    ],
)
def test_a_function_that_is_there_or_may_be(make: Any, text: str) -> None:
    assert told(make, function(callable="prices.net"), {"prices.py": f"{text}\n"}) == []


@pytest.mark.parametrize("callable_", ["copy.copy", "os.path.join", "polars.nothing_like_it", "shop.part.net"])
def test_what_is_installed_or_a_package_is_for_the_run_to_import(make: Any, callable_: str) -> None:
    assert told(make, function(callable=callable_), {"shop/part/__init__.py": "def net(r): return r\n"}) == []


def test_a_function_of_the_workspace(make: Any, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("def net(r): return r\n", encoding="utf-8")
    assert told(make, function(callable="shared.net"), {}) == []
    assert told(make, function(callable="shared.nett"), {})[0][0] == "E205 nett: shared.py has no function 'nett'"


def test_a_table_with_another_key_column(make: Any) -> None:
    steps = [{"map": {"country": {"file": "names.csv", "key_column": "cod", "value_column": "name"}}}]
    ((said, _),) = told(make, steps, {"names.csv": "code,name\nDE,Germany\n"})
    assert said.startswith("E205 ")
    assert "has no column 'cod'; there are code, name" in said


def test_a_right_side_that_is_not_there(make: Any) -> None:
    steps: list[Any] = [{"join": {"with": {"type": "file", "path": "names.csv"}, "on": "id"}}]
    ((said, _),) = told(make, steps, {})
    assert said.startswith("E205 names.csv: the right side of the join: File not found: ")
    assert told(make, steps, {"names.csv": "id,name\n"}) == []
