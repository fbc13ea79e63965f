"""The JSON Schemas and the validator accept and reject the same documents.

One known difference is left out of the corpus: JSON Schema cannot see quotes, so it lets a quoted variable stand for a
number, and it takes 1.0 for an integer.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from etlctl.catalog import Catalog
from etlctl.contract.codes import Code
from etlctl.contract.compile import check
from etlctl.contract.json_schema import SECTIONS, schema_for
from etlctl.contract.nodes import read_document

HERE = Path(__file__).parent
DOCUMENTS = sorted((HERE / "corpus").rglob("*.yaml"))
ENVIRON = {"COUNT": "5", "QUICK": "true", "MODE": "two", "WO": "wo", "PACE": "fast", "TYPE": "shapes"}
STRUCTURAL = {
    code.value
    for code in (
        Code.unknown_key,
        Code.missing_key,
        Code.wrong_type,
        Code.invalid_value,
        Code.mixed_transform,
        Code.transform_shape,
        Code.unusable_name,
        Code.unknown_component,
        Code.unknown_operation,
        Code.unknown_convert_type,
    )
}
OTHERS = {"extract": "type: shapes\nname: x\n", "load": "type: shelf\ntable: t\n"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.for_workspace(HERE / "workspace", plug_ins=False)


@pytest.fixture(scope="module")
def schemas(catalog: Catalog) -> dict[str, dict[str, Any]]:
    return {section: schema_for(section, catalog) for section in SECTIONS}


def contract_with(document: Path, section: str, folder: Path) -> Path:
    if section == "pipeline":
        return Path(shutil.copy(document, folder / "pipeline.yaml"))
    for name, text in OTHERS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    shutil.copy(document, folder / f"{section}.yaml")
    return folder


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(HERE / "corpus").as_posix())
def test_schema_and_validator_agree(
    document: Path, catalog: Catalog, schemas: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    section, wanted = document.parts[-3], document.parts[-2]
    found = check(contract_with(document, section, tmp_path), catalog=catalog, environ=ENVIRON)
    problems = [f"{diagnostic.code} {diagnostic.message}" for diagnostic in found if diagnostic.code in STRUCTURAL]
    others = [f"{diagnostic.code} {diagnostic.message}" for diagnostic in found if diagnostic.code.startswith("E1")]
    errors = list(jsonschema.Draft202012Validator(schemas[section]).iter_errors(read_document(document, "x").data))
    by_schema = "bad" if errors else "good"
    by_validator = "bad" if problems else "good"
    assert not others
    assert (by_schema, by_validator) == (wanted, wanted), (problems, [error.message for error in errors])


def test_the_corpus_is_large_enough() -> None:
    for wanted in ("good", "bad"):
        assert len([path for path in DOCUMENTS if path.parts[-2] == wanted]) >= 30


@pytest.mark.parametrize("section", SECTIONS)
def test_schemas_are_valid_and_the_same_every_time(section: str, catalog: Catalog) -> None:
    made = schema_for(section, catalog)
    jsonschema.Draft202012Validator.check_schema(made)
    assert made == schema_for(section, Catalog.for_workspace(HERE / "workspace", plug_ins=False))


def test_every_option_of_a_schema_is_described(schemas: dict[str, dict[str, Any]]) -> None:
    shapes = schemas["extract"]["$defs"]["extractor.shapes"]
    assert shapes["description"] == "Has options of every shape."
    assert shapes["properties"]["count"]["description"] == "A whole number that is limited."
    assert schemas["extract"]["$defs"]["envelope.batch_size"]["description"].startswith("Records per batch")
    inner = schemas["extract"]["$defs"]["extractor.shapes.Auth"]["properties"]["user"]
    assert inner["description"] == "Who."


def test_a_schema_names_every_type_and_its_options(schemas: dict[str, dict[str, Any]]) -> None:
    offered = schemas["extract"]["properties"]["type"]["anyOf"][0]["enum"]
    assert "shapes" in offered
    assert set(schemas["extract"]["$defs"]["extractor.shapes"]["properties"]) >= {"name", "from", "batch_size", "type"}


def test_an_unreadable_component_does_not_hide_the_others(tmp_path: Path) -> None:
    shutil.copytree(HERE / "workspace", tmp_path / "workspace")
    (tmp_path / "workspace" / "extractors" / "broken.py").write_text("class (:\n", encoding="utf-8")
    made = schema_for("extract", Catalog.for_workspace(tmp_path / "workspace", plug_ins=False))
    validator = jsonschema.Draft202012Validator(made)
    assert validator.is_valid({"type": "broken", "whatever": 1})
    assert not validator.is_valid({"type": "shapes", "whatever": 1})
    assert "broken.py:1: not valid Python" in made["$defs"]["extractor.broken"]["description"]
