"""The runner of the official suite reads every form of case and tells apart what passed."""

import json
import subprocess
import sys
from pathlib import Path

RUNNER = Path(__file__).parents[2] / "benchmarks" / "jsonata_suite.py"


def test_counts_passed_and_lists_the_rest(tmp_path: Path) -> None:
    group = tmp_path / "groups" / "made"
    group.mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "dataset0.json").write_text('{"a": [3, 1, 2]}')
    (group / "case000.json").write_text(json.dumps({"expr": "$sum(a)", "dataset": "dataset0", "result": 6}))
    (group / "case001.jsonata").write_text("a[0] + $b")
    (group / "case001.json").write_text(
        json.dumps({"expr-file": "case001.jsonata", "data": {"a": [1]}, "bindings": {"b": 2}, "result": 3})
    )
    many = [
        {"expr": "nope", "dataset": None, "undefinedResult": True},
        {"expr": "a.1", "dataset": "dataset0", "code": "S0213"},
        {"expr": "1 + 'x'", "dataset": None, "error": {"code": "T9999"}},
        {"expr": "a", "dataset": "dataset0", "result": [1, 2, 3], "unordered": True},
        {"expr": "1 + 1", "dataset": None, "result": 3},
        {"expr": "1 + 1", "dataset": None, "code": "T0001"},
    ]
    (group / "many.json").write_text(json.dumps(many))
    done = subprocess.run([sys.executable, RUNNER, tmp_path], capture_output=True, text=True, check=True)
    assert "6/8 passed" in done.stdout
    assert "of 3 errors 1 with the very code" in done.stdout
    assert 'made/many[4]: "1 + 1"\n    gave 2 instead of 3' in done.stdout
    assert "gave 2 where the error T0001 was due" in done.stdout
