"""``workers:`` beside the steps: checked like any key, in both layouts, and no part of what the contract does."""

from __future__ import annotations

from pathlib import Path

import pytest

from etlctl.contract.compile import check, load_contract

EXTRACT, LOAD = "type: file\npath: a.jsonl\n", "type: file\npath: b.jsonl\n"


def folder(root: Path, transform: str) -> Path:
    (root / "extract.yaml").write_text(EXTRACT, encoding="utf-8")
    (root / "load.yaml").write_text(LOAD, encoding="utf-8")
    (root / "transform.yaml").write_text(transform, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        ("0", "E204", "workers"),
        ("-1", "E204", "workers"),
        ("257", "E204", "workers"),
        ("'4'", "E203", "workers"),
        ("many", "E203", "workers"),
        ("1.5", "E203", "workers"),
        ("true", "E203", "workers"),
        ("[2]", "E203", "workers"),
    ],
)
def test_a_wrong_number_is_told_at_its_place(tmp_path: Path, value: str, code: str, text: str) -> None:
    (found,) = check(folder(tmp_path, f"transform: {{drop: [a]}}\nworkers: {value}\n"))
    assert found.code == code
    assert text in found.message
    assert found.span is not None
    assert found.span.line == 2


def test_a_near_miss_is_told(tmp_path: Path) -> None:
    (found,) = check(folder(tmp_path, "transform: {drop: [a]}\nworker: 2\n"))
    assert (found.code, "workers" in (found.help or "")) == ("E201", True)


@pytest.mark.parametrize("transform", ["transform: {drop: [a]}\n", "transform: [{drop: [a]}]\n", "drop: [a]\n"])
def test_it_stands_beside_every_form_and_is_no_edit(tmp_path: Path, transform: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    plain, many = load_contract(folder(one, transform)), load_contract(folder(other, transform + "workers: 3\n"))
    assert (plain.transform_envelope.workers, many.transform_envelope.workers) == (1, 3)
    assert plain.part_hashes == many.part_hashes
    assert [step.name for step in plain.steps] == [step.name for step in many.steps]


def test_one_file_for_everything(tmp_path: Path) -> None:
    text = "extract: {type: file, path: a.jsonl}\nload: {type: file, path: b.jsonl}\ntransform: {drop: [a]}\n"
    path = tmp_path / "pipeline.yaml"
    path.write_text(text + "workers: 2\n", encoding="utf-8")
    assert check(path) == []
    contract = load_contract(path)
    assert contract.transform_envelope.workers == 2
    path.write_text(text, encoding="utf-8")
    assert load_contract(path).part_hashes == contract.part_hashes
    path.write_text(text + "workers: 0\n", encoding="utf-8")
    (found,) = check(path)
    assert found.code == "E204"
