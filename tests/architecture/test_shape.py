"""Files and functions stay small, and names say what they hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("etlctl", "extractors", "transforms", "loaders", "benchmarks", ".ci")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50

SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts and "out" not in path.parts
)


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every function with its length in lines, its docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1
            yield f"{node.name} (line {node.lineno})", length - (docstring.count("\n") + 1 if docstring else 0)


def test_the_sources_are_found() -> None:
    assert {"etlctl/batch.py", "extractors/__init__.py", "etlctl/sdk/component.py"} <= set(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_files_and_functions_are_small(source: str) -> None:
    text = (ROOT / source).read_text(encoding="utf-8")
    assert text.count("\n") < MAX_FILE_LINES, f"{source} has {text.count(chr(10))} lines: is there a second subject?"
    long = {name: length for name, length in functions(ast.parse(text)) if length >= MAX_FUNCTION_LINES}
    assert not long, f"{source}: functions of {MAX_FUNCTION_LINES} lines and more: {long}"


@pytest.mark.parametrize("source", SOURCES)
def test_files_say_their_subject_in_the_first_line(source: str) -> None:
    text = (ROOT / source).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, f"{source} has no module docstring"
    assert text.startswith(('"""', 'r"""', "#!")), f"{source} does not begin with its docstring"


def test_no_module_is_a_drawer() -> None:
    drawers = [s for s in SOURCES if FORBIDDEN_NAMES & set(Path(s).with_suffix("").parts)]
    assert not drawers, f"name these after what they hold: {drawers}"


def test_no_two_test_modules_have_one_name() -> None:
    """Pytest imports them by their base name."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in {"conftest.py", "__init__.py"}]
    assert sorted(set(names)) == sorted(names)
