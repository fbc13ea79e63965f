"""``etlctl init``: what it writes is valid, runs, and gives a field a type only when every value has it."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from etlctl.cli.main import command_tree
from etlctl.contract.compile import check
from etlctl.contract.yaml_text import comment, flow, scalar
from etlctl.orchestrator import ETLOrchestrator

runner = CliRunner()


def cli(*arguments: object):
    return runner.invoke(command_tree(), [str(argument) for argument in arguments])


def from_file(folder: Path, name: str, content: str | bytes | None, *arguments: object) -> Path:
    """Make a contract for a data file and return its folder; it must be valid."""
    data = folder / name
    if content is not None:
        data.write_bytes(content.encode() if isinstance(content, str) else content)
    done = cli("init", folder / "ws", "--from", data, "--name", "t", "--force", *arguments)
    assert done.exit_code == 0, done.output
    contract = folder / "ws" / "contracts" / "t"
    assert check(contract) == []
    return contract


def options(contract: Path) -> dict:
    file = contract / "transform.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))["transform"]["convert"] if file.exists() else {}


def rules(contract: Path) -> dict:
    return yaml.safe_load((contract / "contract.yaml").read_text(encoding="utf-8"))["schema"]["fields"]


def loaded(contract: Path) -> list[dict]:
    """Run a contract, which must reject nothing, and return what it loaded."""
    result = asyncio.run(ETLOrchestrator(contract_dir=str(contract)).run())
    assert (result.success, result.counts.rejected) == (True, 0), result.error
    (made,) = (contract / "out").iterdir()
    if made.suffix == ".parquet":
        return pl.read_parquet(made).to_dicts()
    return [json.loads(line) for line in made.read_text(encoding="utf-8").splitlines()]


def column(*values: str) -> str:
    return "v,x\n" + "".join(f'"{value}",x\n' if value is not None else ",x\n" for value in values)


def test_the_demo_runs_in_a_process_of_its_own(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "etlctl", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, encoding="utf-8")

    made = run("init", "shop")
    assert made.returncode == 0, made.stderr
    commands = [line.strip() for line in made.stdout.partition("Next:")[2].splitlines() if line.strip()]
    assert commands == [f"etlctl {verb} shop/contracts/demo" for verb in ("validate", "preview", "run")]
    for command in commands:
        done = run(*command.split()[1:])
        assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "shop/contracts/demo/out/orders.jsonl").open(encoding="utf-8")]
    assert len(rows) == 35
    assert rows[0]["order_id"] == "000108"
    assert rows[0]["contact"] == "Bruno Keller <bruno@example.org>"
    assert (tmp_path / "shop/.etlctl").is_dir()


def test_every_yaml_file_names_a_schema_that_is_there(tmp_path):
    import jsonschema

    cli("init", tmp_path)
    files = list(tmp_path.glob("contracts/demo/*.yaml"))
    assert len(files) == 5
    for file in files:
        text = file.read_text(encoding="utf-8")
        reference = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        schema = json.loads((file.parent / reference).read_text(encoding="utf-8"))
        assert schema["title"] == f"etlctl {file.name}"
        jsonschema.validate(yaml.safe_load(text), schema)


def test_nothing_is_overwritten_and_all_conflicts_are_listed(tmp_path):
    (tmp_path / "etlctl.yaml").write_text("name: mine\n")
    (tmp_path / "contracts" / "demo").mkdir(parents=True)
    (tmp_path / "contracts" / "demo" / "load.yaml").write_text("type: file\npath: mine.csv\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = cli("init", tmp_path)
    assert done.exit_code == 1
    assert "etlctl.yaml" in done.stderr
    assert "contracts/demo/load.yaml" in done.stderr
    assert "--force" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert cli("init", tmp_path, "--force").exit_code == 0
    assert "mine" not in (tmp_path / "contracts/demo/load.yaml").read_text()


def test_a_second_init_changes_nothing(tmp_path):
    cli("init", tmp_path)
    again = cli("init", tmp_path)
    assert again.exit_code == 0
    assert "wrote" not in again.stdout


def test_an_existing_gitignore_is_left_alone_but_mentioned(tmp_path):
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    done = cli("init", tmp_path)
    assert done.exit_code == 0
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n"
    assert ".gitignore exists; add the lines '.etlctl/'" in done.stderr


def test_options_that_need_from_say_so(tmp_path):
    assert cli("init", tmp_path, "--name", "x").exit_code == 2
    assert cli("init", tmp_path, "--sample", "5").exit_code == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", "300"], "integer"),
        (["9223372036854775808", "1"], None),  # 19 digits
        (["007", "123"], None),
        (["+4930123", "+4930124"], None),
        (["1.5", "2", "1e3"], "float"),
        (["0.30000000000000004", "1"], "float"),
        (["1.0", "2.0"], "float"),
        (["9.50", "12.00", "7"], "decimal"),
        (["0.123456789012345678", "1"], "decimal"),
        (["0.123456789012345678901", "1"], None),
        (["1e400", "1"], None),
        (["true", "FALSE"], "boolean"),
        (["yes", "no", "no"], "boolean"),
        (["Y", "Y"], None),
        (["1", "0", "1"], "integer"),
        (["2024-01-31", "2024-02-29"], "date"),
        (["2024-01-31", "2023-02-29"], None),  # there was none
        (["2024-01-31T10:00:00Z", "2024-01-31T11:00:00+02:00"], "datetime"),
        (["2024-01-31 10:00", "2024-01-31 11:00:30"], "datetime"),
        (["2024-01-31T10:00:00Z", "2024-01-31T11:00:00"], None),
        (["10:30", "23:59:59"], "time"),
        (["1,234", "12", "1,234,567"], {"type": "integer", "thousands": ","}),
        (["1,234.50", "12.00"], {"type": "decimal", "thousands": ","}),
        (["3,5", "1,25"], {"type": "float", "decimal_separator": ","}),
        (["1.234,56", "12,00"], {"type": "decimal", "thousands": ".", "decimal_separator": ","}),
        (["01-JAN-14", "31-DEC-99"], {"type": "date", "format": "%d-%b-%y"}),
        (["12/31/2024", "1/2/2024"], {"type": "date", "format": "%m/%d/%Y"}),
        (["31/12/2024", "01/02/2024"], {"type": "date", "format": "%d/%m/%Y"}),
        (["01/02/2024", "03/04/2024"], None),
        (["05/05/2024", "07/07/2024"], {"type": "date", "format": "%m/%d/%Y"}),
        (["31.12.2024 10:30", "01.02.2024 11:00"], {"type": "datetime", "format": "%d.%m.%Y %H:%M"}),
        (["May 5, 2024", "June 7, 2024"], {"type": "date", "format": "%B %d, %Y"}),
        (["20240101", "20240131", "20231224", "20240229", "20220505"], "date"),
        (["20240101", "20240132", "20231224", "20240229", "20220505"], "integer"),
        (["1", "NA", "2", "-"], {"type": "integer", "null_values": ["-", "NA"]}),
        (["1", " ", "2"], {"type": "integer", "null_values": [""]}),
        (["2024-01-01", "NULL"], {"type": "date", "null_values": ["NULL"]}),
        (["1", "2", "three"], None),
        (["1", "2", "1 "], "integer"),
        (["NA", "-"], None),
        (["text"], None),
    ],
)
def test_a_type_is_given_only_when_every_value_has_it(tmp_path, values, expected):
    contract = from_file(tmp_path, "d.csv", column(*values))
    assert options(contract).get("v") == expected
    kind = expected["type"] if isinstance(expected, dict) else expected or "string"
    assert rules(contract)["v"]["type"] == kind
    assert len(loaded(contract)) == len(values)


def test_the_type_of_a_whole_file_is_decided_by_its_last_value_too(tmp_path):
    rows = "".join(f"{n},{n}\n" for n in range(700_000))
    contract = from_file(tmp_path, "d.csv", f"good,bad\n{rows}1,x\n")
    assert options(contract) == {"good": "integer"}
    contract = from_file(tmp_path, "d.csv", None, "--sample", "1000")
    assert options(contract) == {"good": "integer", "bad": "integer"}
    assert "the first 1,000 records only" in (contract / "transform.yaml").read_text(encoding="utf-8")


_CELL = st.one_of(
    st.none(),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.dates().map(str),
    st.dates().map(lambda day: day.strftime("%d-%b-%y")),
    st.datetimes().map(str),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.times().map(str),
    st.booleans().map(str),
    st.sampled_from(["NA", "-", "", "  ", "007", "1,234", "1.234,5", "12/31/2024", "1e400", "٣", "1_000", "0x1F"]),
    st.text(st.characters(exclude_characters='"\r\n\0', exclude_categories=["Cs"]), max_size=8),
)
_COLUMN = st.one_of(*(st.lists(one | st.none(), min_size=1, max_size=6) for one in _CELL.original_strategies)) | st.lists(
    _CELL, min_size=1, max_size=4
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_COLUMN, min_size=1, max_size=8))
def test_whatever_is_inferred_converts_without_a_reject(tmp_path_factory, columns):
    folder = tmp_path_factory.mktemp("any")
    height = max(map(len, columns))
    lines = [",".join(f"c{n}" for n in range(len(columns))) + ",end"]
    for row in range(height):
        cells = [cells[row] if row < len(cells) else None for cells in columns]
        lines.append(",".join("" if cell is None else f'"{cell}"' for cell in cells) + ",e")
    contract = from_file(folder, "d.csv", "\n".join(lines) + "\n")
    assert len(loaded(contract)) == height


def test_names_of_any_kind_survive(tmp_path):
    names = [
        "Cost Total $",
        "a: b",
        "yes",
        "null",
        "#x",
        "Größe 📏",
        "x0123",
        "- x",
        "it's",
        'say ""hi""',
        "{x}",
        "${y}",
        "*a",
    ]
    header = ",".join(f'"{name}"' for name in names)
    contract = from_file(tmp_path, "d.csv", f"{header}\n{','.join(['5'] * len(names))}\n")
    real = [name.replace('""', '"') for name in names]
    assert options(contract) == dict.fromkeys(real, "integer")
    assert list(rules(contract)) == real
    assert loaded(contract) == [dict.fromkeys(real, 5)]


@given(st.text(max_size=20))
@settings(max_examples=500)
def test_any_text_survives_yaml(text):
    text = text.encode("utf-8", "replace").decode()
    for written in (scalar(text), flow({text: [text]})):
        document = yaml.safe_load(f"k: {written}  # {comment(text)}\n")
        assert document == {"k": text if written == scalar(text) else {text: [text]}}


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ("name;n\nÄnne;1\nBob;2\n".encode(), {"delimiter": ";"}),
        ("name;n\nÄnne;1\n".encode("cp1252"), {"encoding": "cp1252", "delimiter": ";"}),
        ("name,n\nÄnne,1\n".encode("utf-16"), {"encoding": "utf-16"}),
        (b'name|n\n"a|b"|1\n', {"delimiter": "|"}),
        (b"name\tn\nx\t1\n", {"delimiter": "\t"}),
        (b"\xef\xbb\xbfname,n\nx,1\n", {}),
        (b"a,1\nb,2\n", {"header": False, "columns": ["column_1", "column_2"]}),
        (b"name;price\nx;1,5\ny;2,5\n", {"delimiter": ";"}),
    ],
)
def test_delimiter_encoding_and_header_are_found(tmp_path, content, given):
    contract = from_file(tmp_path, "d.csv", content)
    extract = yaml.safe_load((contract / "extract.yaml").read_text(encoding="utf-8"))
    assert extract.get("csv_options", {}) == given
    first = loaded(contract)[0]
    assert len(first) == 2
    assert next(iter(first.values())) in {"Änne", "a|b", "x", "a"}


def test_compressed_files_and_paths_relative_to_the_contract(tmp_path):
    contract = from_file(tmp_path, "d.csv.gz", gzip.compress(b"id,n\na,1\nb,2\n"))
    extract = yaml.safe_load((contract / "extract.yaml").read_text(encoding="utf-8"))
    assert extract["path"] == "../../../d.csv.gz"
    assert loaded(contract) == [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


def test_file_names_that_mean_something_elsewhere(tmp_path):
    contract = from_file(tmp_path, "a ${x} [1] #: é.csv", "n,t\n1,x\n")
    assert loaded(contract) == [{"n": 1, "t": "x"}]


def test_json_lines_keep_their_types_and_only_texts_that_are_dates_are_converted(tmp_path):
    rows = [
        {"id": "1", "n": 1, "real": 1, "when": "2024-01-01T10:00:00Z", "deep": {"x": [1]}, "mixed": 1},
        {"id": "2", "n": 2, "real": 1.5, "when": None, "deep": {}, "mixed": "x", "late": True},
    ]
    contract = from_file(tmp_path, "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert options(contract) == {"real": "float", "when": "datetime"}
    found = rules(contract)
    assert {name: rule["type"] for name, rule in found.items()} == {
        "id": "string",
        "n": "integer",
        "real": "float",
        "when": "datetime",
        "deep": "object",
        "mixed": "any",
        "late": "boolean",
    }
    assert [name for name, rule in found.items() if rule.get("required")] == ["id", "n", "real", "deep", "mixed"]
    assert [row["id"] for row in loaded(contract)] == ["1", "2"]


def test_json_documents_get_their_records_path(tmp_path):
    document = {"type": "x", "meta": {"tags": [1]}, "payload": {"rows": [{"a": 1}, {"a": 2}]}}
    contract = from_file(tmp_path, "d.json", json.dumps(document))
    extract = yaml.safe_load((contract / "extract.yaml").read_text(encoding="utf-8"))
    assert extract["json_options"] == {"records_path": "payload.rows"}
    assert loaded(contract) == [{"a": 1}, {"a": 2}]
    contract = from_file(tmp_path, "d.json", '{"items": [{"a": 1}], "n": 1}')
    assert "json_options" not in (contract / "extract.yaml").read_text(encoding="utf-8")
    assert loaded(contract) == [{"a": 1}]


def test_parquet_keeps_its_types(tmp_path):
    row = {
        "text": "007",
        "n": 1,
        "real": 0.5,
        "money": Decimal("1.50"),
        "flag": True,
        "day": date(2024, 1, 1),
        "moment": datetime(2024, 1, 1, tzinfo=UTC),
        "clock": time(1, 2),
        "tags": ["a"],
    }
    pl.DataFrame([row, {**row, "n": None}]).write_parquet(tmp_path / "d.parquet")
    contract = from_file(tmp_path, "d.parquet", None)
    assert options(contract) == {}
    kinds = ["string", "integer", "float", "decimal", "boolean", "date", "datetime", "time", "array"]
    assert [rule["type"] for rule in rules(contract).values()] == kinds
    assert "required" not in rules(contract)["n"]
    assert len(loaded(contract)) == 2


def test_what_is_suggested_stands_in_comments(tmp_path):
    rows = "".join(f"{n},{['red', 'blue'][n % 2]},None\n" for n in range(20))
    contract = from_file(tmp_path, "d.csv", f"id,colour,note\n{rows}")
    text = (contract / "contract.yaml").read_text(encoding="utf-8")
    assert "id: {type: integer, required: true}  # no value comes twice: unique: true?" in text
    assert "colour: {type: string, required: true}  # enum: [blue, red]?" in text
    transform = (contract / "transform.yaml").read_text(encoding="utf-8")
    assert "id: integer  # 20 of 20 values; such as 0, 1, 2" in transform
    assert "note: no values: 'None' in 20 of 20 records" in transform


def test_broken_records_are_announced(tmp_path):
    done = cli("init", tmp_path / "ws", "--from", _write(tmp_path / "d.csv", "a,b\n1,2\n3\n4,5\n"))
    assert done.exit_code == 0
    assert "1 records cannot be read" in done.stderr
    assert "# 1 records cannot be read" in (tmp_path / "ws/contracts/d/extract.yaml").read_text(encoding="utf-8")


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_contract_joins_the_workspace_it_is_made_in(tmp_path, monkeypatch):
    cli("init", tmp_path)
    schemas = {path: path.read_bytes() for path in (tmp_path / "schemas").iterdir()}
    (tmp_path / "schemas" / "load.schema.json").write_text("{}")
    data = tmp_path / "data"
    data.mkdir()
    _write(data / "My Orders 2024.csv", "a,b\n1,2\n")
    monkeypatch.chdir(data)
    done = cli("init", "--from", "My Orders 2024.csv")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "contracts/My-Orders-2024/extract.yaml").is_file()
    assert not (data / "etlctl.yaml").exists()
    assert (tmp_path / "schemas" / "load.schema.json").read_text() == "{}"
    assert len(schemas) == 5
    _write(data / "My Orders 2024.csv", "a,b\nx,2\n")
    again = cli("init", "--from", "My Orders 2024.csv")
    assert again.exit_code == 1
    assert "exist already" in again.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "File not found"),
        ("d.dat", "a,b\n1,2\n", "does not tell its format"),
        ("d.csv", "", "is empty"),
        ("d.csv", "a,a\n1,2\n", ""),
        ("d.jsonl", "", "no readable records"),
        ("d.json", '{"a": 1}\n{"a": 2}\n', "malformed JSON"),
        ("d.parquet", "no", "cannot be read as Parquet"),
    ],
)
def test_files_that_tell_nothing_are_errors_that_say_why(tmp_path, name, content, message):
    if content is not None:
        _write(tmp_path / name, content)
    done = cli("init", tmp_path / "ws", "--from", tmp_path / name)
    if message:
        assert done.exit_code == 1
        assert message in done.stderr
        assert not (tmp_path / "ws").exists()
    else:  # two columns of one name: read without the header instead
        assert "header: false" in (tmp_path / "ws/contracts/d/extract.yaml").read_text(encoding="utf-8")


def test_a_name_that_would_leave_the_folder_is_refused(tmp_path):
    done = cli("init", tmp_path / "ws", "--from", _write(tmp_path / "d.csv", "a\n1\n"), "--name", "../x")
    assert done.exit_code == 1
    assert "cannot be the name" in done.stderr


def test_columns_of_empty_text_are_not_required_and_the_note_says_why(tmp_path: Path) -> None:
    records = [{"id": 1, "a": "", "b": "n/a", "n": "10"}, {"id": 2, "a": "", "b": "", "n": "20"}]
    contract = from_file(tmp_path, "in.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    assert {name for name, rule in rules(contract).items() if rule.get("required")} == {"id", "n"}
    text = (contract / "contract.yaml").read_text(encoding="utf-8")
    assert "#   a: no values: empty text in 2 of 2 records\n" in text
    assert "#   b: no values: 'n/a' and empty text in 2 of 2 records\n" in text
