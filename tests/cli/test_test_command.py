"""``etlctl test`` as a real process: cases pass and fail, differences are told, updates keep what people wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = "type: file\npath: ${env:ORDERS_FILE}\ncsv_options: {delimiter: ';'}\n"
TRANSFORM = "transform:\n  - convert: {id: integer, price: decimal, day: date}\n  - filter: {field: price, operator: gt, value: 0}\n"
LOAD = "type: sqlite\npath: ${env:DB_PATH}\ntable: orders\ncreate_table: true\n"
SCHEMA = "name: orders\nschema:\n  fields:\n    id: {type: integer, required: true, unique: true}\n"


def etlctl(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1", **env}
    for name in ("ETLCTL_STATE_URL", "ORDERS_FILE", "DB_PATH"):
        if name not in env:
            environ.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *args],
        cwd=cwd, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A contract whose source and destination are not there: cases need neither."""
    (tmp_path / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = tmp_path / "contracts" / "orders"
    folder.mkdir(parents=True)
    parts = {"extract": FILE, "transform": TRANSFORM, "load": LOAD, "contract": SCHEMA}
    for name, text in parts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def cases(root: Path, text: str) -> Path:
    path = root / "contracts" / "orders" / "cases.yaml"
    path.write_text(text, encoding="utf-8")
    return path


PASSING = """\
- name: kept
  given:
    - {id: "1", price: "12.50", day: "2026-03-01", note: null}
    - {id: "2", price: "0", day: "2026-03-01"}
    - {id: "x", price: "1", day: "2026-03-01"}
    - {id: "1", price: "3", day: "2026-03-02"}
  expect:
    - {id: 1, price: "12.50", day: "2026-03-01"}
  filtered: 1
  rejected:
    - convert.integer
    - {rule: check.unique, index: 3, field: id, message: comes twice}
"""


def test_cases_pass_without_source_destination_and_ledger(orders: Path) -> None:
    text = PASSING.replace(", message: comes twice", "")
    cases(orders, text)
    done = etlctl("test", cwd=orders)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "pass  contracts/orders: kept\n"
    assert "1 of 1 case passed" in done.stderr
    assert sorted(path.name for path in orders.rglob("*") if path.is_file()) == [
        "cases.yaml", "contract.yaml", "etlctl.yaml", "extract.yaml", "load.yaml", "transform.yaml",
    ]  # fmt: skip


def test_differences_are_told_field_by_field(orders: Path) -> None:
    cases(
        orders,
        PASSING.replace('price: "12.50", day: "2026-03-01"}\n  f', 'price: 12, day: "2026-03-01", who: Ann}\n  f'),
    )
    done = etlctl("test", "contracts/orders", cwd=orders)
    assert done.returncode == 1
    assert "FAIL  contracts/orders: kept\n      contracts/orders/cases.yaml:1:9\n      expect[0]\n" in done.stdout
    assert '        price  expected 12\n               got      "12.50"\n' in done.stdout
    assert '        who    expected "Ann"\n               got      no value\n' in done.stdout
    assert (
        "rejected: expected check.unique (index 3, field 'id', message 'comes twice'), which did not come"
        in done.stdout
    )
    assert "rejected, and nobody expects it: given[3]: " in done.stdout


def test_missing_and_unexpected_records(orders: Path) -> None:
    cases(
        orders,
        """\
- name: order
  given: [{id: "1", price: "1"}, {id: "2", price: "2"}, {id: "3", price: "3"}]
  expect: [{id: 1, price: 1}, {id: 9, price: 9}, {id: 2, price: 2}]
- name: in any order
  given: [{id: "1", price: "1"}, {id: "2", price: "2"}]
  expect: [{id: 2, price: 2}, {id: 1, price: 1}]
  unordered: true
- name: the order matters
  given: [{id: "1", price: "1"}, {id: "2", price: "2"}]
  expect: [{id: 2, price: 2}, {id: 1, price: 1}]
- name: ignored
  given: [{id: "1", price: "1"}]
  expect: [{id: 1}]
  ignore: [price]
- name: values are strict
  given: [{id: "1", price: "1", flag: true, text: "1", other: 1.0}]
  expect: [{id: 1, price: 1, flag: 1, text: 1, other: 1}]
""",
    )
    done = etlctl("test", "--json", cwd=orders)
    assert done.returncode == 1, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)["cases"]}
    assert [(one["expected"], one["actual"]) for one in found["order"]["differences"]] == [(1, None), (None, 2)]
    assert found["in any order"]["verdict"] == "passed"
    assert found["the order matters"]["verdict"] == "failed"
    assert found["ignored"]["verdict"] == "passed"
    assert [one["field"] for one in found["values are strict"]["differences"][0]["changes"]] == ["flag", "text"]


