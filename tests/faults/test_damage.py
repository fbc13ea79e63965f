"""P1–P3, S3, D, G, Z: damaged state, edited contracts, full disks, signals and guards, through the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import JOB, Shop, Target, check_equality, finish, source_records, wait_for, write_contract
from targets import TARGETS, prepare

BY_NAME = {target.name: target for target in TARGETS}
INSERT, APPEND = BY_NAME["sqlite-insert"], BY_NAME["jsonl-append"]
CRASH = "load.after_commit:3=kill"


def crashed(shop: Shop, root: Path, target: Target, *argv: str, mode: str = "streaming") -> Path:
    folder = write_contract(root, target, mode=mode)
    prepare(target, folder)
    assert shop.run(root, "run", "contracts/c", "--checkpoint", JOB, *argv, fault=CRASH).killed
    return folder


def alter_checkpoint(root: Path, statement: str) -> None:
    with sqlite3.connect(root / ".etlctl" / "state.db") as ledger:
        assert ledger.execute(statement).rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE etlctl_checkpoints SET seq = seq + 1",
        "UPDATE etlctl_checkpoints SET position = 'null'",
        "UPDATE etlctl_checkpoints SET account = ''",
        "DELETE FROM etlctl_checkpoints",
    ],
)
@pytest.mark.parametrize("target", [INSERT, APPEND], ids=lambda one: one.name)
def test_a_damaged_or_lost_checkpoint_is_no_harm(shop: Shop, tmp_path: Path, target: Target, statement: str) -> None:
    crashed(shop, tmp_path, target)
    alter_checkpoint(tmp_path, statement)
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert resumed.code == 4, resumed.err
    check_equality(tmp_path, target)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "newer"])
def test_damaged_checkpoint_files(shop: Shop, tmp_path: Path, damage: str) -> None:
    crashed(shop, tmp_path, INSERT, "--checkpoint-dir", "points")
    file = tmp_path / "points" / f"{JOB}.json"
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "flip": content.replace(b'"seq": 2', b'"seq": 1').replace(b'"seq":2', b'"seq":1'),
            "empty": b"",
            "newer": content.replace(b'"version": 1', b'"version": 99').replace(b'"version":1', b'"version":99'),
        }[damage]
    )
    assert file.read_bytes() != content
    shown = shop.run(tmp_path, "checkpoints", "show", JOB, "--checkpoint-dir", "points")
    assert shown.code == 7, shown.err
    assert "etlctl checkpoints delete" in shown.err
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB, "--checkpoint-dir", "points")
    if damage == "newer":
        assert resumed.code == 7, "what a newer version wrote is not overwritten"
        return
    assert resumed.code == 4, resumed.err
    check_equality(tmp_path, INSERT)
    assert not file.exists()


def test_a_lost_ledger_does_not_start_from_zero_silently(shop: Shop, tmp_path: Path) -> None:
    crashed(shop, tmp_path, INSERT)
    for file in (tmp_path / ".etlctl").glob("state.db*"):
        file.unlink()
    unknown = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert unknown.code == 2
    refused = shop.run(tmp_path, "run", "contracts/c")
    assert refused.code == 7, refused.err
    assert "would load them a second time" in refused.err
    with sqlite3.connect(tmp_path / "contracts" / "c" / "out.db") as database:
        assert database.execute("SELECT count(*) FROM t").fetchone()[0] < 30


def test_a_checkpoint_of_another_contract_is_refused(shop: Shop, tmp_path: Path) -> None:
    folder = crashed(shop, tmp_path, INSERT)
    other = folder.parent / "other"
    other.mkdir()
    for name in ("extract.yaml", "transform.yaml", "load.yaml"):
        (other / name).write_text((folder / name).read_text())
    refused = shop.run(tmp_path, "resume", "--checkpoint", JOB, "--contract", str(other))
    assert refused.code == 7, refused.err
    assert "is of another contract" in refused.err
    moved = folder.rename(tmp_path / "c")
    lost = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert lost.code == 2, lost.err
    assert "--contract PATH" in lost.err
    found = shop.run(tmp_path, "resume", "--checkpoint", JOB, "--contract", str(moved), fault=CRASH.replace("3", "1"))
    assert found.killed, found.err
    taken = shop.run(tmp_path, "run", "contracts/other", "--checkpoint", JOB)
    assert taken.code == 7
    assert "can be resumed" in taken.err


def test_an_edited_contract_is_not_mixed_unless_told(shop: Shop, tmp_path: Path) -> None:
    folder = crashed(shop, tmp_path, INSERT)
    transform = folder / "transform.yaml"
    transform.write_text(transform.read_text().replace("value: skip", "value: nothing"))
    refused = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert refused.code == 7, refused.err
    assert "transform.yaml changed" in refused.err
    told = shop.run(tmp_path, "resume", "--checkpoint", JOB, "--accept-changes")
    assert told.code == 4, told.err
    with sqlite3.connect(folder / "out.db") as database:
        kinds = dict(database.execute("SELECT kind, count(*) FROM t GROUP BY kind"))
    assert kinds["skip"] > 0


def test_an_edited_contract_begins_anew_under_its_run_key_when_nothing_can_be_seen(shop: Shop, tmp_path: Path) -> None:
    target = BY_NAME["jsonl-replace"]
    folder = write_contract(tmp_path, target, mode="streaming")
    argv = ("run", "contracts/c", "--run-key", "k")
    assert shop.run(tmp_path, *argv, fault=CRASH).killed
    load = folder / "load.yaml"
    load.write_text(load.read_text() + "# better\nreplace_guard: {allow_empty: true}\n")
    done = shop.run(tmp_path, *argv)
    assert done.code == 4, done.err
    check_equality(tmp_path, target)


@pytest.mark.parametrize(
    "name", ["jsonl-replace", "parquet-append", "parts-replace", "sqlite-insert", "sqlite-replace"]
)
@pytest.mark.parametrize("point", ["load.write:3", "load.before_commit:2", "publish.during:1"])
def test_a_full_disk_is_told_and_the_run_goes_on_later(shop: Shop, tmp_path: Path, name: str, point: str) -> None:
    target = BY_NAME[name]
    folder = write_contract(tmp_path, target, mode="streaming")
    prepare(target, folder)
    before = target.read(folder)
    full = shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=full")
    if full.code == 4 and name == "sqlite-insert" and point.startswith("publish"):
        return  # an insert has nothing to publish
    assert full.code == 1, full.err
    assert "free some space" in full.err
    assert "resume --checkpoint job" in full.err
    if not target.name.startswith("sqlite-insert"):
        assert target.read(folder) == before, "nothing new stands under the final name"
    finish(shop, tmp_path, full)
    check_equality(tmp_path, target)


def test_a_state_folder_that_cannot_be_written_is_told_before_anything_is_loaded(shop: Shop, tmp_path: Path) -> None:
    folder = write_contract(tmp_path, BY_NAME["jsonl-replace"], mode="streaming")
    (tmp_path / ".etlctl").write_text("in the way")
    ended = shop.run(tmp_path, "run", "contracts/c")
    assert ended.code == 7, ended.err
    assert ".etlctl" in ended.err
    assert not (folder / "out.jsonl").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", [INSERT, BY_NAME["jsonl-replace"]], ids=lambda one: one.name)
def test_a_signal_finishes_the_batch_in_hand(tmp_path: Path, target: Target, number: signal.Signals) -> None:
    folder = write_contract(tmp_path, target, mode="streaming")
    prepare(target, folder)
    with (folder / "transform.yaml").open("a") as file:
        file.write("  - custom_function: {module: slow, function: work}\n")
    (folder / "slow.py").write_text(
        "import pathlib, time\ndef work(record):\n    pathlib.Path(__file__).with_name('busy').touch()\n"
        "    time.sleep(0.2)\n    return record\n"
    )
    command = [sys.executable, "-m", "etlctl", "run", "contracts/c", "--checkpoint", JOB]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for((folder / "busy").exists)
    time.sleep(0.5)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number, err
    assert "carry on with: etlctl resume --checkpoint job" in err
    (folder / "slow.py").write_text("def work(record):\n    return record\n")
    command = [sys.executable, "-m", "etlctl", "resume", "--checkpoint", JOB]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 7, refused.stderr
    assert "slow.py changed" in refused.stderr, "a contract's own code belongs to it"
    command.append("--accept-changes")
    resumed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 4, resumed.stderr
    check_equality(tmp_path, target)


@pytest.mark.parametrize("name", ["jsonl-replace", "parquet-replace", "parts-replace", "sqlite-replace"])
def test_a_replace_by_nothing_or_by_little_is_refused(shop: Shop, tmp_path: Path, name: str) -> None:
    target = BY_NAME[name]
    folder = write_contract(tmp_path, target, mode="streaming")
    prepare(target, folder)
    assert shop.run(tmp_path, "run", "contracts/c").code == 4
    before = target.read(folder)
    assert sum(before.values()) > 40
    (folder / "load.yaml").write_text(target.load + "replace_guard: {max_shrink_percent: 50}\n")
    for source in sorted((folder / "in").iterdir())[1:]:
        source.unlink()
    shrunk = shop.run(tmp_path, "run", "contracts/c")
    assert shrunk.code == 5, shrunk.err
    assert "max_shrink_percent" in shrunk.err
    assert target.read(folder) == before
    (folder / "load.yaml").write_text(target.load)
    only = next((folder / "in").iterdir())
    only.write_text(only.read_text().splitlines()[0] + "\n")
    emptied = shop.run(tmp_path, "run", "contracts/c")
    assert emptied.code == 5, emptied.err
    assert "allow_empty" in emptied.err
    assert target.read(folder) == before
    (folder / "load.yaml").write_text(target.load + "replace_guard: {allow_empty: true}\n")
    allowed = shop.run(tmp_path, "run", "contracts/c")
    assert allowed.code == 0, allowed.err
    assert sum(target.read(folder).values()) == 0


def test_standard_input_is_not_read_from_the_middle(tmp_path: Path) -> None:
    folder = write_contract(tmp_path, INSERT, mode="streaming")
    prepare(INSERT, folder)
    content = "".join(path.read_text().split("\n", 1)[1] if number else path.read_text()
                      for number, path in enumerate(sorted((folder / "in").iterdir())))  # fmt: skip
    extract = folder / "extract.yaml"
    extract.write_text(extract.read_text().replace("path: in/part-*.csv", "path: '-'\nformat: csv"))

    def etlctl(*argv: str, fault: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "etlctl", *argv]
        environ = {**os.environ, "ETLCTL_FAULT": fault}
        return subprocess.run(
            command, cwd=tmp_path, env=environ, input=content, capture_output=True, text=True, check=False
        )

    assert etlctl("run", "contracts/c", "--checkpoint", JOB, fault=CRASH).returncode == -signal.SIGKILL
    resumed = etlctl("resume", "--checkpoint", JOB)
    assert resumed.returncode == 1, resumed.stderr
    assert "standard input cannot be read from the middle" in resumed.stderr


@pytest.mark.parametrize(
    ("rename", "code", "said"),
    [
        (("part-0", "part-9"), 1, "was read before"),
        (("part-4", "part-00"), 4, "are new since the run stopped"),
    ],
)
def test_files_of_a_glob_that_moved(shop: Shop, tmp_path: Path, rename: tuple[str, str], code: int, said: str) -> None:
    folder = write_contract(tmp_path, INSERT, mode="streaming")
    prepare(INSERT, folder)
    assert shop.run(
        tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault="load.after_commit:3=kill"
    ).killed  # in the third file
    old, new = (folder / "in" / f"{name}.csv" for name in rename)
    old.rename(new)
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert resumed.code == code, resumed.err
    assert said in resumed.err


@pytest.mark.parametrize("where", [(), ("--checkpoint-dir", "points")])
@pytest.mark.parametrize("target", [INSERT, APPEND], ids=lambda one: one.name)
def test_a_run_that_a_later_one_has_done_anew_is_not_resumed(
    shop: Shop, tmp_path: Path, target: Target, where: tuple[str, ...]
) -> None:
    prepare(target, write_contract(tmp_path, target, mode="streaming"))
    failed = shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, *where, fault="load.write:1=fail")
    assert failed.code == 1, failed.err
    assert shop.run(tmp_path, "run", "contracts/c", *where).code == 4
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB, *where)
    assert resumed.code in {2, 7}, resumed.err
    check_loaded(tmp_path, target)


def test_a_checkpoint_that_was_deleted_is_not_resumed(shop: Shop, tmp_path: Path) -> None:
    crashed(shop, tmp_path, INSERT)
    assert shop.run(tmp_path, "checkpoints", "delete", JOB).code == 0
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert resumed.code == 2, resumed.err
    assert shop.run(tmp_path, "checkpoints", "delete", JOB).code == 2


def test_a_lost_ledger_is_made_up_for_by_the_token(shop: Shop, tmp_path: Path) -> None:
    crashed(shop, tmp_path, INSERT)
    shutil.rmtree(tmp_path / ".etlctl")
    refused = shop.run(tmp_path, "run", "contracts/c")
    found = re.search(r"etlctl resume --checkpoint (run_\w+)", refused.err)
    assert found, refused.err
    wrong = shop.run(tmp_path, "resume", "--checkpoint", "run_unknown", "--contract", "contracts/c")
    assert wrong.code == 7, wrong.err
    resumed = shop.run(tmp_path, "resume", "--checkpoint", found[1], "--contract", "contracts/c")
    assert resumed.code == 4, resumed.err
    check_loaded(tmp_path, INSERT)


def test_a_table_that_was_dropped_is_not_made_anew_for_the_rest(shop: Shop, tmp_path: Path) -> None:
    target = BY_NAME["sqlite-create"]
    folder = crashed(shop, tmp_path, target)
    with sqlite3.connect(folder / "out.db") as database:
        database.execute("DROP TABLE t")
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert resumed.code == 7, resumed.err
    assert "but t is gone" in resumed.err


def test_what_somebody_else_appended_meanwhile_is_not_cut_off(shop: Shop, tmp_path: Path) -> None:
    folder = write_contract(tmp_path, APPEND, mode="streaming")
    prepare(APPEND, folder)
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault="publish.during:1=kill").killed
    with (folder / "out.jsonl").open("a") as file:
        file.write('{"id":-3,"qty":0,"kind":"mine","when":"2026-01-01"}\n')
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert resumed.code == 1, resumed.err
    assert "something else has written behind it since" in resumed.err
    assert '"id":-3' in (folder / "out.jsonl").read_text()


def test_a_budget_that_was_exceeded_stays_exceeded(shop: Shop, tmp_path: Path) -> None:
    target = Target(**{**vars(INSERT), "load": INSERT.load + "dead_letters: {max: 1}\n"})
    folder = write_contract(tmp_path, target, mode="streaming")
    prepare(target, folder)
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB).code == 5
    before = target.read(folder)
    assert shop.run(tmp_path, "resume", "--checkpoint", JOB).code == 5
    assert target.read(folder) == before


def check_loaded(root: Path, target: Target) -> None:
    """Nothing is there twice, and nothing is missing that is not in the dead letters of some run."""
    folder = root / "contracts" / "c"
    found = target.read(folder)
    wanted = {int(one["id"]) for one in source_records() if one["kind"] != "skip" and one["qty"] != "many"}
    assert found == Counter(wanted | set(target.before))


@pytest.mark.parametrize("change", ["replaced", "grown"])
@pytest.mark.parametrize("at", [1, 4])
def test_a_source_that_is_another_one_is_not_mixed_in(shop: Shop, tmp_path: Path, at: int, change: str) -> None:
    folder = write_contract(tmp_path, INSERT, mode="streaming")
    prepare(INSERT, folder)
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault=f"load.after_commit:{at}=kill").killed
    source = folder / "in" / f"part-{0 if at == 1 else 3}.csv"
    content = source.read_bytes()
    if change == "replaced":
        source.write_bytes(content.replace(b"keep", b"kept"))
        refused = shop.run(tmp_path, "resume", "--checkpoint", JOB)
        assert refused.code == 1, refused.err
        assert f"in/{source.name} is not the file any more in which this run stopped" in refused.err
        source.write_bytes(content)
    else:
        source.write_bytes(content + b"900,900,keep,2026-01-01\r\n")
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert done.code == 4, done.err
    if change == "replaced":
        check_equality(tmp_path, INSERT)
    else:
        assert INSERT.read(folder)[900] == 1


def test_a_memory_limit_ends_the_run_cleanly_and_it_can_be_resumed(shop: Shop, tmp_path: Path) -> None:
    folder = write_contract(tmp_path, INSERT, mode="streaming", extract="max_memory_mb: 64\n")
    prepare(INSERT, folder)
    ended = shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, "--json")
    assert ended.code == 5, ended.err
    assert re.search(r"over its limit of 64 MiB \(max_memory_mb\), after batch \d+; the largest part is", ended.err)
    assert json.loads(ended.out)["resume_command"] == "etlctl resume --checkpoint job"
    extract = folder / "extract.yaml"
    extract.write_text(extract.read_text().replace("64", "4096"))
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB, "--accept-changes")
    assert resumed.code == 4, resumed.err
    check_equality(tmp_path, INSERT)


def test_few_descriptors_are_enough_or_told(shop: Shop, tmp_path: Path) -> None:
    folder = write_contract(tmp_path, BY_NAME["jsonl-replace"], mode="streaming")
    for number in range(100, 400):
        (folder / "in" / f"part-{number}.csv").write_text("id,qty,kind,when\n")
    command = f"ulimit -n 40; exec '{sys.executable}' -m etlctl run contracts/c"
    ended = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 4, ended.stderr
    check_equality(tmp_path, BY_NAME["jsonl-replace"])


assert os.name == "posix"
