"""Custom functions in whole runs: what goes wrong is accounted for, and everything good arrives."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from function_runs import etlctl, run, write_contract

ZOO = """
import os, time

def zoo(record, crash):
    n = record["n"]
    print("looking at", n)
    if n == 5: raise KeyError("five")
    if n == 12: return float("nan")
    if n == 13: return None
    if n == 14: return [{"n": 14}, {"n": -14}]
    if n == 15:
        record["nested"]["deep"].append("spoilt")
        record.clear()
        raise ValueError("after the damage")
    if n == 20:
        while True: pass
    if n == 21:
        record["n"] = record
        return record
    if n == 22 and crash: os._exit(3)
    if n == 23: return {"n": object()}
    record["twice"] = 2 * n
    return record
"""
RECORDS = [{"n": n, "nested": {"deep": [n]}} for n in range(40)]


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("mode", ["full", "streaming"])
def test_a_zoo_of_failures(tmp_path: Path, isolate: bool, mode: str) -> None:
    transform = (
        "custom_function: {module: functions, function: zoo, mode: record, timeout: 2, "
        f"isolate: {str(isolate).lower()}, kwargs: {{crash: {str(isolate).lower()}}}}}\n"
    )
    write_contract(tmp_path, ZOO, transform, RECORDS, extract=f"processing_mode: {mode}\nbatch_size: 7\n")
    ran = run(tmp_path)
    bad = {5: "raised", 12: "result", 15: "raised", 20: "timeout"} | ({22: "crashed"} if isolate else {})
    rejected = {*bad, 21, 23}  # no destination takes a record that holds itself, or an object
    assert ran.code == 4, ran.stderr
    assert ran.counts == {
        "extracted": 40, "added": 1, "filtered": 1, "rejected": len(rejected), "deduplicated": 0,
        "loaded": 40 - len(rejected),
    }  # fmt: skip
    assert ran.balanced
    kept = [n for n in range(40) if n not in {*rejected, 13}]
    assert [record["n"] for record in ran.records if record["n"] >= 0] == kept
    letters = {letter["raw"]["n"]: letter for letter in ran.letters()}
    assert set(letters) == rejected
    assert {n: letters[n]["rule"] for n in bad} == {n: f"custom_function.{rule}" for n, rule in bad.items()}
    assert all(letter["raw"] == {"n": n, "nested": {"deep": [n]}} for n, letter in letters.items())
    assert "KeyError: 'five' (functions.py line 7)" in letters[5]["message"]
    assert letters[5]["location"].endswith(":6")
    assert "looking at 39" in ran.stderr


@pytest.mark.parametrize(
    "load", ["type: sqlite\npath: out.db\ntable: t\ncreate_table: true\n", "type: file\npath: out.parquet\n"]
)
def test_other_destinations_get_the_good_records(tmp_path: Path, load: str) -> None:
    transform = (
        "custom_function: {module: functions, function: zoo, mode: record, timeout: 2, kwargs: {crash: false}}\n"
    )
    records = [record for record in RECORDS if record["n"] not in {21, 23}]
    folder = write_contract(tmp_path, ZOO, transform, records, load=load)
    ran = run(tmp_path)
    assert (ran.code, ran.balanced, ran.counts["rejected"]) == (4, True, 4), ran.stderr
    if "sqlite" in load:
        with sqlite3.connect(folder / "out.db") as database:
            found = [n for (n,) in database.execute("select n from t order by rowid")]
    else:
        found = pl.read_parquet(folder / "out.parquet")["n"].to_list()
    assert sorted(found) == sorted([-14, *(n for n in range(40) if n not in {5, 12, 13, 15, 20, 21, 23})])


@pytest.mark.parametrize("isolate", [False, True])
def test_what_it_prints_never_gets_between_the_data(tmp_path: Path, isolate: bool) -> None:
    code = (
        "import os, sys\nprint('while it is imported')\n"
        "def f(record):\n    print('noise', end='', flush=True)\n    sys.stdout.write('more noise')\n"
        + ("    os.write(1, b'raw noise')\n" if isolate else "")
        + "    return record\n"
    )
    transform = f"custom_function: {{callable: functions.f, mode: record, isolate: {str(isolate).lower()}}}\n"
    write_contract(tmp_path, code, transform, [{"n": 1}, {"n": 2}], load='type: file\npath: "-"\nformat: jsonl\n')
    done = etlctl(tmp_path, "run", "contracts/c", "--quiet")
    assert (done.returncode, done.stdout) == (0, '{"n":1}\n{"n":2}\n'), done.stderr
    assert "while it is imported" in done.stderr
    assert done.stderr.count("more noise") == 2


@pytest.mark.parametrize("mode", ["batch", "frame"])
def test_a_batch_that_crashes_ends_the_run_and_it_resumes(tmp_path: Path, mode: str) -> None:
    work = "frame" if mode == "frame" else "records"
    first = 'given["n"][0]' if mode == "frame" else 'given[0]["n"]'
    code = f"import os\ndef {work}(given):\n    if {first} == 20 and not os.path.exists('mended'): os._exit(9)\n    return given\n"
    transform = f"custom_function: {{callable: functions.{work}, mode: {mode}, isolate: true}}\n"
    write_contract(
        tmp_path, code, transform, [{"n": n} for n in range(50)],
        extract="processing_mode: streaming\nbatch_size: 10\nerror_recovery: {backoff: 0}\ncheckpoint: {interval: 1}\n",
    )  # fmt: skip
    ran = run(tmp_path)
    assert ran.code == 1
    assert "ended its process: exit code 9; gave up after 3 tries" in ran.result["error"]
    assert ran.counts["loaded"] == 20
    (tmp_path / "mended").touch()
    done = etlctl(tmp_path, "resume", "--checkpoint", ran.result["checkpoint_id"])
    assert done.returncode == 0, done.stderr
    out = (tmp_path / "contracts" / "c" / "out.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["n"] for line in out.splitlines()] == list(range(50))


def test_a_batch_that_raises_for_a_reason_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    code = (
        "import os\ndef f(records):\n    if not os.path.exists('tried'):\n        open('tried', 'w').close()\n"
        "        for record in records: record['nested']['deep'].clear()\n"
        "        raise ConnectionResetError('by peer')\n    return records\n"
    )
    transform = "custom_function: {callable: functions.f}\n"
    write_contract(tmp_path, code, transform, RECORDS[:3], extract="error_recovery: {backoff: 0}\n")
    ran = run(tmp_path)
    assert (ran.code, ran.records) == (0, RECORDS[:3])


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_a_terminal_sends_to_all_is_the_runs_to_judge(tmp_path: Path, number: str) -> None:
    code = (
        "import os, signal, time\ndef f(record):\n"
        f"    if record['n'] == 5: os.kill(os.getpid(), signal.{number})\n    return record\n"
    )
    transform = "custom_function: {callable: functions.f, mode: record, isolate: true}\n"
    write_contract(tmp_path, code, transform, [{"n": n} for n in range(10)])
    ran = run(tmp_path)
    assert (ran.code, ran.counts["rejected"], len(ran.records)) == (0, 0, 10), ran.stderr


# --- the three levels ---------------------------------------------------------------------------------------------------

THREE_LEVELS = """
transform:
  rename: {oldName: new_name, symbol: ticker_symbol}
  convert: {price: float, quantity: integer}
  defaults: {status: pending}
  add: {full_name: "${first_name} ${last_name}"}
  drop: [internal_id]
