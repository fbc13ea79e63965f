"""A ``load:`` list is compiled item by item: names, conditions, variables, secrets, what counts as an edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl.contract.compile import check, load_contract
from etlctl.contract.validation import validate_paths
from etlctl.errors import FatalError
from etlctl.sdk.destinations import Destinations
from etlctl.sdk.loader import Delivery

THREE = [
    {"type": "file", "path": "a.csv"},
    {"type": "sqlite", "path": "x.db", "table": "t", "name": "eu", "where": "region = 'eu'"},
    {"type": "file", "path": "b.csv", "where": {"field": "n", "operator": "gt", "value": 5}},
]


def load(path: Path, **options: Any) -> Any:
    return load_contract(path, environ=options.pop("environ", {}), **options)


def test_a_list_is_one_loader(make: Any) -> None:
    contract = load(make(load={"load": THREE, "dead_letters": {"max": 5}}))
    loader = contract.loader
    assert isinstance(loader, Destinations)
    assert loader.names == ("file", "eu", "file_2")
    assert [item.where is None for item in loader.items] == [True, False, False]
    assert loader.items[1].where.expression == "region = 'eu'"
    assert loader.items[2].where.value == 5
    assert contract.load_type == "file + sqlite + file"
    assert contract.load_envelope.dead_letters.max == 5
    assert loader.delivery() is Delivery.exactly_once
    assert [place.name for place in loader.places(contract.base_dir)] == ["a.csv", "b.csv"]


@pytest.mark.parametrize("inside", [True, False])
def test_a_single_file_compiles_to_the_same(make: Any, tmp_path: Path, inside: bool) -> None:
    file = tmp_path / "one.yaml"
    whole = {"extract": {"type": "made"}, "load": {"load": THREE} if inside else THREE}
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    one, many = load(file), load(make(load={"load": THREE}))
    assert one.loader == many.loader
    assert one.load_type == many.load_type


def test_a_given_name_is_not_taken_by_one_without(make: Any) -> None:
    items = [{"type": "file", "path": "a.csv"}, {"type": "file", "path": "b.csv", "name": "file"}]
    assert load(make(load={"load": items})).loader.names == ("file_2", "file")


def test_variables_and_secrets_of_items(make: Any) -> None:
    items = [
        {"type": "sink", "url": "${param:place}", "password": "${secret:key}", "name": "a", "where": "x = '${REGION}'"},
        {"type": "sink", "url": "https://x", "password": "hunter22", "name": "b"},
    ]
    extract = {"type": "made", "input_params": {"place": {"required": True}}}
    path = make(extract=extract, load={"load": items})
    environ = {"ETLCTL_SECRET_key": "swordfish", "REGION": "eu"}
    contract = load(path, params={"place": "here"}, environ=environ)
    first, second = (item.loader for item in contract.loader.items)
    assert (first.url, first.password, second.password) == ("here", "swordfish", "hunter22")
    assert {"swordfish", "hunter22"} <= set(contract.secrets)
    assert contract.loader.items[0].where.expression == "x = 'eu'"
    codes = [found.code for found in check(path, environ=environ)]
    assert codes == ["W602"]


@pytest.mark.parametrize(
    ("change", "edited"),
    [
        ({"where": "region = 'us'"}, True),
        ({"table": "u"}, True),
        ({"name": "europe"}, True),
        ({}, False),
    ],
)
def test_editing_an_item_edits_the_contract(make: Any, change: dict[str, Any], edited: bool) -> None:
    before = load(make(load={"load": THREE})).part_hashes["load"]
    items = [THREE[0], {**THREE[1], **change}, THREE[2]]
    after = load(make(load={"load": items, "dead_letters": {"max": 1}})).part_hashes["load"]
    assert (before != after) is edited


def test_what_is_promised_is_told_for_each(make: Any, tmp_path: Path) -> None:
    items = [{"type": "file", "path": "a.csv"}, {"type": "file", "path": "-", "format": "csv"}, {"type": "sink"}]
    make("known", load={"load": items[:2]})
    make("unknown", load={"load": items})
    known, unknown = validate_paths([tmp_path / "contracts"], environ={}).contracts
    assert (known.delivery, known.destinations) == (
        "at_least_once",
        {"file": "exactly_once", "file_2": "at_least_once"},
    )
    assert (unknown.delivery, unknown.destinations["sink"]) == (None, "unknown")


def test_destinations_are_narrowed_by_name(make: Any) -> None:
    loader = load(make(load={"load": THREE})).loader
    assert loader.only({"eu"}).names == ("eu",)
    with pytest.raises(FatalError, match="no destination 'us' in the contract; there are file, eu, file_2"):
        loader.only({"eu", "us"})
    assert loader.additive() != loader
    assert loader.unpacked(loader.packed()) == loader
