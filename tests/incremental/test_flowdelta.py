"""The FlowDelta seed: its snippets with only the import changed, and its acceptance cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from incremental_shop import Shop, row

import etlctl
from etlctl import DeltaTracker, Storage, run_delta
from etlctl.errors import ContractError, StateError

_FILE = Path(__file__).parents[1] / "cases" / "flowdelta_cases.yaml"
CASES = {case["id"]: case for case in yaml.safe_load(_FILE.read_text(encoding="utf-8"))["cases"]}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A workspace with the contract ``orders``, and the current directory in it."""
    monkeypatch.chdir(tmp_path)
    shop = Shop(tmp_path)
    shop.grow(row(1, "2019-05-01"), row(2, "2020-01-01"), row(3, "2024-05-01"))
    return shop


def case(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return CASES[name]["given"], CASES[name]["expect"]


# --- the snippets ----------------------------------------------------------------------------------------------------


def test_quick_start(workspace: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from etlctl import DeltaTracker

    tracker = DeltaTracker(source_name="orders", checkpoint_id="cp1")
    last = tracker.last_timestamp()
    print("Last timestamp:", last)

    assert capsys.readouterr().out == "Last timestamp: 1970-01-01\n"
    assert not (workspace.root / ".etlctl").exists()  # looking creates nothing


def test_saving_data(capsys: pytest.CaptureFixture[str]) -> None:
    import tempfile

    from etlctl import Storage

    # Use a temporary directory for cross-platform compatibility
    with tempfile.TemporaryDirectory() as tmpdir:
        s = Storage(tmpdir, mkdir=True)
        s.write_json("users", {"a": 1})
        print(s.read_json("users"))

    assert capsys.readouterr().out == "{'a': 1}\n"


def test_running_a_delta(workspace: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from etlctl import run_delta

    result = run_delta("orders", since_timestamp="2020-01-01", verbose=True)
    print(result)

    given, expect = case("fd-run-delta-verbose")
    assert given["verbose"]
    assert capsys.readouterr().out.startswith(expect["stdout"] + "\n")
    assert (result["status"], result["from"], result["to"], result["records"]) == (
        "succeeded", "2020-01-01", "2024-05-01", 2,
    )  # fmt: skip
    assert sorted(workspace.loaded()) == ["2", "3"]


# --- tracker ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fd-tracker-initial", "fd-tracker-empty-initial"])
def test_tracker_cases(name: str, workspace: Shop) -> None:
    given, expect = case(name)
    names = given.get("DeltaTracker", ["orders", "cp1"])
    assert (
        DeltaTracker(*names, initial_timestamp=given["initial_timestamp"]).last_timestamp() == expect["last_timestamp"]
    )


def test_a_tracker_advances_and_never_goes_back(workspace: Shop) -> None:
    tracker, other = DeltaTracker("s", "cp1", initial_timestamp="2024-01-01"), DeltaTracker("s", "cp2")
    assert tracker.advance("2024-05-01T10:00:00+02:00") == "2024-05-01T10:00:00+02:00"
    assert tracker.advance("2024-05-01T07:59:59Z") == "2024-05-01T10:00:00+02:00"
    again = DeltaTracker("s", "cp1", initial_timestamp="2030-01-01")
    assert (again.last_timestamp(), other.last_timestamp()) == ("2024-05-01T10:00:00+02:00", "1970-01-01")


def test_a_tracker_sees_the_cursor_of_a_contract(workspace: Shop) -> None:
    workspace.run()
    assert DeltaTracker("orders", "at").last_timestamp() == "2024-05-01"
    DeltaTracker("orders", "at").advance("2024-06-01")
    workspace.grow(row(4, "2024-05-15"), row(5, "2024-06-02"))
    workspace.run()
    assert sorted(workspace.loaded()) == ["2", "3", "5"]


@pytest.mark.parametrize("arguments", [("", "cp1"), ("orders", " "), ("orders", None)])
def test_a_tracker_needs_names(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="must be a name"):
        DeltaTracker(*arguments)


def test_a_tracker_takes_timestamps_only(workspace: Shop) -> None:
    with pytest.raises(ValueError, match="bad date"):
        DeltaTracker("orders", "cp1").advance("soon")
    with pytest.raises(ValueError, match="bad date"):
        DeltaTracker("orders", "cp1", initial_timestamp="soon")


# --- storage ---------------------------------------------------------------------------------------------------------


def test_storage_cases(tmp_path: Path) -> None:
    given, expect = case("fd-storage-roundtrip")
    key, data = given["write_json"]
    storage = Storage(tmp_path)
    storage.write_json(key, data)
    assert storage.read_json(key) == expect["read_json"]
    assert (tmp_path / expect["file"]).is_file()
    given, expect = case("fd-storage-overwrite")
    for data in given["write"]:
        storage.write_json("k", data)
    assert storage.read_json("k") == expect["read_json"]
    given, _ = case("fd-storage-mkdir")
    Storage(tmp_path / given["path"], mkdir=given["mkdir"])
    assert (tmp_path / given["path"]).is_dir()


def test_a_document_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    given, expect = case("fd-storage-atomic")
    storage = Storage(tmp_path)
    storage.write_json("k", given["before"])
    with pytest.raises(TypeError):
        storage.write_json("k", {"a": object()})
    assert storage.read_json("k") == expect["read_json"]
    assert [path.name for path in tmp_path.iterdir()] == ["k.json"]


@pytest.mark.parametrize("key", ["../k", "a/b", "", ".hidden", "a\\b", "/etc/passwd", "k\x00", "a" * 129])
def test_a_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    storage = Storage(tmp_path / "in", mkdir=True)
    for call in (lambda: storage.write_json(key, 1), lambda: storage.read_json(key)):
        with pytest.raises(ValueError, match="cannot be a key"):
            call()
    assert [path.name for path in tmp_path.rglob("*")] == ["in"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not exist"):
        Storage(tmp_path / "none")
    with pytest.raises(KeyError, match="no document 'users'"):
        Storage(tmp_path).read_json("users")
    (tmp_path / "users.json").write_text("{", encoding="utf-8")
    with pytest.raises(StateError, match="is not JSON"):
        Storage(tmp_path).read_json("users")
    with pytest.raises(StateError, match=r"cannot be made|is not a folder"):
        Storage(tmp_path / "users.json" / "below", mkdir=True)


# --- run_delta -------------------------------------------------------------------------------------------------------


def test_run_delta_refuses_what_is_no_date(workspace: Shop) -> None:
    given, expect = case("fd-run-delta-bad-date")
    with pytest.raises(ValueError, match=expect["error"]):
        run_delta("orders", given["since_timestamp"])
    assert not workspace.loaded()


def test_run_delta_reads_from_the_moment_whatever_the_cursor_says(workspace: Shop) -> None:
    workspace.run()
    result = run_delta("orders", "2024-01-01")
    assert (result["records"], result["to"], workspace.loaded()["3"]) == (1, "2024-05-01", 2)
    assert run_delta("orders", "2030-01-01T00:00:00Z")["to"] == "2024-05-01"
    everything = workspace.source
    workspace.give(everything[:2])
    assert run_delta("orders", "2020-01-01")["to"] == "2024-05-01"  # a cursor never goes back
    workspace.give(everything)
    workspace.run()
    assert workspace.loaded()["3"] == 2


def test_run_delta_needs_an_incremental_contract_of_that_name(workspace: Shop) -> None:
    with pytest.raises(ContractError, match="no contract 'ordres'") as caught:
        run_delta("ordres", "2024-01-01")
    assert "orders" in (caught.value.help or "")
    workspace.section("extract", {"type": "file", "path": "../../in.csv"})
    with pytest.raises(ContractError, match="not incremental"):
        run_delta("orders", "2024-01-01")


def test_a_failed_delta_says_so(workspace: Shop) -> None:
    (workspace.root / "in.csv").unlink()
    result = run_delta("orders", "2024-01-01")
    assert (result["status"], result["to"], result["records"]) == ("failed", None, 0)
    assert "in.csv" in result["error"]


def test_the_names_are_public() -> None:
    assert {"DeltaTracker", "Storage", "run_delta"} <= set(etlctl.__all__)
