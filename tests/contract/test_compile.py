"""Contracts compile to what runs: layouts, variables, parameters, secrets, the order of steps."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etlctl.contract.compile import check, load_contract
from etlctl.contract.layout import find_contracts
from etlctl.diagnostics import Severity
from etlctl.errors import ContractError
from etlctl.run import ProcessingMode


def errors(path: Path, **options: Any) -> list[tuple[str, str]]:
    return [(found.code, found.message) for found in check(path, environ={}, **options)]


def load(path: Path, **options: Any) -> Any:
    return load_contract(path, environ=options.pop("environ", {}), **options)


def option(contract: Any, name: str) -> Any:
    return getattr(contract.extractor, name)


def test_a_folder_compiles(make: Any) -> None:
    path = make(
        extract={"type": "made", "size": 3, "names": ["a", "b"], "processing_mode": "streaming", "batch_size": 10},
        load={"type": "sink", "dead_letters": {"max": 5}},
        contract={"name": "sales", "version": "1.2", "owner": "me", "tags": ["x"], "description": "d"},
    )
    contract = load(path)
    assert (contract.name, contract.version, contract.owner, contract.tags) == ("sales", "1.2", "me", ("x",))
    assert (contract.extract_type, contract.load_type, contract.stream) == ("made", "sink", "sales")
    assert (option(contract, "size"), option(contract, "names")) == (3, ("a", "b"))
    assert contract.envelope.processing_mode is ProcessingMode.streaming
    assert contract.envelope.batch_size == 10
    assert contract.load_envelope.dead_letters.max == 5
    assert contract.base_dir == path.resolve()
    assert set(contract.part_hashes) == {"extract", "load", "contract"}


def test_the_name_is_the_folder(make: Any) -> None:
    assert load(make("orders_2024")).name == "orders_2024"


def test_a_single_file_compiles_to_the_same(make: Any, tmp_path: Path) -> None:
    folder = make(transform="transform:\n  drop: [a]\njsonata: {expression: '$'}\n", contract="version: '2'\n")
    file = tmp_path / "one.yaml"
    file.write_text(
        "version: '2'\nextract: {type: made}\ntransform:\n  drop: [a]\njsonata: {expression: '$'}\nload: {type: sink}\n",
        encoding="utf-8",
    )
    one, many = load(file), load(folder)
    assert one.name == "one"
    assert one.version == many.version == "2"
    assert [step.name for step in one.steps] == [step.name for step in many.steps] == ["transform.drop", "jsonata"]
    assert one.part_hashes == many.part_hashes


def test_pipeline_yaml_in_a_folder_takes_the_folders_name(make: Any, tmp_path: Path) -> None:
    folder = tmp_path / "contracts" / "daily"
    folder.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text("extract: {type: made}\nload: {type: sink}\n", encoding="utf-8")
    assert load(folder).name == load(folder / "pipeline.yaml").name == "daily"


def test_the_sections_of_a_single_file_are_checked(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("extrakt: {type: made}\nload: {type: sink, urll: x}\nnam: x\n", encoding="utf-8")
    found = check(file, environ={})
    assert {(one.code, one.span and one.span.line) for one in found} == {
        ("E201", 1),
        ("E201", 2),
        ("E201", 3),
        ("E202", None),
    }


def test_a_section_file_stands_for_its_contract(make: Any) -> None:
    assert load(make() / "load.yaml").name == "orders"


def test_map_form_runs_in_fixed_order_whatever_is_written_first(make: Any) -> None:
    path = make(
        transform="custom_function: {module: copy, function: copy}\ntransform:\n  filter: {field: a, operator: not_null}\n"
        "  drop: [b]\n  add: {c: x}\n  rename: {d: e}\njsonata: {expression: '$'}\n"
    )
    found = [(one.code, one.message) for one in check(path, environ={})]
    assert found == []
    text = (path / "transform.yaml").read_text(encoding="utf-8").split("\n", 1)[1]
    (path / "transform.yaml").write_text(text, encoding="utf-8")
    names = [step.name for step in load(path).steps]
    assert names == ["transform.rename", "transform.add", "transform.drop", "transform.filter", "jsonata"]


def test_list_form_runs_as_written(make: Any) -> None:
    path = make(transform="transform:\n- drop: [a]\n- rename: {b: c}\n- drop: [d]\n- jsonata: {expression: '$'}\n")
    names = [step.name for step in load(path).steps]
    assert names == ["transform[0].drop", "transform[1].rename", "transform[2].drop", "transform[3].jsonata"]


def test_the_older_top_level_spelling_alone(make: Any) -> None:
    path = make(transform={"convert": {"a": "int"}, "rename": {"x": "a"}})
    assert [step.name for step in load(path).steps] == ["transform.rename", "transform.convert"]


@pytest.mark.parametrize(
    ("transform", "code"),
    [
        ("transform:\n", "E210"),
        ("transform: 5\n", "E210"),
        ("transform: {jsonata: {expression: a}}\n", "E210"),
        ("transform: [{}]\n", "E210"),
        ("transfrom: {drop: [a]}\n", "E201"),
        ("transform: [{dorp: [a]}]\n", "E302"),
        ("transform: {drop: [a]}\ndrop: [b]\n", "E209"),
        ("- drop: [a]\n", "E203"),
    ],
)
def test_a_transform_that_does_not_say_what_runs_when(make: Any, transform: str, code: str) -> None:
    assert [found.code for found in check(make(transform=transform), environ={})] == [code]


def test_schema_checks_are_steps(make: Any) -> None:
    path = make(contract="schema:\n  fields:\n    id: {type: integer, required: true}\n")
    contract = load(path)
    assert contract.record_schema is not None
    assert contract.steps
    assert {step.name for step in contract.steps} == {"check"}


# --- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "environ", "value"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${env:A}/y", {"A": "x"}, "x/y"),
        ("${A:-d}", {}, "d"),
        ("${A:-}", {}, ""),
        ("$${A}", {"A": "x"}, "${A}"),
        ("${run_date}", {}, "2026-02-22"),
        ("a${B:-}b", {}, "ab"),
        ("${secret:S}", {"ETLCTL_SECRET_S": "top-secret"}, "top-secret"),
        ("${cursor:-2020-01-01}", {}, "2020-01-01"),
        ("${A:-007}", {}, "007"),
    ],
)
def test_variables_in_text(make: Any, written: str, environ: dict[str, str], value: str) -> None:
    path = make(extract={"type": "made", "path": written})
    contract = load(path, environ=environ, now=datetime(2026, 2, 22, 23, 59, tzinfo=UTC))
    assert option(contract, "path") == value


def test_a_lone_unquoted_reference_is_read_as_a_scalar_where_no_text_fits(make: Any) -> None:
    path = make(
        extract="type: made\nsize: ${N:-5}\nratio: ${R}\nflag: ${F}\nbatch_size: ${B}\npath: ${N:-5}\n"
        "checkpoint:\n  interval: ${I:-3}\n"
    )
    contract = load(path, environ={"R": "0.5", "F": "true", "B": "1000"})
    assert (option(contract, "size"), option(contract, "ratio"), option(contract, "flag")) == (5, 0.5, True)
    assert option(contract, "path") == "5"
    assert (contract.envelope.batch_size, contract.envelope.checkpoint.interval) == (1000, 3)


@pytest.mark.parametrize("written", ['"${N:-5}"', "1${N:-5}", "${N:-five}"])
def test_other_references_stay_text(make: Any, written: str) -> None:
    found = check(make(extract=f"type: made\nsize: {written}\n"), environ={})
    assert [(one.code, one.span and one.span.line) for one in found] == [("E203", 2)]


def test_unset_variables_are_all_reported_at_their_column(make: Any) -> None:
    path = make(extract="type: made\npath: a/${X}/${env:Y}\nheaders:\n  k: |\n    one\n    two ${Z:?say Z}\n")
    found = check(path, environ={"Y": ""})
    assert [(one.code, one.span.line, one.span.column) for one in found if one.span] == [
        ("E402", 2, 9),
        ("E402", 2, 14),
        ("E402", 6, 9),
    ]
    assert "'X' is not set" in found[0].message
    assert "'Y' is empty" in found[1].message
    assert "say Z" in found[2].message


def test_references_in_transform_files_belong_to_records(make: Any) -> None:
    path = make(transform={"transform": {"add": {"x": "${HOME}"}}})
    contract = load(path, environ={"HOME": "/root"})
    assert contract.steps[0].operation.fields == {"x": "${HOME}"}


# --- parameters ------------------------------------------------------------------------------------------------------

TYPED = {
    "day": {"type": "date", "required": True},
    "limit": {"type": "integer", "default": 5},
    "deep": {"type": "boolean"},
    "note": {},
}


def test_parameters_are_converted_and_default(make: Any) -> None:
    path = make(extract={"type": "made", "path": "${day}", "size": "x", "input_params": TYPED})
    (path / "extract.yaml").write_text(
        (path / "extract.yaml").read_text(encoding="utf-8").replace("size: x", "size: ${param:limit}"), encoding="utf-8"
    )
    contract = load(path, params={"day": "2024-01-31", "deep": "true"})
    assert contract.params == {"day": "2024-01-31", "limit": 5, "deep": True}
    assert (option(contract, "path"), option(contract, "size")) == ("2024-01-31", 5)
    assert set(contract.envelope.input_params) == set(TYPED)


def test_the_stream_names_the_parameter_set(make: Any) -> None:
    path = make(extract={"type": "made", "path": "${a}${b:-}", "input_params": {"a": {"type": "integer"}, "b": {}}})
    digest = hashlib.sha256(json.dumps({"a": 1}, separators=(",", ":")).encode()).hexdigest()[:12]
    assert load(path, params={"a": "1"}).stream == load(path, params={"a": 1}).stream == f"orders#{digest}"
    assert load(path, params={"a": 1, "b": "x"}).stream == load(path, params={"b": "x", "a": 1}).stream
    assert load(path, params={"a": 2}).stream != load(path, params={"a": 1}).stream
    free = make("free", extract={"type": "made", "path": "${a}${b}"})
    assert load(free, params={"a": "1", "b": "2"}).stream == load(free, params={"b": "2", "a": "1"}).stream


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({}, "E403", "required parameter 'day' is not given"),
        ({"day": "31.1.2024"}, "E405", "is not a date"),
        ({"day": "2024-01-31", "limit": "5.5"}, "E405", "not a whole number"),
        ({"day": "2024-01-31", "deep": "yes"}, "E405", "neither true nor false"),
        ({"day": "2024-01-31", "dayy": "x"}, "E404", "unknown parameter 'dayy'"),
    ],
)
def test_wrong_parameters(make: Any, params: dict[str, Any], code: str, words: str) -> None:
    path = make(extract={"type": "made", "path": "${day}", "input_params": TYPED})
    with pytest.raises(ContractError) as caught:
        load(path, params=params)
    assert [found.code for found in caught.value.diagnostics] == [code]
    assert words in caught.value.diagnostics[0].message
    assert caught.value.exit_code == 3


def test_validate_needs_no_values_and_checks_what_it_can(make: Any) -> None:
    path = make(
        extract="type: made\nsize: ${day}\npath: ${cursor}\nnams: [a]\nflag: 5\n"
        "incremental:\n  cursor_field: at\n  initial: ${day}\ninput_params:\n  day: {type: date, required: true}\n"
    )
    assert [code for code, _ in errors(path)] == ["E201", "E203"]


def test_what_is_true_whatever_a_value_will_be_is_said(make: Any) -> None:
    path = make(extract={"type": "made", "pth": "${day}", "input_params": {"day": {"required": True}}})
    (path.parents[1] / "loaders" / "needy.py").write_text(
        "from etlctl.sdk import Loader\nclass Needy(Loader):\n    place: str\n    async def open(self, ctx): ...\n",
        encoding="utf-8",
    )
    (path / "load.yaml").write_text("type: needy\nplac: ${UNSET}\n", encoding="utf-8")
    assert sorted(code for code, _ in errors(path)) == ["E201", "E201", "E202", "E402"]


def test_the_schema_has_one_name(make: Any) -> None:
    [(code, message)] = errors(make(contract="record_schema: {fields: {}}\n"))
    assert code == "E201"
    assert "record_schema" in message


def test_an_undeclared_parameter_counts_when_something_refers_to_it(make: Any) -> None:
    path = make(extract={"type": "made", "path": "${A:-x}"}, transform={"transform": {"add": {"b": "${param:B:-}"}}})
    contract = load(path, params={"A": "1", "B": "2"})
    assert option(contract, "path") == "1"
    assert contract.params == {"A": "1", "B": "2"}


def test_overrides_set_the_envelope(make: Any) -> None:
    path = make(extract={"type": "made", "batch_size": 10})
    contract = load(path, overrides={"batch_size": 7, "processing_mode": "streaming", "max_records": None})
    assert (contract.envelope.batch_size, contract.envelope.max_records) == (7, None)
    assert contract.envelope.processing_mode is ProcessingMode.streaming
    with pytest.raises(ContractError, match="batch_size cannot be set to 0"):
        load(path, overrides={"batch_size": 0})


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_are_collected_by_value(make: Any, tmp_path: Path) -> None:
    folder = tmp_path / ".etlctl" / "secrets"
    folder.mkdir(parents=True)
    (folder / "FROM_FILE").write_text("from-a-file\n", encoding="utf-8")
    path = make(
        extract={
            "type": "made",
            "path": "${secret:ANY}",
            "token": "${TOK}",
            "primary_key": "${PK}",
            "headers": {"X-Api-Key": "k ${env:KEY}", "Accept": "${PLAIN}"},
            "anything": "${secret:FROM_FILE}",
        },
        load={"type": "sink", "url": "${URL}", "password": "in-the-open"},
    )
    environ = {
        "ETLCTL_SECRET_ANY": "any-secret",
        "TOK": "tok-en",
        "PK": "order_id",
        "KEY": "api-key",
        "PLAIN": "plain",
        "URL": "postgres://me:p%40ss@db/x",
    }
    contract = load(path, environ=environ)
    assert set(contract.secrets) == {
        "any-secret",
        "tok-en",
        "api-key",
        "from-a-file",
        "postgres://me:p%40ss@db/x",
        "p%40ss",
        "p@ss",
        "in-the-open",
    }
    assert option(contract, "anything") == "from-a-file"
    assert [found.code for found in contract.warnings] == ["W602"]
    assert "in-the-open" not in repr(contract.warnings)
    assert "secrets=" not in repr(contract)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".."])
def test_a_secret_name_is_no_path(make: Any, name: str) -> None:
    found = check(make(extract={"type": "made", "path": f"${{secret:{name}}}"}), environ={})
    assert [one.code for one in found] == ["E402"]


# --- the whole -------------------------------------------------------------------------------------------------------


def test_every_mistake_is_reported_at_once(make: Any) -> None:
    path = make(
        extract='type: made\nsize: "5"\nsize: 6\nnams: [a]\npath: ${UNSET}/x\nbatch_size: 0\ntoken: abc-def-ghi\n'
        "input_params:\n  n: {type: integer, default: many}\n",
        transform="transform:\n  convert: {a: flaot}\n  add: {b: 'uper(${x})', c: '${'}\n  renme: {a: b}\n"
        "jsonata: {expression: '$sum('}\n",
        load="type: sinc\n",
        contract="version: 1.10\n",
    )
    found = check(path, environ={})
    assert {one.code for one in found} == {
        "E102", "E201", "E203", "E204", "E301", "E302", "E303", "E402", "E405", "E510", "E511", "E512", "W602",
    }  # fmt: skip
    assert found == sorted(found, key=lambda one: one.sort_key)
    with pytest.raises(ContractError) as caught:
        load(path)
    assert len(caught.value.diagnostics) == len(found)


def test_a_missing_type_names_the_types(make: Any) -> None:
    [found] = check(make(extract={"path": "x"}), environ={})
    assert (found.code, found.span and found.span.line) == ("E202", 1)
    assert found.help is not None
    assert "made" in found.help


def test_warnings_do_not_stop_a_run(make: Any) -> None:
    contract = load(make(extract={"type": "made", "token": "abc-def"}))
    assert [found.severity for found in contract.warnings] == [Severity.warning]


def test_part_hashes_see_content_not_layout(make: Any) -> None:
    one = load(make("a", extract="type: made\nsize: 3\n")).part_hashes["extract"]
    two = load(make("b", extract="# a comment\nsize: 3\ntype:   'made'\n")).part_hashes["extract"]
    three = load(make("c", extract="type: made\nsize: 4\n")).part_hashes["extract"]
    assert one == two != three


def test_contracts_are_found_below_a_folder(make: Any, tmp_path: Path) -> None:
    for name in ("b", "a", "deep/c"):
        make(name)
    (tmp_path / "contracts" / "b" / "nested").mkdir()
    (tmp_path / "contracts" / "b" / "nested" / "extract.yaml").write_text("type: made\n", encoding="utf-8")
    (tmp_path / "contracts" / ".hidden").mkdir()
    (tmp_path / "contracts" / ".hidden" / "extract.yaml").write_text("type: made\n", encoding="utf-8")
    names = [path.name for path in find_contracts(tmp_path)]
    assert names == ["a", "b", "c"]


def test_a_parameter_of_a_template_needs_a_value_before_the_run(make: Any) -> None:
    add = {"x": "a ${param:nope}", "y": "${param:fine:-1}", "z": "$${param:literal}"}
    path = make(transform={"transform": [{"add": add}, {"drop": ["${param:text}"]}]})
    assert errors(path) == [("E402", "parameter 'nope' has no value")]
    assert errors(path, params={"nope": "1"}) == []
    declared = make(
        "declared",
        extract={"type": "made", "input_params": {"nope": {"required": True}}},
        transform={"transform": {"add": {"x": "${param:nope}"}}},
    )
    assert errors(declared) == []


def test_how_a_run_is_operated_is_no_edit_of_the_contract(make: Any) -> None:
    before = load(make(extract={"type": "made"}, load={"type": "sink"})).part_hashes
    operated = {
        "batch_size": 7,
        "max_memory_mb": 99,
        "error_recovery": {"max_retries": 1},
        "checkpoint": {"interval": 2},
    }
    after = load(
        make(extract={"type": "made", **operated}, load={"type": "sink", "dead_letters": {"max": 1}})
    ).part_hashes
    assert after == before
    assert load(make(extract={"type": "made", "size": 2})).part_hashes != before
