"""Run import-linter over the package as it is installed, with the component folders inside it.

import-linter finds modules by walking the folder of a package. In a checkout (and in an editable install) the three
component folders stand beside ``etlctl/``, where it would never see them. So the package is put together first, the
way setuptools' ``package-dir`` does it, in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def assemble(root: Path, target: Path) -> Path:
    """Copy the packages named in ``pyproject.toml`` to where an install puts them; return the folder to import from."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    sources = settings["package-dir"]
    for package in settings["packages"]:
        folder = sources.get(package) or package.replace(".", "/")
        home = target / package.replace(".", "/")
        home.mkdir(parents=True, exist_ok=True)
        for source in (root / folder).glob("*.py"):
            shutil.copy2(source, home)
    return target


def main() -> int:
    """Lint the imports; the exit code is import-linter's."""
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    with tempfile.TemporaryDirectory() as folder:
        target = assemble(root, Path(folder))
        # import-linter puts the current folder first on its path, so it must run where the assembled package is.
        command = [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--config",
            str(root / "pyproject.toml"),
            "--no-cache",
        ]
        return subprocess.run(  # noqa: S603
            command, cwd=target, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
