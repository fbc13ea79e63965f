"""Custom functions in a process of their own: crashes, hangs, and values on their way there and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from function_runs import call, custom_function, rules

from etlctl.errors import FatalError, RetryableError, UnexpectedError
from etlctl.kit.child_process import NotPlain, loads_plain
from etlctl.kit.isolated_child import bytes_to_frame, frame_to_bytes

CODE = """
import os, signal, sys, time, ctypes

def same(record): return record

def odd(record):
    kind = record["a"]
    if kind == 1: os._exit(7)
    if kind == 2: os.kill(os.getpid(), signal.SIGKILL)
    if kind == 3: ctypes.string_at(0)
    if kind == 4:
        while True: pass
    if kind == 5: time.sleep(1e9)
    if kind == 6: raise KeyError("six")
    if kind == 7: return 7
    if kind == 8: return None
    if kind == 9: return [{"a": 9}, {"a": -9}]
    if kind == 10: return {"a": object()}
    if kind == 11: return {"a": lambda: 1}
    if kind == 12: sys.exit(12)
    if kind == 13: os.close(1); print("still here")
    if kind == 100: print("unheard")
    return {"a": kind, "pid": os.getpid()}

class Evil:
    def __reduce__(self): return (os.system, ("touch " + MARK,))
def evil(record): return {"a": Evil()}
MARK = ""

class Counts:
    def __init__(self): self.calls = 0
    def run(self, record):
        self.calls += 1
        if record["a"] == "crash":
            os._exit(1)
        return {"calls": self.calls}

def dies(given): os._exit(9)
def always(record): os._exit(3)
def hangs(records): time.sleep(1e9)
def connection(records): raise ConnectionResetError("by peer")
def own(records):
    class Odd(ValueError): pass
    raise Odd("my own")
def gone(record):
    from etlctl.sdk import FatalError
    raise FatalError("the service is gone", help="bring it back")
def wild(records): return [{"a": {1, 2}}, {"a": object()}]
def where(record): return {"pid": os.getpid(), "cwd": os.getcwd(), "neighbour": __import__("neighbour").NAME}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("NAME = 'beside'\n", encoding="utf-8")
    return tmp_path


def test_every_way_to_fail_refuses_its_record_and_no_other(folder: Path) -> None:
    given = [{"a": kind} for number in range(14) for kind in (number, 100 + number)]
    outcome = call(folder, given, function="odd", mode="record", isolate=True, timeout=1)
    crashed, late, result, raised = (f"custom_function.{rule}" for rule in ("crashed", "timeout", "result", "raised"))
    assert rules(outcome) == {
        2: crashed, 4: crashed, 6: crashed, 8: late, 10: late, 12: raised, 14: result, 20: result, 22: result,
        24: raised,
    }  # fmt: skip
    messages = {index: message for index, _, _, message in outcome.refused}
    assert messages[2] == "custom function functions.odd ended its process: exit code 7"
    assert messages[4] == "custom function functions.odd ended its process: signal SIGKILL"
    assert messages[6] == "custom function functions.odd ended its process: signal SIGSEGV"
    assert messages[8] == "custom function functions.odd did not return within 1 s; its process was ended"
    assert "KeyError: 'six' (functions.py line 14)" in messages[12]
    assert "SystemExit: 12" in messages[24]
    kept = [record["a"] for record in outcome.records]
    assert kept == [0, 100, 101, 102, 103, 104, 105, 106, 107, 108, 9, -9, 109, 110, 111, 112, 13, 113]
    assert os.getpid() not in {record.get("pid") for record in outcome.records}


def test_values_come_back_as_they_were(folder: Path) -> None:
    record = {
        "big": 2**200, "text": "ä\x00🎈", "bytes": b"\x00\xff", "date": date(2024, 2, 29), "time": clock(1, 2, 3, 4),
        "utc": datetime(2024, 1, 1, tzinfo=UTC), "plain": datetime(2024, 1, 1, 1, 1, 1, 999_999),  # noqa: DTZ001

        "delta": timedelta(days=-1, microseconds=1), "decimal": Decimal("1.10"), "nan": Decimal("NaN"),
        "none": None, "true": True, "one": 1, "float": 1.0, "nested": {"list": [1, [Decimal("2.0"), None]]},
    }  # fmt: skip
    (back,) = call(folder, [record], function="same", mode="record", isolate=True).records
    assert repr(back) == repr(record)
    (again,) = call(folder, [record], callable="functions.same", isolate=True).records
    assert repr(again) == repr(record)


