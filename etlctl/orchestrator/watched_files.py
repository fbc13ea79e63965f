"""Which files a preview of a contract depends on, and whether they have changed since one looked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from etlctl.catalog.workspace import find_workspace
from etlctl.contract.checked import Checked
from etlctl.errors import ContractError, FatalError

_SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "site-packages", "build", "dist"})
_CODE = (".py",)
_CONTRACT = (".yaml", ".yml", ".json", ".jsonata", ".sql", ".py")
_MOST = 5000
"""Files of a workspace to look at: what looks like a whole disk is not one."""

Fingerprint = Mapping[Path, tuple[int, int, int] | None]


def watched_files(contract: Path, checked: Checked) -> frozenset[Path]:
    """Return the files of a contract, the Python files of its workspace, and the local files it reads.

    Args:
        contract: The contract: its folder, or a single file.
        checked: What is known of it; it may be broken.
    """
    folder = contract if contract.is_dir() else contract.parent
    found = {path for path in folder.glob("*") if path.suffix in _CONTRACT and path.is_file()}
    found.update(document.path for document in checked.layout.documents)
    try:
        root = find_workspace(folder).root
    except ContractError:  # its etlctl.yaml is broken: that one is waited for
        root = folder
    if (root / "etlctl.yaml").is_file():
        found.add(root / "etlctl.yaml")
    for place in {root, folder} if (root / "etlctl.yaml").is_file() else {folder}:
        found.update(_python_files(place))
    found.update(_sources(checked))
    return frozenset(path.absolute() for path in found)


def _python_files(root: Path) -> Iterator[Path]:
    seen = 0
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for name in files:
            if name.endswith(_CODE):
                seen += 1
                if seen > _MOST:
                    return
                yield Path(place) / name


def _sources(checked: Checked) -> Iterator[Path]:
    base_dir = checked.layout.base_dir
    if checked.extractor is not None:
        try:
            yield from checked.extractor.places(base_dir)
        except (FatalError, OSError):  # it is not there yet
            given = getattr(checked.extractor, "path", None)
            for name in [given] if isinstance(given, str) else given or []:
                yield base_dir / name
    for step in checked.steps:
        if step.operation is not None:
            yield from step.operation.code(base_dir)


def fingerprint(files: frozenset[Path]) -> Fingerprint:
    """Return what tells whether one of the files was written, replaced or removed."""
    return {path: _stat(path) for path in files}


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def changed_files(before: Fingerprint, after: Fingerprint) -> list[Path]:
    """Return the files that are new, gone or written since."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