jsonata:
  expression: |
    $.{
      "ticker": ticker_symbol,
      "who": full_name,
      "status": status,
      "avg_price": $average(prices),
      "total_volume": $sum(volumes),
      "value": price * quantity
    }
  mode: "batch"
custom_function:
  module: "functions"
  function: "optimize_data"
  mode: "batch"
  kwargs:
    method: "min_volatility"
"""
OPTIMIZE = """
def optimize_data(data, method="equal"):
    total = sum(record["value"] for record in data)
    return [{**record, "weight": record["value"] / total, "method": method} for record in data]
"""


def test_simple_operations_then_jsonata_then_a_function(tmp_path: Path) -> None:
    given = [
        {"symbol": "AAA", "price": "10.5", "quantity": "4", "first_name": "Ann", "last_name": "Lee", "prices": [1, 2, 3],
         "volumes": [10, 20], "internal_id": 1},
        {"symbol": "BBB", "price": "29", "quantity": " 2 ", "first_name": "Bob", "last_name": None, "prices": [4],
         "volumes": [5], "internal_id": 2, "status": "done"},
    ]  # fmt: skip
    write_contract(tmp_path, OPTIMIZE, THREE_LEVELS, given)
    ran = run(tmp_path)
    assert ran.code == 0, ran.stderr
    assert ran.records == [
        {"ticker": "AAA", "who": "Ann Lee", "status": "pending", "avg_price": 2, "total_volume": 30, "value": 42.0,
         "weight": 0.42, "method": "min_volatility"},
        {"ticker": "BBB", "who": "Bob ", "status": "done", "avg_price": 4, "total_volume": 5, "value": 58.0,
         "weight": 0.58, "method": "min_volatility"},
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["full", "streaming"])
def test_a_frame_function_may_change_the_number_of_records(tmp_path: Path, mode: str) -> None:
    code = (
        "import polars as pl\ndef f(frame):\n"
        "    if frame['n'][0] == 20: return pl.concat([frame, frame.head(3)])\n    return frame.filter(pl.col('n') % 2 == 0)\n"
    )
    transform = "custom_function: {callable: functions.f, mode: frame}\n"
    extract = f"processing_mode: {mode}\nbatch_size: 10\n"
    write_contract(tmp_path, code, transform, [{"n": n} for n in range(40)], extract=extract)
    ran = run(tmp_path)
    assert ran.code == 0, ran.stderr
    assert ran.balanced
    filtered, added = (20, 0) if mode == "full" else (15, 3)
    assert (ran.counts["filtered"], ran.counts["added"]) == (filtered, added)
    assert ran.counts["loaded"] == len(ran.records) == 40 - filtered + added


@pytest.mark.parametrize("mode", ["batch", "frame"])
def test_a_batch_function_sees_the_whole_set_in_full_mode(tmp_path: Path, mode: str) -> None:
    """The acceptance case ot-run-batch-invariance-custom."""
    code = (
        "def batch_fn(records): return [{**record, 'seen': len(records)} for record in records]\n"
        "def frame_fn(frame):\n    import polars as pl\n    return frame.with_columns(seen=pl.lit(frame.height))\n"
    )
    transform = f"custom_function: {{callable: functions.{mode}_fn, mode: {mode}}}\n"
    folder = write_contract(tmp_path, code, transform, [], extract="")
    rows = [f"{i},n{i},{'' if i % 10 == 0 else i},{i:05}" for i in range(2500)]
    (folder / "in.csv").write_text("id,name,qty,zip\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "extract.yaml").write_text("type: file\npath: in.csv\nbatch_size: 1000\n", encoding="utf-8")
    ran = run(tmp_path)
    assert ran.code == 0, ran.stderr
    assert len(ran.records) == 2500
    assert {record["seen"] for record in ran.records} == {2500}
