"""``etlctl preview --steps``: every record after every step, just as a run would treat it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRANSFORM = """\
transform:
  - rename: {nm: name}
  - convert: {id: integer, born: date}
  - defaults: {city: nowhere}
  - filter: {field: id, operator: lt, value: 90}
  - drop: [junk]
"""
CONTRACT = "name: people\nschema:\n  fields:\n    id: {type: integer, required: true, unique: true}\n"
PEOPLE = """\
id,nm,born,city,junk
1,Ann,1990-01-02,Rome,x
2,Bob,1991-13-02,,x
3
99,Cid,1992-03-04,Oslo,x
1,Ann again,1993-04-05,,x
"""


def etlctl(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1"}
    environ.pop("ETLCTL_STATE_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *args],
        cwd=cwd, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


def contract(root: Path, data: tuple[str, str], **parts: str) -> None:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "people"
    folder.mkdir(parents=True)
    name, text = data
    (folder / name).write_text(text, encoding="utf-8")
    texts = {"extract": f"type: file\npath: {name}\n", "load": "type: file\npath: out/people.jsonl\n", **parts}
    for part, content in texts.items():
        (folder / f"{part}.yaml").write_text(content, encoding="utf-8")


@pytest.fixture(params=["frame", "rows"])
def people(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same contract on a source that gives frames, and on one that gives rows."""
    if request.param == "frame":
        data = ("people.csv", PEOPLE)
    else:
        names, *lines = (line.split(",") for line in PEOPLE.splitlines())
        rows = [json.dumps({n: v or None for n, v in zip(names, line, strict=True)}) if len(line) > 1 else "[3]"
                for line in lines]  # fmt: skip
        data = ("people.jsonl", "\n".join(rows) + "\n")
    contract(tmp_path, data, transform=TRANSFORM, contract=CONTRACT)
    return tmp_path


def test_every_record_after_every_step(people: Path) -> None:
    done = etlctl("preview", "contracts/people", "--steps", "--json", cwd=people)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = {trace["number"]: {step["step"]: step["outcome"] for step in trace["steps"]} for trace in found["steps"]}
    assert told[1] == {
        "transform[0].rename": "changed", "transform[1].convert": "changed", "transform[2].defaults": "unchanged",
        "transform[3].filter": "unchanged", "transform[4].drop": "changed", "check": "unchanged",
        "check.unique": "unchanged",
    }  # fmt: skip
    assert told[2] == {"transform[0].rename": "changed", "transform[1].convert": "rejected"}
    assert told[3]["transform[3].filter"] == "filtered"  # the broken line is no record
    assert told[4]["check.unique"] == "rejected"
    first = found["steps"][0]
    assert first["final"] == [{"id": 1, "name": "Ann", "born": "1990-01-02", "city": "Rome"}]
    convert = first["steps"][1]
    assert {(one["field"], one["change"]) for one in convert["after"][0]["changes"]} == {
        ("id", "changed"), ("born", "changed"),
    }  # fmt: skip
    assert convert["before"]["id"] == "1"
    assert convert["after"][0]["record"]["id"] == 1
    rejected = next(step["rejected"] for step in found["steps"][3]["steps"] if step["outcome"] == "rejected")
    assert rejected["rule"] == "check.unique"


def test_it_rejects_what_a_run_rejects(people: Path) -> None:
    previewed = json.loads(etlctl("preview", "contracts/people", "--steps", "--json", cwd=people).stdout)
    plain = json.loads(etlctl("preview", "contracts/people", "--json", cwd=people).stdout)
    assert etlctl("run", "contracts/people", "--quiet", cwd=people).returncode == 4
    listed = json.loads(etlctl("dead-letters", "list", "--json", cwd=people).stdout)
    wanted = sorted((one["location"], one["rule"], one["message"]) for one in listed)
    for found in (previewed, plain):
        assert sorted((one["location"], one["rule"], one["message"]) for one in found["rejected"]) == wanted
    loaded = (people / "contracts/people/out/people.jsonl").read_text(encoding="utf-8").splitlines()
    assert [record for trace in previewed["steps"] for record in trace["final"]] == [json.loads(one) for one in loaded]
    assert previewed["result"]["counts"] == plain["result"]["counts"]


def test_the_text_marks_what_changed_and_why_a_record_left(people: Path) -> None:
    done = etlctl("preview", "contracts/people", "--steps", "-n", "4", cwd=people)
    assert '     - nm    "Ann"\n     + name  "Ann"\n' in done.stdout
    assert '     ~ id    "1" → 1\n     ~ born  "1990-01-02" → 1990-01-02\n' in done.stdout
    assert "   transform[3].filter: filtered\n   = would not be loaded\n" in done.stdout
    assert "   transform[1].convert: rejected: field 'born': '1991-13-02'" in done.stdout
    assert "   = would be a dead letter\n" in done.stdout
    assert not (people / ".etlctl").exists()
    assert not (people / "contracts/people/out").exists()


def test_records_that_multiply_and_steps_that_see_everything(tmp_path: Path) -> None:
    contract(
        tmp_path,
        ("people.jsonl", '{"id": 1, "tags": ["a", "b"]}\n{"id": 2, "tags": ["c"]}\n{"id": 3, "tags": []}\n'),
        transform="transform:\n  - unnest: [tags]\n  - custom_function: {module: turn, function: turn, mode: batch}\n",
    )
    (tmp_path / "contracts/people/turn.py").write_text(
        "def turn(records):\n    print('talk')\n    return [{**one, 'of': len(records)} for one in reversed(records)]\n",
        encoding="utf-8",
    )
    done = etlctl("preview", "contracts/people", "--steps", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # what the function prints is not in the data
    outcomes = [[step["outcome"] for step in trace["steps"]] for trace in found["steps"]]
    assert outcomes[0][0] == "multiplied"
    assert outcomes[1][0] == "changed"
    assert outcomes[2] in (["filtered"], ["changed", "made"])
    assert {"made"} == {outcome for trace in outcomes for outcome in trace[1:]}
    assert sorted(json.dumps(one) for trace in found["steps"] for one in trace["final"]) == sorted(
        json.dumps(one) for one in found["records"]
    )


def test_run_date_in_preview_and_validate(tmp_path: Path) -> None:
    contract(tmp_path, ("2026-02-22.csv", "a\n1\n"), extract="type: file\npath: ${run_date}.csv\n")
    done = etlctl("preview", "contracts/people", "--run-date", "2026-02-22", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["records"] == [{"a": "1"}]
    assert etlctl("preview", "contracts/people", cwd=tmp_path).returncode != 0
    assert etlctl("validate", "contracts/people", "--run-date", "2026-02-22", cwd=tmp_path).returncode == 0