def test_nothing_of_the_users_code_reaches_this_process(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    code = CODE.replace('MARK = ""', f"MARK = {str(mark)!r}")
    (folder / "functions.py").write_text(code, encoding="utf-8")
    outcome = call(folder, [{"a": 1}], function="evil", mode="record", isolate=True)
    assert rules(outcome) == {0: "custom_function.result"}
    assert not mark.exists()
    with pytest.raises(NotPlain):
        loads_plain(b"cos\nsystem\n(S'true'\ntR.")


def test_the_module_is_not_imported_here(folder: Path) -> None:
    (folder / "only_there.py").write_text("def f(record): return record\n", encoding="utf-8")
    call(folder, [{"a": 1}], callable="only_there.f", mode="record", isolate=True)
    assert "only_there" not in sys.modules


def test_neighbours_and_the_working_directory_are_found(folder: Path) -> None:
    (found,) = call(folder, [{"a": 1}], function="where", mode="record", isolate=True).records
    assert (found["cwd"], found["neighbour"]) == (str(Path.cwd()), "beside")


def test_a_crash_begins_anew_with_a_new_object(folder: Path) -> None:
    given: list[dict[str, Any]] = [{"a": each} for each in ("x", "x", "crash", "x")]
    outcome = call(folder, given, function="Counts", mode="record", isolate=True)
    assert outcome.records == [{"calls": 1}, {"calls": 2}, {"calls": 1}]
    assert rules(outcome) == {2: "custom_function.crashed"}


def test_crashes_without_end_end_the_run(folder: Path) -> None:
    with pytest.raises(FatalError, match=r"ended its process: exit code 3; so did the 5 records before") as caught:
        call(folder, [{"a": 1}] * 20, function="always", mode="record", isolate=True)
    assert "dead-letters" in (caught.value.help or "")


def test_only_crashes_in_a_row_count(folder: Path) -> None:
    given: list[dict[str, Any]] = [{"a": each} for each in ("crash", "x") * 7]
    outcome = call(folder, given, function="Counts", mode="record", isolate=True)
    assert outcome.records == [{"calls": 1}] * 7
    assert len(outcome.refused) == 7


@pytest.mark.parametrize("mode", ["batch", "frame"])
def test_a_batch_that_crashes_or_hangs_is_worth_another_try(folder: Path, mode: str) -> None:
    with pytest.raises(RetryableError, match="ended its process: exit code 9"):
        call(folder, [{"a": 1}], function="dies", mode=mode, isolate=True)
    with pytest.raises(RetryableError, match=r"did not return within 0.3 s"):
        call(folder, [{"a": 1}], function="hangs", mode=mode, isolate=True, timeout=0.3)


def test_errors_keep_their_kind(folder: Path) -> None:
    with pytest.raises(UnexpectedError, match="raised ConnectionResetError: by peer") as lost:
        call(folder, [{"a": 1}], function="connection", isolate=True)
    assert isinstance(lost.value.__cause__, ConnectionResetError)
    with pytest.raises(UnexpectedError, match="raised Odd: my own") as odd:
        call(folder, [{"a": 1}], function="own", isolate=True)
    assert (type(odd.value.__cause__).__name__, isinstance(odd.value.__cause__, ValueError)) == ("Odd", True)
    with pytest.raises(FatalError, match="the service is gone") as gone:
        call(folder, [{"a": 1}], function="gone", mode="record", isolate=True)
    assert gone.value.help == "bring it back"
    with pytest.raises(FatalError, match=r"object|set"):
        call(folder, [{"a": 1}], function="wild", isolate=True)


def test_what_cannot_be_imported_is_told_as_without_isolation(folder: Path) -> None:
    with pytest.raises(FatalError, match="there is no module 'nowhere'"):
        call(folder, [{"a": 1}], callable="nowhere.f", isolate=True)
    (folder / "dies_early.py").write_text("import os\nos._exit(4)\n", encoding="utf-8")
    with pytest.raises(FatalError, match="ended while the module was imported: exit code 4"):
        call(folder, [{"a": 1}], callable="dies_early.f", isolate=True)


def test_frames_travel_exactly() -> None:
    frame = pl.DataFrame(
        {"i": [2**100, None], "d": [Decimal("1.10"), None], "l": [[1], []], "s": [{"x": "a"}, None], "b": [b"\xff", b""]},
        schema={"i": pl.Int128, "d": pl.Decimal(38, 2), "l": pl.List(pl.Int64), "s": pl.Struct({"x": pl.String}),
                "b": pl.Binary},
    )  # fmt: skip
    back = bytes_to_frame(frame_to_bytes(frame))
    assert back.schema == frame.schema
    assert back.equals(frame)


def test_the_process_ends_with_the_run(folder: Path) -> None:
    from etlctl.sdk import RowSlice, StepContext

    operation = custom_function(callable="functions.where", mode="record", isolate=True)
    rows = RowSlice([{"a": 1}], [0])
    operation.rows(rows, StepContext(base_dir=folder))
    pid = rows.records[0]["pid"]
    os.kill(pid, 0)
    operation.close()
    assert not alive(pid)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("busy", ["while True: pass", "time.sleep(1e9)", "return record"])
def test_the_process_ends_when_the_run_is_killed(folder: Path, busy: str, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = f"import os, time\ndef f(record):\n    open({str(mark)!r}, 'w').write(str(os.getpid()))\n    {busy}\n"
    (folder / "stays.py").write_text(code, encoding="utf-8")
    script = (
        "import sys, time; sys.path[:0] = sys.argv[2:]; from function_runs import call; from pathlib import Path\n"
        "from function_runs import custom_function; from etlctl.sdk import RowSlice, StepContext\n"
        "operation = custom_function(callable='stays.f', mode='record', isolate=True)\n"
        "operation.rows(RowSlice([{'a': 1}], [0]), StepContext(base_dir=Path(sys.argv[1])))\n"
        "time.sleep(1e9)\n"
    )
    here = str(Path(__file__).parent)
    parent = subprocess.Popen([sys.executable, "-c", script, str(folder), here])
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    pid = int(mark.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Tell whether a process is there; one that has ended and that nobody has asked for is not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
def test_a_run_without_any_stderr_can_isolate(folder: Path) -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]; from function_runs import call; from pathlib import Path\n"
        "print(call(Path(sys.argv[1]), [{'a': 100}], function='odd', mode='record', isolate=True).records[0]['a'])\n"
    )
    command = ["sh", "-c", '"$@" 2>&-', "sh", sys.executable, "-c", script, str(folder), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "100\n"
