"""The public names are pinned: adding or losing one is a decision, written down here and in the changelog."""

import importlib
import subprocess
import sys

import pytest

PUBLIC = {
    "etlctl": ["DeltaTracker", "ETLOrchestrator", "ETLProgress", "RunResult", "Storage", "__version__", "run_delta"],
    "etlctl.sdk": [
        "Batch",
        "CommitToken",
        "Component",
        "ConclusionContext",
        "Context",
        "Delivery",
        "Encoded",
        "Encoder",
        "Example",
        "Extractor",
        "FatalError",
        "FieldProblem",
        "FieldSet",
        "Loader",
        "MissingExtraError",
        "Operation",
        "Position",
        "Published",
        "ReadContext",
        "Receipt",
        "Record",
        "RecordRejected",
        "Rejection",
        "RetryableError",
        "RowSlice",
        "Scope",
        "Screening",
        "SourceUnavailable",
        "StepContext",
        "Verdict",
        "WriteContext",
        "Writer",
    ],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_pinned(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(PUBLIC[module])


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_public_names_exist_and_are_documented(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, type):
        assert (value.__doc__ or "").strip(), f"{module}.{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module("etlctl").no_such_name  # noqa: B018


def test_the_version_is_the_one_in_the_metadata() -> None:
    import tomllib
    from pathlib import Path

    import etlctl

    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert etlctl.__version__ == tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"]


@pytest.mark.parametrize("module", ["etlctl", "etlctl.jsonata"])
def test_a_notebook_completes_names_that_are_loaded_when_asked_for(module: str) -> None:
    # In a process of its own: once such a name was asked for, some modules keep it.
    code = f"import {module} as it; assert set(it.__all__) <= set(dir(it)), set(it.__all__) - set(dir(it))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
