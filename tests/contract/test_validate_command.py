"""``etlctl validate`` and ``etlctl explain`` as people and CI call them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from etlctl.catalog.static_model import StaticReader
from etlctl.cli.explain import explain
from etlctl.cli.validate import validate
from etlctl.contract.codes import Code

app = typer.Typer()
app.command("validate")(validate)
app.command("explain")(explain)


def call(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def test_good_contracts(make: Any) -> None:
    path = make()
    make("two")
    result = call("validate", path.parent)
    assert result.exit_code == 0, result.output
    assert f"{path.as_posix()} is valid" in result.stdout
    assert result.stderr == "2 contracts checked, 0 errors, 0 warnings\n"


def test_bad_contracts(make: Any) -> None:
    bad = make("bad", extract="type: made\nszie: 3\ntoken: abc-def\n")
    make("good")
    result = call("validate", bad.parent)
    assert result.exit_code == 3
    assert f"{bad.as_posix()}/extract.yaml:2:1 E201 unknown key 'szie'" in result.stdout
    assert "^^^^" in result.stdout
    assert "did you mean 'size'?" in result.stdout
    assert "abc-def" not in result.output
    assert "good is valid" in result.stdout
    assert result.stderr.endswith("2 contracts checked, 1 error, 1 warning\n")


@pytest.mark.parametrize("chosen", ["concise", "json", "github", "sarif", "full"])
def test_formats(make: Any, chosen: str) -> None:
    path = make(extract="type: made\nszie: 3\n")
    result = call("validate", path, "--format", chosen)
    assert result.exit_code == 3
    assert "E201" in result.stdout
    if chosen in {"json", "sarif"}:
        assert json.loads(result.stdout)
    if chosen in {"concise", "github"}:
        assert result.stdout.count("\n") == 1


def test_json(make: Any) -> None:
    path = make(extract="type: made\nszie: 3\n")
    found = json.loads(call("validate", path, "--json").stdout)
    assert found["errors"] == 1
    assert found["warnings"] == 0
    assert found["diagnostics"][0]["line"] == 2
    assert found["contracts"] == [{"path": path.as_posix(), "name": "orders", "valid": False, "delivery": None}]


def test_ignore(make: Any) -> None:
    path = make(extract="type: made\npath: ${UNSET_VARIABLE}\n")
    assert call("validate", path).exit_code == 3
    result = call("validate", path, "--ignore", "e402")
    assert result.exit_code == 0
    assert "0 errors" in result.stderr
    wrong = call("validate", path, "--ignore", "E4O2")
    assert wrong.exit_code == 2
    assert "E402" in wrong.output


def test_parameters(make: Any) -> None:
    path = make(extract="type: made\nsize: ${n}\ninput_params:\n  n: {type: string, required: true}\n")
    assert call("validate", path).exit_code == 0
    assert call("validate", path, "-p", "n=5").exit_code == 0
    result = call("validate", path, "-p", "n=five", "--format", "concise")
    assert result.exit_code == 3
    assert ":2:7 E203 'size' must be a whole number, not 'five'" in result.stdout


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    assert call("validate", tmp_path / "nothing").exit_code == 2


def test_a_folder_without_contracts_is_not_good(tmp_path: Path) -> None:
    result = call("validate", tmp_path)
    assert result.exit_code == 3
    assert "E208" in result.stdout


def test_a_name_taken_twice_is_said_once(make: Any, tmp_path: Path) -> None:
    make("a")
    make("b")
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms" / "rename.py").write_text("", encoding="utf-8")
    result = call("validate", tmp_path, "--format", "concise")
    assert result.exit_code == 3
    assert result.stdout.count("E304") == 1


def test_nothing_of_the_user_runs_and_nothing_is_called(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("validate touched the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    path = make(
        extract={"type": "made", "path": "https://example.com/x"},
        transform="custom_function: {module: marking_module, function: f}\n",
    )
    root = path.parent.parent
    (path / "marking_module.py").write_text("open('marked.txt', 'w').close()\ndef f(r): return r\n", encoding="utf-8")
    (root / "marking_module.py").write_text("open('marked.txt', 'w').close()\ndef f(r): return r\n", encoding="utf-8")
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    result = call("validate", path)
    assert result.exit_code == 0, result.output
    assert "marking_module" not in sys.modules
    assert not list(root.rglob("imported.txt"))
    assert not list(root.rglob("marked.txt"))


def test_two_hundred_contracts_are_quick(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        make(
            f"c{number:03}",
            extract="type: made\npath: ${DATA:-x}/a.csv\nsize: 5\nnames: [a, b]\nbatch_size: 10\n",
            transform="transform:\n  rename: {a: b}\n  convert: {b: integer}\n  add: {c: '${b} x'}\n  drop: [d]\n",
        )
    built: list[str] = []
    model = StaticReader.model

    def counted(self: StaticReader, node: Any) -> Any:
        built.append(node.name)
        return model(self, node)

    monkeypatch.setattr(StaticReader, "model", counted)
    began = time.perf_counter()
    result = call("validate", tmp_path)
    seconds = time.perf_counter() - began
    assert result.stderr == "200 contracts checked, 0 errors, 0 warnings\n"
    assert sorted(built) == ["Made", "Sink"]
    assert seconds < 4, f"{seconds:.1f} s"


def test_as_a_process_without_colour(make: Any) -> None:
    path = make(extract="type: made\nszie: é\n")
    code = "import typer; from etlctl.cli.validate import validate; typer.run(validate)"
    environ = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, encoding="utf-8", env=environ, check=False
    )
    assert done.returncode == 3
    assert "\x1b[" not in done.stdout
    assert "E201" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; import etlctl.cli.validate, etlctl.cli.explain;"
        "heavy = {'polars', 'pydantic', 'yaml', 'sqlalchemy', 'aiohttp', 'alembic'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_explain_one() -> None:
    result = call("explain", "e201")
    assert result.exit_code == 0
    assert result.stdout.startswith("E201 unknown-key (error)\n")
    assert "Wrong:" in result.stdout
    assert call("explain", "unknown-key").stdout == result.stdout


def test_explain_all() -> None:
    listed = call("explain").stdout
    assert all(code.value in listed for code in Code)
    told = [rule["code"] for rule in json.loads(call("explain", "--json").stdout)]
    assert told == sorted((code.value for code in Code), key=lambda code: (code[1:], code[0]))


def test_explain_something_else() -> None:
    result = call("explain", "unknwon-key")
    assert result.exit_code == 2
    assert "unknown-key" in result.output
