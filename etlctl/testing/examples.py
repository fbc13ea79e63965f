"""Turns the examples of a component into contracts that compile, in a folder of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from etlctl.catalog import Catalog, Entry, Kind
from etlctl.contract.compile import load_contract
from etlctl.contract.model import Contract
from etlctl.errors import CatalogError, ContractError
from etlctl.sdk.component import Component, Example
from etlctl.testing.doubles import MemoryExtractor, MemoryLoader
from etlctl.testing.findings import Findings

EXAMPLE_NOW = datetime(2024, 1, 31, 12, 0, tzinfo=UTC)
"""The instant that examples run at."""
_SOURCE, _SINK = "testing_memory_source", "testing_memory_sink"


def kind_of(cls: type[Component]) -> Kind:
    """Return what a component class is for.

    Raises:
        CatalogError: It derives from none of the three.
    """
    for kind in Kind:
        if issubclass(cls, kind.base):
            return kind
    raise CatalogError(f"{cls.__name__} derives from none of etlctl.sdk.Extractor, Operation and Loader")


def type_of(cls: type[Component]) -> str:
    """Return the name that a contract would use: the name of the class's file."""
    return cls.__module__.rpartition(".")[2]


@contextmanager
def example_folder(example: Example) -> Iterator[Path]:
    """Give a folder with the files of an example in it, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="etlctl-example-") as name:
        folder = Path(name)
        for file, content in given_files(example).items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield folder


def given_files(example: Example) -> Mapping[str, str | bytes]:
    """Return the files an example starts from: name to content."""
    return {**example.files, **(example.given if isinstance(example.given, Mapping) else {})}


def compile_example(cls: type[Component], example: Example, folder: Path, found: Findings) -> Contract | None:
    """Return the contract an example makes; None after noting why it makes none."""
    kind, name = kind_of(cls), type_of(cls)
    _write_contract(folder, kind, name, example.yaml)
    try:
        return load_contract(folder, catalog=_catalog_with(cls, kind, name), now=EXAMPLE_NOW)
    except ContractError as error:
        for diagnostic in error.diagnostics:
            line = f"line {diagnostic.span.line}: " if diagnostic.span else ""
            found.add(f"example {example.title!r}: {diagnostic.code} {line}{diagnostic.message}")
        if not error.diagnostics:
            found.add(f"example {example.title!r}: {error}")
    return None


def _catalog_with(cls: type[Component], kind: Kind, name: str) -> Catalog:
    doubles: dict[tuple[Kind, str], type[Component]] = {
        (Kind.extractor, _SOURCE): MemoryExtractor,
        (Kind.loader, _SINK): MemoryLoader,
        (kind, name): cls,
    }
    tested = [
        Entry(of_kind, of_name, "the tested component", None, trusted=True, module=of.__module__, attribute=of.__name__)
        for (of_kind, of_name), of in doubles.items()
    ]
    # An example may have a whole extractor section inside its options.
    others = Catalog.for_workspace(None, plug_ins=False).entries(Kind.extractor)
    return Catalog([*tested, *(entry for entry in others if (entry.kind, entry.type) not in doubles)])


def _write_contract(folder: Path, kind: Kind, name: str, yaml: str) -> None:
    files = {"extract.yaml": f"type: {_SOURCE}\n", "load.yaml": f"type: {_SINK}\n", "contract.yaml": "name: example\n"}
    if kind is Kind.operation:
        files["transform.yaml"] = f"transform:\n  - {name}:{_below(yaml)}"
    else:
        file = "extract.yaml" if kind is Kind.extractor else "load.yaml"
        has_type = any(line.startswith("type:") for line in yaml.split("\n"))
        files[file] = yaml if has_type else f"type: {name}\n{yaml}"
    for file, text in files.items():
        (folder / file).write_text(text + "\n", encoding="utf-8")


def _below(yaml: str) -> str:
    """Return YAML moved under the key of a list item, whatever its form."""
    return "".join(f"\n      {line}" for line in yaml.strip("\n").split("\n"))
