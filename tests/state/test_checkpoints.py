"""Checkpoints do the same in every store: SQLite, PostgreSQL, a folder of JSON files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import BEGAN, ENDED, checkpoint, start

from etlctl.checkpoint import VERSION
from etlctl.errors import CheckpointError, FencedError, NotInLedgerError, StateError
from etlctl.redact import MASK, Redactor
from etlctl.state import open_ledger
from etlctl.state.checkpoint_files import CheckpointFiles
from etlctl.state.checkpoint_form import checksum
from etlctl.state.checkpoint_store import CheckpointStore
from etlctl.state.ledger import Ledger
from etlctl.state.location import state_url
from etlctl.state.store import connect
from etlctl.state.upgrade import upgrade

SECRET = "s3cr3t/Canary+42"


@dataclass
class Place:
    """A checkpoint store, and how to look into it and damage it."""

    store: CheckpointStore
    content: Callable[[], str]
    change: Callable[[str, Any], None]
    """Put a value in the place of one that was written, behind the back of the checksum."""


@pytest.fixture(params=["sqlite", "postgres", "files"])
def place(request: pytest.FixtureRequest, tmp_path: Path, redactor: Redactor) -> Iterator[Place]:
    if request.param == "files":
        folder = tmp_path / "checkpoints"
        yield Place(CheckpointFiles(folder, redactor), lambda: _files(folder), lambda *what: _change(folder, *what))
        return
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path / 'state.db'}"
    made = connect(state_url(url))
    upgrade(made)
    made.close()
    with open_ledger(url, redactor=redactor) as ledger:
        yield Place(ledger, lambda: _rows(ledger), lambda *what: _update(ledger, *what))


def _files(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.iterdir())


def _change(folder: Path, name: str, value: Any) -> None:
    path = folder / "cp.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert name in document["checkpoint"]
    document["checkpoint"][name] = value
    if name == "version":
        document[name] = value
    path.write_text(json.dumps(document), encoding="utf-8")


def _rows(ledger: Ledger) -> str:
    with ledger.store.transaction(writing=False) as connection:
        return repr(connection.fetch("SELECT * FROM etlctl_checkpoints"))


def _update(ledger: Ledger, name: str, value: Any) -> None:
    with ledger.store.transaction() as connection:
        stored = json.dumps(value) if isinstance(value, dict) else value
        assert connection.run(f"UPDATE etlctl_checkpoints SET {name} = :value", {"value": stored}) == 1


ODD_PARAMS = {
    "n": 2**70,
    "price": Decimal("1.10"),
    "on": BEGAN,
    "text": "a\x00\ud800é",
    "deep": [{"a": None}, 1.5, True],
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"params": ODD_PARAMS, "position": {"deep": {"next": "https://x/?a=1&b=é", "n": 2**63, "at": [1, None]}}},
        {"position": None, "account": {}, "batch_size": None, "max_records": None, "seq": 0, "contract_hash": {}},
        {"error": "odd \x00 error", "max_records": 2**40, "seq": 2**40, "fence": 2**40},
        {"updated_at": datetime(2026, 3, 1, 12, 0, 0, 7, tzinfo=UTC)},
    ],
)
def test_a_checkpoint_comes_back_as_it_was(place: Place, changes: dict[str, Any]) -> None:
    saved = checkpoint(**changes)
    place.store.save_checkpoint(saved)
    wanted = saved.moved(error="odd \\x00 error") if saved.error else saved
    assert place.store.checkpoint("cp") == wanted
    assert [one.checkpoint for one in place.store.checkpoints()] == [wanted]
    assert [one.problem for one in place.store.checkpoints()] == [None]


def test_a_checkpoint_moves_in_place(place: Place) -> None:
    for seq in range(1, 6):
        place.store.save_checkpoint(checkpoint(seq=seq, position={"page": seq}, updated_at=None))
    found = place.store.checkpoint("cp")
    assert (found.seq, found.position) == (5, {"page": 5})
    assert found.updated_at is not None
    assert abs(datetime.now(UTC) - found.updated_at) < timedelta(minutes=5)
    assert len(place.store.checkpoints()) == 1


def test_checkpoints_are_listed_the_last_moved_first(place: Place) -> None:
    assert place.store.checkpoints() == []
    for number, contract in enumerate(["people", "orders", "people"]):
        moved = ENDED + timedelta(minutes=number)
        place.store.save_checkpoint(checkpoint(f"cp{number}", contract=contract, stream=contract, updated_at=moved))
    assert [one.id for one in place.store.checkpoints()] == ["cp2", "cp1", "cp0"]
    assert [one.id for one in place.store.checkpoints("people")] == ["cp2", "cp0"]


def test_a_checkpoint_is_deleted_once(place: Place) -> None:
    place.store.save_checkpoint(checkpoint())
    assert place.store.delete_checkpoint("cp") is True
    assert place.store.delete_checkpoint("cp") is False
    assert place.store.checkpoints() == []
    with pytest.raises(NotInLedgerError, match="there is no checkpoint 'cp'") as missing:
        place.store.checkpoint("cp")
    assert "etlctl checkpoints list" in str(missing.value.help)


def test_a_newer_fence_is_not_overwritten_nor_deleted(place: Place) -> None:
    place.store.save_checkpoint(checkpoint(fence=5, seq=9))
    with pytest.raises(FencedError, match=r"under lease 5 by run run_1.*lease 4 only"):
        place.store.save_checkpoint(checkpoint(fence=4, seq=10))
    assert place.store.delete_checkpoint("cp", fence=4) is False
    assert place.store.checkpoint("cp").seq == 9
    place.store.save_checkpoint(checkpoint(fence=6, seq=9))
    assert place.store.delete_checkpoint("cp", fence=6) is True


def test_the_checkpoint_of_another_stream_is_not_overwritten(place: Place) -> None:
    place.store.save_checkpoint(checkpoint())
    with pytest.raises(
        CheckpointError, match=r"is one of people \(run run_1\) and is not overwritten by one of orders"
    ):
        place.store.save_checkpoint(checkpoint(stream="orders", fence=9))


@pytest.mark.parametrize(
    "odd", ["", ".", "..", "../up", "a/b", "/etc/passwd", ".hidden", "a" * 129, "a\x00", "é", "a b", "a\n"]
)
def test_no_other_name_is_an_id(place: Place, odd: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for act in (
        place.store.checkpoint,
        place.store.delete_checkpoint,
        lambda name: place.store.save_checkpoint(checkpoint(name)),
    ):
        with pytest.raises(CheckpointError, match="cannot name a checkpoint"):
            act(odd)
    assert [path for path in sorted(tmp_path.rglob("*")) if ".db" not in path.name] == [
        path for path in before if ".db" not in path.name
    ]
    place.store.save_checkpoint(checkpoint("a" * 128))
    assert place.store.checkpoint("a" * 128).seq == 3


def test_secrets_are_not_kept_and_their_loss_is_told(place: Place, redactor: Redactor) -> None:
    redactor.add(SECRET)
    place.store.save_checkpoint(checkpoint(params={"token": SECRET, "day": 1}, error=f"401 for {SECRET}"))
    found = place.store.checkpoint("cp")
    assert (found.params, found.params_redacted) == ({"token": MASK, "day": 1}, True)
    assert found.error == f"401 for {MASK}"
    place.store.save_checkpoint(checkpoint(params={"day": 1}))
    assert place.store.checkpoint("cp").params_redacted is False
    place.store.save_checkpoint(checkpoint(position={"next": f"https://x/?key={SECRET}"}))
    with pytest.raises(CheckpointError, match="its position holds a secret, which is not stored"):
        place.store.checkpoint("cp")
    assert "Canary" not in place.content()


REPAIR = "etlctl checkpoints delete cp"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seq", 4),
        ("fence", 2),
        ("run_id", "run_2"),
        ("mode", "full"),
        ("position", {"at": {"page": 5}, "skip": 30}),
        ("account", {}),
        ("contract_hash", {"extract": "zz"}),
        ("params", {"day": "2026-03-02", "n": 3}),
        ("params_redacted", True),
        ("max_records", 1),
        ("error", "boo"),
    ],
)
def test_a_value_that_was_changed_is_found_out(place: Place, name: str, value: Any) -> None:
    place.store.save_checkpoint(checkpoint())
    place.change(name, value)
    _is_damaged(place, "wrong checksum")


def _is_damaged(place: Place, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as damaged:
        place.store.checkpoint("cp")
    assert "cp" in str(damaged.value)
    assert REPAIR in str(damaged.value.help)
    assert damaged.value.exit_code == 7
    (entry,) = place.store.checkpoints()
    assert (entry.id, entry.checkpoint, str(entry.problem)) == ("cp", None, str(damaged.value))
    assert entry.updated_at is not None
    assert place.store.delete_checkpoint("cp") is True
    assert place.store.checkpoints() == []


def test_a_newer_version_is_not_guessed_at_nor_overwritten(place: Place) -> None:
    place.store.save_checkpoint(checkpoint())
    place.change("version", VERSION + 1)
    with pytest.raises(CheckpointError, match=r"version 2, which this etlctl \(up to 1\) does not know"):
        place.store.save_checkpoint(checkpoint(fence=99))
    _is_damaged(place, r"version 2, which this etlctl \(up to 1\) does not know: a newer one wrote it")


def test_a_damaged_one_makes_room_for_a_new_one(place: Place) -> None:
    place.store.save_checkpoint(checkpoint())
    place.change("seq", 4)
    place.store.save_checkpoint(checkpoint(seq=5, fence=2))
    assert place.store.checkpoint("cp").seq == 5


def test_text_that_is_no_json_in_a_row_is_damage(ledger: Ledger) -> None:
    ledger.save_checkpoint(checkpoint())
    _update(ledger, "position", '{"at": {"pa')
    with pytest.raises(CheckpointError, match="holds no JSON"):
        ledger.checkpoint("cp")
    assert [one.problem is not None for one in ledger.checkpoints("people")] == [True]


def test_the_lease_fences_a_checkpoint_that_its_successor_has_not_written_yet(ledger: Ledger) -> None:
    claim = ledger.claim(start(checkpoint_id="cp"), ttl=0)
    ledger.save_checkpoint(checkpoint(fence=claim.fence))
    successor = ledger.claim(start(checkpoint_id="cp"), resume=True)
    with pytest.raises(FencedError, match="run_1 has lease 2"):
        ledger.save_checkpoint(checkpoint(fence=claim.fence, seq=4))
    ledger.save_checkpoint(checkpoint(fence=successor.fence, seq=4))


# What only files have


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "checkpoints"


@pytest.fixture
def files(folder: Path) -> CheckpointFiles:
    return CheckpointFiles(folder)


def test_a_file_has_the_keys_of_the_seed_at_its_top(files: CheckpointFiles, folder: Path) -> None:
    files.save_checkpoint(checkpoint("k", error="boom"))
    document = json.loads((folder / "k.json").read_text(encoding="utf-8"))
    assert {name: document[name] for name in list(document)[:7]} == {
        "checkpoint_id": "k",
        "stage": "extract",
        "batch_num": 3,
        "records_processed": 30,
        "last_processed_params": {"day": "2026-03-01", "n": 3},
        "error": "boom",
        "metadata": {},
    }
    assert datetime.fromisoformat(document["timestamp"]).tzinfo is None
    assert datetime.fromisoformat(document["timestamp"]).astimezone() == ENDED
    assert document["checksum"] == checksum({name: value for name, value in document.items() if name != "checksum"})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_owner_reads_a_file_and_nothing_else_is_left(files: CheckpointFiles, folder: Path) -> None:
    before = os.umask(0)
    try:
        files.save_checkpoint(checkpoint())
        files.save_checkpoint(checkpoint(seq=4))
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {"cp.json": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def _damage_everywhere(content: bytes) -> Iterator[tuple[bytes, str]]:
    yield b"", "is empty"
    yield b" \n", "is empty"
    yield b"\0" * 4096, "is empty"
    yield b"not json", "is not JSON"
    yield b"\xff\xfe\xfa{}", "is not JSON"
    yield b"[1, 2]", "is no checkpoint of etlctl"
    yield b'{"checkpoint_id": "cp", "stage": "extract", "batch_num": 3}', "is no checkpoint of etlctl"
    yield b"[" * 100_000, "is not JSON"
    for length in range(1, len(content) - 2, 31):
        yield content[:length], "is cut off after|is not JSON"
    for at in range(0, len(content) - 1, 7):
        if not content[at : at + 1].isspace():
            yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], "damaged|version|no checkpoint"


def test_every_kind_of_damage_of_a_file_is_told(files: CheckpointFiles, folder: Path) -> None:
    files.save_checkpoint(checkpoint())
    path = folder / "cp.json"
    content = path.read_bytes()
    tried = 0
    for damage, words in _damage_everywhere(content):
        path.write_bytes(damage)
        with pytest.raises(CheckpointError, match=words) as damaged:
            files.checkpoint("cp")
        assert REPAIR in str(damaged.value.help)
        assert str(path) in str(damaged.value)
        assert len(files.checkpoints()) == 1
        tried += 1
    assert tried > 100
    path.write_bytes(content)
    assert files.checkpoint("cp") == checkpoint()


def test_a_file_under_another_name_is_found_out(files: CheckpointFiles, folder: Path) -> None:
    files.save_checkpoint(checkpoint())
    (folder / "cp.json").rename(folder / "other.json")
    with pytest.raises(CheckpointError, match="holds the checkpoint 'cp': it was copied or renamed"):
        files.checkpoint("other")


def test_what_is_no_checkpoint_is_not_listed(files: CheckpointFiles, folder: Path) -> None:
    files.save_checkpoint(checkpoint())
    for name in (".cp~new_1", "a b.json", ".hidden.json", "notes.txt"):
        (folder / name).write_text("{}", encoding="utf-8")
    assert [one.id for one in files.checkpoints()] == ["cp"]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ledger_samples import checkpoint
from etlctl.state.checkpoint_files import CheckpointFiles
files = CheckpointFiles(Path(sys.argv[2]))
files.save_checkpoint(checkpoint(seq=1))
replace = Path.replace
def die(self, target):
    os.kill(os.getpid(), signal.SIGKILL)
Path.replace = die
files.save_checkpoint(checkpoint(seq=2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_before_the_rename_leaves_the_old_file_whole(files: CheckpointFiles, folder: Path) -> None:
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", KILLED, here, str(folder)], check=False)
    assert killed.returncode == -9
    assert len(list(folder.iterdir())) == 2, "what was being written is there, under no final name"
    assert files.checkpoint("cp").seq == 1
    assert [one.id for one in files.checkpoints()] == ["cp"]
    assert files.delete_checkpoint("cp")
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    files = CheckpointFiles(tmp_path / "file" / "checkpoints")
    with pytest.raises(StateError, match="cannot be written: Not a directory") as refused:
        files.save_checkpoint(checkpoint())
    assert str(tmp_path / "file" / "checkpoints") in f"{refused.value} {refused.value.help}"
    assert files.checkpoints() == []