def test_a_file_is_read_with_the_contracts_own_options(orders: Path) -> None:
    folder = orders / "contracts" / "orders"
    (folder / "sample.csv").write_text("id;price;day\n1;2.50;2026-01-01\n2\n3;1;2026-01-02\n", encoding="utf-8")
    (folder / "sample.jsonl").write_text('{"id": "1", "price": "2.50", "day": "2026-01-01"}\n', encoding="utf-8")
    (folder / "expected.jsonl").write_text('{"id": 1, "price": "2.50", "day": "2026-01-01"}\n', encoding="utf-8")
    (folder / "expected.csv").write_text("id,price,day\n1,2.50,2026-01-01\n", encoding="utf-8")
    cases(
        orders,
        """\
- name: csv
  given: {file: sample.csv}
  expect: [{id: 1, price: 2.5, day: "2026-01-01"}, {id: 3, price: 1, day: "2026-01-02"}]
  rejected: [{rule: csv.short_row, index: 1}]
- name: another format
  given: {file: sample.jsonl}
  expect: {file: expected.jsonl}
- name: as text
  given: {file: sample.jsonl}
  expect: {file: expected.csv}
- name: gone
  given: {file: gone.csv}
  expect: []
""",
    )
    done = etlctl("test", "--json", cwd=orders)
    found = {one["name"]: one for one in json.loads(done.stdout)["cases"]}
    assert {name: one["verdict"] for name, one in found.items()} == {
        "csv": "passed", "another format": "passed", "as text": "passed", "gone": "error",
    }, done.stdout  # fmt: skip
    assert "gone.csv" in found["gone"]["problems"][0]
    assert done.returncode == 1


