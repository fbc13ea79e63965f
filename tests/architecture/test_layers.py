"""The layers hold, component folders included, and the check really sees a forbidden import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = ROOT / ".ci" / "lint_imports.py"
PACKAGE_FOLDERS = ("etlctl", "extractors", "transforms", "loaders")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LINT), str(root)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in PACKAGE_FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_layers_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "seen"),
    [
        ("extractors/planted.py", "from etlctl.state import migrations", "etlctl.extractors.planted -> etlctl.state"),
        ("loaders/planted.py", "import etlctl.engine", "etlctl.loaders.planted -> etlctl.engine"),
        ("transforms/planted.py", "import etlctl.loaders", "etlctl.transforms.planted -> etlctl.loaders"),
        (
            "transforms/planted.py",
            "import etlctl.transforms.rename",
            "etlctl.transforms.planted -> etlctl.transforms.rename",
        ),
        ("etlctl/engine/planted.py", "import etlctl.extractors", "etlctl.engine.planted -> etlctl.extractors"),
        ("etlctl/kit/planted.py", "from etlctl.sdk import Batch", "etlctl.kit.planted -> etlctl.sdk"),
        ("etlctl/sdk/planted.py", "import etlctl.catalog", "etlctl.sdk.planted -> etlctl.catalog"),
    ],
)
def test_a_planted_import_is_seen(checkout: Path, file: str, line: str, seen: str) -> None:
    (checkout / file).write_text(f'"""Planted."""\n\n{line}\n', encoding="utf-8")
    done = lint(checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert seen in done.stdout


def test_a_module_outside_every_layer_is_refused(checkout: Path) -> None:
    (checkout / "etlctl" / "planted.py").write_text('"""Planted."""\n', encoding="utf-8")
    done = lint(checkout)
    assert done.returncode == 1
    assert "planted" in done.stdout
