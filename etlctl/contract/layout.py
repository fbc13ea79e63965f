"""Where a contract's sections stand: a folder of files, or one file with all of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etlctl.catalog.workspace import CONFIG_NAME, read_config
from etlctl.contract.codes import Code
from etlctl.contract.document import Document, PathKey
from etlctl.contract.nodes import read_document
from etlctl.contract.suggest import closest
from etlctl.diagnostics import Diagnostic, Span
from etlctl.errors import ContractError
from etlctl.frozen import frozen

PIPELINE = "pipeline.yaml"
SECTION_FILES = {name: f"{name}.yaml" for name in ("extract", "transform", "load", "contract")}
TRANSFORM_KEYS = ("transform", "jsonata", "custom_function")
TRANSFORM_SETTINGS = ("workers",)
"""Keys beside them that are no steps."""
CASES_KEY = "cases"
"""Key of a single file that holds its cases; ``etlctl test`` reads them, nothing else does."""
_MARKS = (SECTION_FILES["extract"], SECTION_FILES["load"], SECTION_FILES["transform"], PIPELINE)
_SKIPPED = {"node_modules", "__pycache__", "venv", "site-packages"}


@frozen
class Part:
    """One section: its raw data, and where in which document it stands."""

    document: Document
    data: Any
    prefix: PathKey = ()

    @property
    def file(self) -> str:
        """Path of the file as the user wrote it."""
        return self.document.file

    def value(self, path: PathKey) -> Any:
        """Return a raw value; None where there is none."""
        found = self.data
        for part in path:
            inside = isinstance(found, dict) or (isinstance(found, list) and isinstance(part, int))
            if not inside or (isinstance(found, dict) and part not in found):
                return None
            found = found[part]
        return found

    def key_span(self, path: PathKey) -> Span | None:
        """Return where a key of the section is."""
        return self.document.key_span((*self.prefix, *path))

    def value_span(self, path: PathKey) -> Span | None:
        """Return where a value of the section is."""
        return self.document.value_span((*self.prefix, *path))

    def inside(self, path: PathKey, start: int, end: int) -> Span | None:
        """Return where some characters of a text value are."""
        return self.document.inside((*self.prefix, *path), start, end)

    def nearest(self, path: PathKey) -> PathKey:
        """Return the path without the parts that do not stand in the section."""
        return self.document.nearest((*self.prefix, *path))[len(self.prefix) :]

    def is_plain(self, path: PathKey) -> bool:
        """Tell whether a value is written without quotes."""
        return self.document.is_plain((*self.prefix, *path))

    def written(self, path: PathKey) -> str | None:
        """Return a number, true or false as it is written, such as 1.10; None for anything else."""
        return self.document.written((*self.prefix, *path))

    def digest(self) -> str:
        """Return the SHA-256 of what the section does to records.

        Comments and layout do not count, nor how a run is operated: limits, batches, retries, schedules.
        """
        content = self.data
        if isinstance(content, dict):
            content = {key: value for key, value in content.items() if key not in _OPERATING}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_OPERATING = frozenset(
    {
        "batch_size",
        "checkpoint",
        "checks",
        "dead_letters",
        "description",
        "error_recovery",
        "max_memory_mb",
        "owner",
        "processing_mode",
        "replace_guard",
        "schedule",
        "tags",
        "workers",
    }
)
"""Keys that may change between the attempts of a run."""


@dataclass
class Layout:
    """A contract as it lies on disk.

    Attributes:
        path: Folder or file, as the user wrote it.
        base_dir: Folder that relative paths in it start at.
        default_name: Name when the contract does not give one.
        sections: extract, transform, load, contract; a broken or absent one is left out.
        documents: Every file that was read.
        problems: Missing files, YAML problems.
    """

    path: str
    base_dir: Path
    default_name: str
    sections: dict[str, Part] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)

    def is_broken(self, section: str) -> bool:
        """Tell whether the file that a section stands in, or would stand in, could not be read as YAML."""
        if section in self.sections:
            return bool(self.sections[section].document.problems)
        alone = len(self.documents) == 1  # a single file
        return any(
            document.problems for document in self.documents if alone or document.path.name == SECTION_FILES[section]
        )


def shown_path(path: Path) -> str:
    """Return a path as messages show it: as the user wrote it, with forward slashes."""
    return path.as_posix()


def is_contract_dir(path: Path) -> bool:
    """Tell whether a folder is a contract."""
    return any((path / name).is_file() for name in _MARKS)


def find_contracts(path: Path) -> Iterator[Path]:
    """Yield the contracts at or below a path, in order: folders, and single files that were named.

    A workspace folder (one with ``etlctl.yaml``) is searched in its folder of contracts only.
    """
    if path.is_file():
        yield path.parent if path.name in SECTION_FILES.values() else path
    elif is_contract_dir(path):
        yield path
    elif (below := _contracts_folder(path)) is not None:
        yield from find_contracts(below)
    else:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if entry.is_dir() and not entry.name.startswith(".") and entry.name not in _SKIPPED:
                yield from find_contracts(path / entry.name)


def _contracts_folder(path: Path) -> Path | None:
    """Return the folder of contracts of a workspace; None when the path is no workspace, or has them all over."""
    config = path / CONFIG_NAME
    try:
        below = path / read_config(config).contracts if config.is_file() else path
    except ContractError:
        below = path / "contracts"
    return below if below.is_dir() and below.resolve() != path.resolve() else None


def read_layout(path: Path) -> Layout:
    """Read the files of a contract. Whatever is wrong with them is in ``problems``."""
    shown = shown_path(path)
    if path.is_file() and path.name in SECTION_FILES.values():
        path, shown = path.parent, shown_path(path.parent)
    if path.is_file():
        return _read_pipeline(path, path.parent, path.stem if path.name != PIPELINE else _folder_name(path.parent))
    if not path.is_dir():
        layout = Layout(shown, path.parent, path.name)
        near = closest(path.name, _siblings(path))
        help_ = f"did you mean {shown_path(path.parent / near)!r}?" if near else "run 'etlctl init' to make a first one"
        layout.problems.append(Code.no_contract.at(shown, None, f"no contract at {shown}: no such path", help=help_))
        return layout
    if (path / PIPELINE).is_file():
        return _read_pipeline(path / PIPELINE, path, _folder_name(path))
    return _read_folder(path)


def _folder_name(path: Path) -> str:
    return path.resolve().name


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def _read(layout: Layout, path: Path) -> Document:
    document = read_document(path, shown_path(path))
    layout.documents.append(document)
    layout.problems += document.problems
    return document


def _read_folder(path: Path) -> Layout:
    layout = Layout(shown_path(path), path.resolve(), _folder_name(path))
    names = _siblings(path / "any")
    if not is_contract_dir(path):
        message = f"no contract in {layout.path}: neither extract.yaml nor {PIPELINE} is there"
        help_ = "name a contract's folder, or run 'etlctl init' to make a first one"
        layout.problems.append(Code.no_contract.at(layout.path, None, message, help=help_))
        return layout
    for section, name in SECTION_FILES.items():
        if name in names:
            document = _read(layout, path / name)
            if _is_mapping(layout, document, f"{name} must hold 'key: value' lines", required=section != "contract"):
                layout.sections[section] = Part(document, document.data or {})
        elif section in {"extract", "load"}:
            layout.problems.append(_missing_file(layout, path / name, names))
    return layout


def _missing_file(layout: Layout, path: Path, names: list[str]) -> Diagnostic:
    others = [name for name in names if name not in SECTION_FILES.values() and name.endswith((".yaml", ".yml"))]
    near = closest(path.name, others)
    help_ = f"did you mean to name {near!r} {path.name!r}?" if near else f"add {path.name} with at least 'type:'"
    return Code.missing_file.at(shown_path(path), None, f"{layout.path} has no {path.name}", help=help_)


def _is_mapping(layout: Layout, document: Document, message: str, *, required: bool) -> bool:
    if document.root is None:
        if required and not document.problems:
            problem = Code.wrong_type.at(document.file, None, f"the file is empty: {message}")
            layout.problems.append(problem)
        return not document.problems
    if isinstance(document.data, dict):
        return True
    if document.data is None and not required:
        return True
    layout.problems.append(Code.wrong_type.at(document.file, document.value_span(()), message))
    return False


def _read_pipeline(path: Path, base: Path, name: str) -> Layout:
    layout = Layout(shown_path(path), base.resolve(), name)
    if path.name == PIPELINE:
        clashing = [file for file in SECTION_FILES.values() if (base / file).is_file()]
        if clashing:
            message = f"both {PIPELINE} and {', '.join(clashing)} are in {shown_path(base)}: only one layout can count"
            problem = Code.both_layouts.at(layout.path, None, message, help="move the sections together, or delete one")
            layout.problems.append(problem)
    document = _read(layout, path)
    if not _is_mapping(layout, document, "a contract must hold the sections extract: and load:", required=True):
        return layout
    data = document.data or {}
    for section in ("extract", "load"):
        if section == "load" and isinstance(data.get(section), list):
            layout.sections[section] = Part(document, {section: data[section]})
        elif isinstance(data.get(section), dict):
            layout.sections[section] = Part(document, data[section], (section,))
        elif section in data:
            message = f"{section}: must hold 'key: value' lines"
            layout.problems.append(Code.wrong_type.at(document.file, document.value_span((section,)), message))
        elif document.root is not None:
            layout.problems.append(_missing_section(document, section, data))
    beside = (*TRANSFORM_KEYS, *TRANSFORM_SETTINGS)
    steps = {key: data[key] for key in beside if key in data}
    if steps:
        layout.sections["transform"] = Part(document, steps)
    rest = {key: value for key, value in data.items() if key not in {"extract", "load", CASES_KEY, *beside}}
    layout.sections["contract"] = Part(document, rest)
    return layout


def _missing_section(document: Document, section: str, data: dict[str, Any]) -> Diagnostic:
    near = closest(section, data)
    help_ = f"did you mean {section!r} where {near!r} stands?" if near else f"add '{section}:' with at least 'type:'"
    return Code.missing_key.at(document.file, None, f"section '{section}:' is missing", help=help_)