def test_now_params_env_and_errors(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(
        """\
name: one
extract: {type: file, path: "in-${run_date}.csv", input_params: {who: {type: string, required: true}}}
transform:
  - add: {at: now(), day: "${run_date}", who: "${param:who}", home: "env('PLACE')"}
  - custom_function: {module: strict, function: strict, mode: batch}
load: {type: file, path: out.jsonl}
cases:
  - name: instant
    given: [{a: 1}]
    params: {who: Ann, run_date: "2026-02-22"}
    env: {PLACE: here}
    now: "2026-02-22T10:00:00+02:00"
    expect: [{a: 1, at: "2026-02-22T08:00:00Z", who: Ann, home: here}]
    ignore: [day]
  - name: must fail
    given: [{a: 2}]
    params: {who: Ann}
    error: two is too many
  - name: fails by itself
    given: [{a: 2}]
    params: {who: Ann}
    expect: []
  - name: was to fail
    given: [{a: 1}]
    params: {who: Ann}
    error: two is too many
""",
        encoding="utf-8",
    )
    (folder / "strict.py").write_text(
        "def strict(records):\n    if records[0]['a'] == 2:\n        raise ValueError('two is too many')\n    return records\n",
        encoding="utf-8",
    )
    done = etlctl("test", "one", "--json", cwd=tmp_path)
    found = {one["name"]: one for one in json.loads(done.stdout)["cases"]}
    assert found["instant"]["verdict"] == "passed", found["instant"]
    assert found["must fail"]["verdict"] == "passed", found["must fail"]
    assert found["fails by itself"]["verdict"] == "error"
    assert "two is too many" in found["fails by itself"]["problems"][0]
    assert "came to its end" in found["was to fail"]["problems"][0]
    assert etlctl("validate", "one", cwd=tmp_path).returncode == 0


BROKEN = """\
- name: a
  given: [{a: 1, a: 2}]
  expct: []
- name: a
  given: []
  expect: []
  now: tomorrow
"""


def test_a_broken_file_of_cases_is_told_with_its_places(orders: Path) -> None:
    cases(orders, BROKEN)
    done = etlctl("test", cwd=orders)
    assert done.returncode == 3
    for place, text in {
        "2:18 E102": "key 'a' is written twice",
        "3:3 E201": "unknown key 'expct'",
        "7:8 E205": "'tomorrow' is no instant",
    }.items():
        assert f"contracts/orders/cases.yaml:{place} " in done.stdout
        assert text in done.stdout
    assert "did you mean 'expect'?" in done.stdout
    as_json = json.loads(etlctl("test", "--json", cwd=orders).stdout)
    assert [one["code"] for one in as_json["diagnostics"]] == ["E102", "E201", "E205"]
    cases(orders, "- name: a\n  given: []\n  expect: []\n- name: a\n  given: []\n  expect: []\n")
    assert "two cases are called 'a'" in etlctl("test", cwd=orders).stdout
    cases(orders, "a: 1\n")
    assert etlctl("test", cwd=orders).returncode == 3
    cases(orders, "- [\n")
    assert etlctl("test", cwd=orders).returncode == 3


def test_a_contract_that_does_not_hold_exits_with_3(orders: Path) -> None:
    cases(orders, "- name: a\n  given: []\n  expect: []\n")
    (orders / "contracts/orders/transform.yaml").write_text("transform: {convrt: {a: integer}}\n", encoding="utf-8")
    done = etlctl("test", cwd=orders)
    assert done.returncode == 3
    assert "contracts/orders/transform.yaml:1:13 E302 unknown operation 'convrt'" in done.stdout


UPDATED = """\
# Orders, and what must become of them.

- name: kept           # the first one
  # two of them are good
  given:
    - {id: "1", price: "12.50"}
    - {id: "2", price: "3"}
    - {id: "x", price: "4"}
  expect:
    # unchanged, and written in its own way
    - {  id: 1,   price: "12.50" }   # stays
    # this one changes
    - id: 2
      price: 4         # wrong
    # and this one goes away
    - {id: 7, price: 7, note: seven}
  filtered: 5          # never
  rejected: [convert.date]

- name: nothing yet
  given: [{id: "1", price: "1"}]

- {name: on one line, given: [{id: "1", price: "1"}], expect: []}

- name: an error
  given: {file: gone.csv}
  expect: [{id: 1}]
# the end
"""

EXPECTED = """\
# Orders, and what must become of them.

- name: kept           # the first one
  # two of them are good
  given:
    - {id: "1", price: "12.50"}
    - {id: "2", price: "3"}
    - {id: "x", price: "4"}
  expect:
    # unchanged, and written in its own way
    - {  id: 1,   price: "12.50" }   # stays
    # this one changes
    - {id: 2, price: "3"}
  filtered: 0          # never
  rejected:
    - {rule: convert.integer, index: 2, field: id}

- name: nothing yet
  given: [{id: "1", price: "1"}]
  expect:
    - {id: 1, price: "1"}

- {name: on one line, given: [{id: "1", price: "1"}], expect: [{id: 1, price: "1"}]}

- name: an error
  given: {file: gone.csv}
  expect: [{id: 1}]
# the end
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_an_update_changes_only_what_is_expected(orders: Path, line_end: str) -> None:
    path = cases(orders, "")
    path.write_bytes(UPDATED.replace("\n", line_end).encode())
    done = etlctl("test", "--update", cwd=orders)
    assert done.returncode == 1, done.stderr  # one of them could not be run
    assert path.read_bytes().decode() == EXPECTED.replace("\n", line_end)
    assert "not updated: contracts/orders: an error: it could not be run" in done.stderr
    again = etlctl("test", "--json", cwd=orders)
    found = {one["name"]: one["verdict"] for one in json.loads(again.stdout)["cases"]}
    assert found == {"kept": "passed", "nothing yet": "passed", "on one line": "passed", "an error": "error"}


def test_an_update_in_a_single_file_and_of_expected_files(tmp_path: Path) -> None:
    whole = (
        "extract: {type: file, path: in.csv}\ntransform: {convert: {a: float}}\n"
        "load: {type: file, path: out.jsonl}   # where to\ncases:\n"
        '  - name: inline\n    given: [{a: "1e400"}, {a: "0.1"}, {a: "null"}]\n    expect: []\n'
        '  - name: from file\n    given: [{a: "2", b: "ü: #"}]\n    expect: {file: expected.jsonl}\n'
    )
    path = tmp_path / "flow.yaml"
    path.write_text(whole, encoding="utf-8")
    (tmp_path / "expected.jsonl").write_text("", encoding="utf-8")
    done = etlctl("test", "flow.yaml", "--update", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text(encoding="utf-8")
    assert text.startswith(whole[: whole.index("    expect: []")])
    assert (tmp_path / "expected.jsonl").read_text(encoding="utf-8") == '{"a": 2.0, "b": "ü: #"}\n'
    assert etlctl("test", "flow.yaml", cwd=tmp_path).returncode == 0


def test_k_chooses_and_paths_are_checked(orders: Path) -> None:
    cases(orders, PASSING + "- name: another\n  given: []\n  expect: []\n")
    done = etlctl("test", "-k", "ANOTHER", cwd=orders)
    assert (done.returncode, done.stdout) == (0, "pass  contracts/orders: another\n")
    assert etlctl("test", "nowhere", cwd=orders).returncode == 2
    assert "no case matches -k nothing" in etlctl("test", "-k", "nothing", cwd=orders).stderr


def test_the_demo_comes_with_cases_that_pass(tmp_path: Path) -> None:
    assert etlctl("init", "shop", cwd=tmp_path).returncode == 0
    done = etlctl("test", "shop", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 of 2 cases passed" in done.stderr
