"""What is generated from the code is complete and up to date."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from etlctl.catalog import Catalog, Entry, Kind
from etlctl.contract.codes import Code
from etlctl.contract.json_schema import schema_for
from etlctl.contract.nodes import read_document
from etlctl.contract.reference import EXIT_CODES, reference_page, stale_files, write_files

REPOSITORY = Path(__file__).parents[2]
CATALOG = Catalog.for_workspace(REPOSITORY, plug_ins=False)
SECTION = {Kind.extractor: "extract", Kind.operation: "transform", Kind.loader: "load"}
EXAMPLES = [(entry, example) for entry in CATALOG.entries() for example in entry.load().examples]


def test_the_generated_files_are_up_to_date() -> None:
    assert stale_files(REPOSITORY / "schemas", CATALOG) == [], "run 'etlctl reference'"


def test_writing_touches_only_what_changed(tmp_path: Path) -> None:
    assert len(write_files(tmp_path, CATALOG)) == 7
    assert write_files(tmp_path, CATALOG) == []
    (tmp_path / "load.schema.json").write_text("{}", encoding="utf-8")
    assert stale_files(tmp_path, CATALOG) == ["load.schema.json"]
    assert write_files(tmp_path, CATALOG) == ["load.schema.json"]


def test_the_page_names_everything() -> None:
    page = reference_page(CATALOG)
    for entry in CATALOG.entries():
        assert f"### `{entry.type}`" in page
        for option in entry.docs().options:
            assert f"| `{option.name}` |" in page
    for code in Code:
        assert f"| {code.value} |" in page
    for exit_code in EXIT_CODES:
        assert f"| {exit_code} |" in page


@pytest.mark.parametrize(
    ("entry", "example"), EXAMPLES, ids=[f"{entry.kind}-{entry.type}-{example.title}" for entry, example in EXAMPLES]
)
def test_every_example_fits_the_schema(entry: Entry, example: object, tmp_path: Path) -> None:
    lines = example.yaml.strip("\n").split("\n")  # type: ignore[attr-defined]
    if entry.kind is Kind.operation:
        lines = ["transform:", f"  - {entry.type}:", *(f"      {line}" for line in lines)]
    elif not any(line.startswith("type:") for line in lines):
        lines = [f"type: {entry.type}", *lines]
    file = tmp_path / "example.yaml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    document = read_document(file, file.name)
    assert not document.problems
    validator = jsonschema.Draft202012Validator(schema_for(SECTION[entry.kind], CATALOG))
    assert [error.message for error in validator.iter_errors(document.data)] == []
