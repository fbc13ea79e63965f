"""The SQLite store: where it is made, who may read it, many writers at once, and what is said when it breaks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger_samples import letter, result, start
from sqlalchemy import make_url, text

from etlctl.errors import MissingExtraError, StateError
from etlctl.run import RunStatus
from etlctl.state import open_ledger
from etlctl.state.ledger import Ledger
from etlctl.state.location import database_file, state_url
from etlctl.state.upgrade import HEAD

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
HERE = str(Path(__file__).parent)


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start Python with a script that can import the samples."""
    program = f"import sys; sys.path.insert(0, {HERE!r})\n{code}"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program, *arguments], text=True, **pipes)


def test_the_ledger_is_made_where_the_state_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(state_dir=tmp_path / "deep" / ".etlctl") as ledger:
        ledger.start_run(start())
        assert ledger.description.endswith("state.db")
    assert (tmp_path / "deep" / ".etlctl" / "state.db").is_file()
    assert (tmp_path / "deep" / ".etlctl" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    monkeypatch.chdir(tmp_path / "deep")
    with open_ledger() as ledger:
        assert len(ledger.runs()) == 1


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETLCTL_STATE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    open_ledger(state_dir=tmp_path / "unused").close()
    assert (tmp_path / "other.db").is_file()
    assert not (tmp_path / "unused").exists()


@posix_only
def test_only_the_owner_may_read_what_is_made(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_ledger(state_dir=tmp_path / "state") as ledger:
            ledger.start_run(start())
            made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").glob("state.db*")}
    finally:
        os.umask(before)
    assert made == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_both_connections_are_set_up_for_many_writers(tmp_path: Path) -> None:
    names = ("journal_mode", "synchronous", "busy_timeout")
    with open_ledger(state_dir=tmp_path) as ledger:
        with ledger.store.read() as connection:
            read = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
        with ledger.store.transaction() as plain:
            recorded = {name: next(iter(plain.fetch(f"PRAGMA {name}")[0].values())) for name in names}
    assert read == recorded == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 30_000}


def test_reading_where_nothing_ran_makes_nothing(tmp_path: Path) -> None:
    with open_ledger(state_dir=tmp_path / "state", create=False) as ledger:
        assert ledger.runs() == []
        assert ledger.dead_letters() == []
        assert ledger.count_dead_letters(examples=1) == []
    assert list(tmp_path.iterdir()) == []


def test_recording_a_run_imports_neither_sqlalchemy_nor_alembic(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from ledger_samples import letter, result, start
from etlctl.run import Counts
from etlctl.state import open_ledger
for run in ("run_new", "run_next"):
    with open_ledger(state_dir=Path(sys.argv[1])) as ledger:
        recorder = ledger.recorder(start(run))
        recorder.begin()
        recorder.add_dead_letters([letter(run)])
        recorder.progress(run, Counts(extracted=1), 1)
        recorder.finish_run(result(run))
        assert ledger.count_dead_letters(run_id=run, examples=3)[0].count == 1
        ledger.note_report(run, "report.json")
assert not {"sqlalchemy", "alembic"} & set(sys.modules)
with open_ledger(state_dir=Path(sys.argv[1])) as ledger:
    assert {one.run_id for one in ledger.runs()} == {"run_new", "run_next"}
assert "sqlalchemy" in sys.modules, "the reading side has it"
assert "alembic" not in sys.modules
"""
    process = child(code, str(tmp_path))
    assert process.communicate()[1] == ""
    assert process.returncode == 0


def test_letters_are_encoded_before_the_lock_is_taken(tmp_path: Path) -> None:
    wrote = []

    class Nosy:
        """Writes to the store while its own record is being encoded."""

        def __str__(self) -> str:
            other = sqlite3.connect(tmp_path / "state.db", timeout=0, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            other.close()
            wrote.append(True)
            return "nosy"

    with open_ledger(state_dir=tmp_path) as ledger:
        ledger.add_dead_letters([letter(), letter(index=1, raw={"name": Nosy()}), letter(index=2)])
        assert [one.raw for one in ledger.dead_letters()][1] == {"name": "nosy"}
    assert wrote


def test_threads_share_one_ledger(tmp_path: Path) -> None:
    def work(number: int) -> None:
        run = f"run_{number}"
        ledger.start_run(start(run))
        for seq in range(1, 21):
            ledger.add_dead_letters([letter(run, seq, index) for index in range(10)])
        ledger.finish_run(result(run))

    with open_ledger(state_dir=tmp_path) as ledger:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(16)))
        assert {run.status for run in ledger.runs(limit=100)} == {RunStatus.partial}
        assert [one.count for one in ledger.count_dead_letters()] == [16 * 200]


def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    def break_off() -> None:
        with ledger.store.transaction() as connection:
            connection.run("UPDATE etlctl_version SET version_num = 'lost'")
            ledger.start_run(start())

    with open_ledger(state_dir=tmp_path) as ledger:
        with pytest.raises(StateError, match="within a transaction"):
            break_off()
        with ledger.store.transaction(writing=False) as connection:
            assert connection.fetch("SELECT version_num FROM etlctl_version") == [{"version_num": HEAD}]
        ledger.start_run(start())
        assert len(ledger.runs()) == 1


WRITER = """
from pathlib import Path
from ledger_samples import letter, result, start
from etlctl.run import Counts
from etlctl.state import open_ledger
me = sys.argv[2]
sys.stdin.readline()
for turn in range(15):
    with open_ledger(state_dir=Path(sys.argv[1])) as ledger:
        run = f"run_{me}_{turn}"
        ledger.start_run(start(run))
        for seq in range(1, 4):
            ledger.add_dead_letters([letter(run, seq, index) for index in range(200)])
            ledger.progress(run, Counts(extracted=seq), seq)
        ledger.finish_run(result(run))
"""


def test_several_processes_write_at_once_from_the_first_moment(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {HERE!r})\n{WRITER}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "new"), str(number)], text=True, **pipes)
        for number in range(5)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    outcomes = [(writer.communicate(timeout=120)[1], writer.returncode) for writer in writers]
    assert outcomes == [("", 0)] * 5
    with open_ledger(state_dir=tmp_path / "new") as ledger:
        runs = ledger.runs(limit=1000)
        assert len(runs) == 75
        assert {run.shown_status for run in runs} == {"partial"}
        assert sum(one.count for one in ledger.count_dead_letters()) == 75 * 600


KILLED = """
from pathlib import Path
import time
from ledger_samples import letter
from etlctl.state import open_ledger

class Slow(str):
    def __conform__(self, protocol):
        # The driver asks for it when the row is about to be inserted.
        print("most rows are in", flush=True)
        time.sleep(600)

ledger = open_ledger(state_dir=Path(sys.argv[1]))
ledger.add_dead_letters([letter(index=index) for index in range(10)])
letters = [letter(seq=2, index=index) for index in range(30_000)]
letters[15_000] = letter(seq=2, index=15_000, id=Slow("dl_slow"))
ledger.add_dead_letters(letters)
"""


def test_a_kill_in_the_middle_of_writing_letters_leaves_all_or_none(tmp_path: Path) -> None:
    process = child(KILLED, str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "most rows are in\n"
    process.kill()
    process.communicate()
    with open_ledger(state_dir=tmp_path) as ledger:
        assert [(one.rule, one.count) for one in ledger.count_dead_letters()] == [("convert.integer", 10)]
        ledger.add_dead_letters([letter(seq=2)])
        with ledger.store.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_locked_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etlctl.state.sqlite_file.BUSY_SECONDS", 0.05)
    with open_ledger(state_dir=tmp_path) as ledger:
        holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="has been locked by another process") as locked:
            ledger.start_run(start())
        holder.rollback()
        holder.close()
        assert locked.value.exit_code == 7
        ledger.start_run(start())


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StateError, match=r"state\.db is damaged") as damaged:
        open_ledger(state_dir=tmp_path)
    assert "sqlite3 state.db .recover" in str(damaged.value.help)
    assert (tmp_path / "state.db").read_bytes().startswith(b"this is not"), "the evidence stays"


def test_a_broken_page_is_damage(tmp_path: Path) -> None:
    with open_ledger(state_dir=tmp_path) as ledger:
        ledger.add_dead_letters([letter(index=index, raw="x" * 500) for index in range(500)])
    content = bytearray((tmp_path / "state.db").read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 12288)
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(StateError, match="is damaged"), open_ledger(state_dir=tmp_path) as ledger:
        ledger.dead_letters()


def test_a_journal_without_its_database_is_not_started_over(tmp_path: Path) -> None:
    (tmp_path / "state.db-wal").write_bytes(b"left over")
    with pytest.raises(StateError, match=r"is gone, but its journal state\.db-wal is still there"):
        open_ledger(state_dir=tmp_path)
    assert not (tmp_path / "state.db").exists()


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StateError, match=r"cannot be created") as refused:
        open_ledger(state_dir=tmp_path / "file" / "state")
    assert str(tmp_path / "file") in str(refused.value)
    assert "ETLCTL_STATE_URL" in str(refused.value.help)


@pytest.fixture
def powerless() -> Iterator[Path]:
    """Give a folder, with the rights of an ordinary user: nothing is forbidden to root."""
    folder = Path(tempfile.mkdtemp(prefix="etlctl-rights-"))
    folder.chmod(0o755)
    open_ledger(state_dir=folder / "made").close()
    was_root = os.geteuid() == 0
    if was_root:
        for path in (folder, folder / "made", folder / "made" / "state.db"):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)
        shutil.rmtree(folder)


@posix_only
def test_a_read_only_folder_is_named(powerless: Path) -> None:
    powerless.chmod(0o555)
    with pytest.raises(StateError, match="cannot be created: Permission denied") as refused:
        open_ledger(state_dir=powerless / "state")
    assert f"make {powerless / 'state'} a writable folder" in str(refused.value.help)


@posix_only
def test_a_read_only_file_is_named(powerless: Path) -> None:
    (powerless / "made" / "state.db").chmod(0o400)
    with (
        pytest.raises(StateError, match=r"state\.db is read-only") as refused,
        open_ledger(state_dir=powerless / "made") as ledger,
    ):
        ledger.start_run(start())
    assert "writable for this user" in str(refused.value.help)


@posix_only
def test_a_forbidden_file_is_named(powerless: Path) -> None:
    (powerless / "made" / "state.db").chmod(0o000)
    with pytest.raises(StateError, match=r"state\.db cannot be opened"):
        open_ledger(state_dir=powerless / "made")


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    with open_ledger(state_dir=tmp_path) as ledger:
        # SQLite reports its own page limit with the very error of a full disk.
        with ledger.store.transaction() as connection:
            connection.run("PRAGMA max_page_count = 40")
        with pytest.raises(StateError, match="the disk is full"):
            ledger.add_dead_letters([letter(index=index, raw="x" * 1000) for index in range(1000)])
        assert ledger.dead_letters() == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://u:p@h/d", "only SQLite and PostgreSQL"),
        ("postgresql+psycopg2://h:notaport/d", "cannot be read"),
    ],
)
def test_a_url_that_cannot_hold_the_state_is_refused(url: str, words: str) -> None:
    with pytest.raises(StateError, match=words) as refused:
        state_url(url)
    assert "postgresql://user" in str(refused.value.help)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///state/a b.db",
        "sqlite:////tmp/x#y.db",
        "sqlite:///C:\\data\\state.db",
        "sqlite:///a%20b.db",
        "sqlite+pysqlite:///x.db",
        "sqlite:///:memory:",
        "sqlite:///",
        "sqlite://",
    ],
)
def test_a_url_of_sqlite_means_what_sqlalchemy_says(url: str) -> None:
    database = make_url(url).database
    wanted = None if database in {None, "", ":memory:"} else Path(str(database))
    assert database_file(state_url(url)) == wanted
    assert state_url(url).is_sqlite


def test_a_url_with_options_is_opened_with_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}?cached_statements=7"
    assert str(state_url(url)) == str(tmp_path / "state.db")
    with open_ledger(url) as ledger:
        _record(ledger)
    with open_ledger(f"sqlite:///{tmp_path / 'state.db'}") as ledger:
        assert [run.run_id for run in ledger.runs()] == ["run_1"]


def test_a_ledger_in_memory_keeps_a_run_while_it_is_open() -> None:
    with open_ledger("sqlite://") as ledger:
        _record(ledger)
        assert [run.run_id for run in ledger.runs()] == ["run_1"]


def _record(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.add_dead_letters([letter()])
    ledger.finish_run(result())
    assert [one.count for one in ledger.count_dead_letters(examples=1)] == [1]
    assert len(ledger.steps("run_1")) == 3


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_its_driver(scheme: str) -> None:
    assert str(state_url(f"{scheme}://u:p@h:5433/d")) == "postgresql+psycopg://u:***@h:5433/d"


def test_a_missing_driver_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'etlctl\[postgres\]'"):
        open_ledger("postgresql://u:p@localhost/d")


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="pip install 'etlctl[postgres]'")
    with pytest.raises(StateError) as refused:
        open_ledger("postgresql://etl:hunter22@127.0.0.1:9/d")
    assert "127.0.0.1:9" in str(refused.value)
    assert "hunter22" not in f"{refused.value} {refused.value.help}"
    assert "server runs" in str(refused.value.help)


def test_other_tables_in_the_same_file_are_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("CREATE TABLE runs (mine)")
        other.execute("INSERT INTO runs VALUES (1)")
    other.close()
    with open_ledger(state_dir=tmp_path) as ledger:
        ledger.start_run(start())
        with ledger.store.read() as connection:
            assert connection.execute(text("SELECT mine FROM runs")).scalar() == 1
