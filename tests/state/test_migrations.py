"""Migrations and tables agree, on every store, and an upgrade keeps what is there."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from ledger_samples import letter, start
from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    insert,
    select,
    text,
)

import etlctl.state
from etlctl.errors import StateError
from etlctl.state import open_ledger, schema
from etlctl.state.location import state_url
from etlctl.state.statements import VERSION_TABLE
from etlctl.state.store import Store, connect
from etlctl.state.upgrade import HEAD, REVISIONS, current_revision, migrate, migration_config, upgrade


@pytest.fixture
def store(empty_url: str) -> Any:
    opened = connect(state_url(empty_url))
    yield opened
    opened.close()


def differences(connection: Connection) -> list[Any]:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))


def test_the_known_revisions_are_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(migration_config())
    in_order = [script.revision for script in scripts.walk_revisions()][::-1]
    assert tuple(in_order) == REVISIONS
    assert scripts.get_heads() == [HEAD]


def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    with store.write() as connection:
        migrate(connection, HEAD)
    with store.read() as connection:
        assert differences(connection) == []
        assert current_revision(connection) == HEAD


def test_a_difference_would_be_seen(store: Store) -> None:
    with store.write() as connection:
        migrate(connection, HEAD)
        connection.execute(text("ALTER TABLE etlctl_runs ADD COLUMN odd INTEGER"))
        connection.execute(text("DROP INDEX ix_etlctl_dead_letters_contract_status"))
    with store.read() as connection:
        assert len(differences(connection)) == 2


def test_a_store_made_at_once_equals_a_migrated_one(tmp_path: Path) -> None:
    made = connect(state_url(f"sqlite:///{tmp_path / 'made.db'}"))
    assert upgrade(made) == (None, HEAD)
    migrated = connect(state_url(f"sqlite:///{tmp_path / 'migrated.db'}"))
    with migrated.write() as connection:
        migrate(connection, HEAD)
    found = []
    for one in (made, migrated):
        with one.read() as connection:
            master = connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master")).all()
            content = connection.execute(text("SELECT * FROM etlctl_version")).all()
        found.append(({(*row[:3], _same_space(row[3])) for row in master}, content))
        one.close()
    assert len(found[0][0]) > 6
    assert found[0] == found[1]


def _same_space(sql: str | None) -> str | None:
    # Where constraints and defaults stand in a line is nobody's business; their order is.
    return re.sub(r"\s+", "", sql) if sql else sql


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_from_every_revision_keeps_the_data(store: Store, revision: str) -> None:
    with store.write() as connection:
        migrate(connection, revision)
        before = _fill_every_table(connection)
    assert len(before) >= 3
    assert upgrade(store) == (revision, HEAD)
    with store.read() as connection:
        assert current_revision(connection) == HEAD
        assert differences(connection) == []
        for name, row in before.items():
            table = Table(name, MetaData(), autoload_with=connection)
            now = connection.execute(select(table)).mappings().one()
            kept = {column: value for column, value in row.items() if column in now}
            assert {column: now[column] for column in kept} == kept, name


def _fill_every_table(connection: Connection) -> dict[str, dict[str, Any]]:
    """Put one made-up row into every table of whatever revision this is; return the rows."""
    found = MetaData()
    found.reflect(connection)
    rows = {}
    for table in found.sorted_tables:
        if table.name == VERSION_TABLE:
            continue
        row = {column.name: _sample(column.type, column.name) for column in table.columns}
        connection.execute(insert(table), row)
        rows[table.name] = dict(connection.execute(select(table)).mappings().one())
    return rows


def _sample(kind: Any, name: str) -> Any:
    if isinstance(kind, JSON):
        return {"sample": name}
    if isinstance(kind, Boolean):
        return name != "dry_run"
    if isinstance(kind, Integer):
        return 7
    if isinstance(kind, LargeBinary):
        return name.encode()
    if isinstance(kind, Float):
        return 1.5
    if isinstance(kind, DateTime):
        return datetime(2026, 3, 1, 12, tzinfo=UTC if kind.timezone else None)
    return f"sample {name}"


def test_run_keys_that_were_used_twice_are_told_apart(store: Store) -> None:
    with store.write() as connection:
        migrate(connection, "0001")
        for run_id, key, minute, dry_run in OLD_RUNS:
            _add_old_run(connection, run_id, key, minute, dry_run=dry_run)
    assert upgrade(store) == ("0001", HEAD)
    with store.read() as connection:
        found = dict(connection.execute(text("SELECT id, run_key FROM etlctl_runs")).all())
    assert found == {
        "run_a": "k (run_a)",
        "run_b": "k (run_b)",
        "run_c": "k",
        "run_d": "k (run_d)",
        "run_e": "other",
        "run_f": None,
        "run_g": None,
    }


OLD_RUNS = [
    ("run_a", "k", 1, False),
    ("run_c", "k", 2, False),
    ("run_b", "k", 2, False),
    ("run_d", "k", 3, True),
    ("run_e", "other", 1, False),
    ("run_f", None, 1, False),
    ("run_g", None, 1, False),
]


def _add_old_run(connection: Connection, run_id: str, key: str | None, minute: int, *, dry_run: bool) -> None:
    table = Table("etlctl_runs", MetaData(), autoload_with=connection)
    row = {column.name: _sample(column.type, column.name) for column in table.columns}
    began = datetime(2026, 3, 1, 12, minute, tzinfo=None if connection.dialect.name == "sqlite" else UTC)
    changes = {"id": run_id, "contract": "people", "run_key": key, "started_at": began, "dry_run": dry_run}
    connection.execute(insert(table), {**row, **changes})


def test_a_migration_can_be_taken_back(store: Store) -> None:
    from alembic import command

    with store.write() as connection:
        migrate(connection, "0001")
        before = _fill_every_table(connection)
        migrate(connection, HEAD)
        command.downgrade(migration_config(connection), "0001")
        assert current_revision(connection) == "0001"
        for name, row in before.items():
            table = Table(name, MetaData(), autoload_with=connection)
            assert dict(connection.execute(select(table)).mappings().one()) == row


def test_upgrading_twice_does_nothing(store: Store) -> None:
    assert upgrade(store) == (None, HEAD)
    assert upgrade(store) == (HEAD, HEAD)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store: Store, empty_url: str) -> None:
    upgrade(store)
    with store.write() as connection:
        connection.execute(text("UPDATE etlctl_version SET version_num = '9999'"))
    for attempt in (lambda: open_ledger(empty_url), lambda: upgrade(store)):
        with pytest.raises(StateError, match=r"revision 9999, which this etlctl .* does not know") as refused:
            attempt()
        assert "pip install --upgrade etlctl" in str(refused.value.help)
    with store.read() as connection:
        assert current_revision(connection) == "9999"


def test_postgresql_is_only_upgraded_on_request(postgres_url: str) -> None:
    with pytest.raises(StateError, match="has no tables yet; this etlctl needs revision") as refused:
        open_ledger(postgres_url)
    assert refused.value.help == "run: etlctl db upgrade"
    store = connect(state_url(postgres_url))
    upgrade(store)
    store.close()
    open_ledger(postgres_url).close()


def test_sqlite_upgrades_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(state_dir=tmp_path) as ledger:
        ledger.start_run(start())
        ledger.add_dead_letters([letter()])
    _pretend_a_next_revision(tmp_path / "package", monkeypatch)
    with open_ledger(state_dir=tmp_path) as ledger:
        assert ledger.run("run_1").run_id == "run_1"
        assert len(ledger.dead_letters()) == 1
        with ledger.store.read() as connection:
            assert current_revision(connection) == "0003x"
            assert connection.execute(text("SELECT extra FROM etlctl_runs")).scalar() == "new"


def test_an_upgrade_that_fails_changes_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(store)
    _pretend_a_next_revision(tmp_path / "package", monkeypatch, "raise RuntimeError('half way')")
    with pytest.raises(RuntimeError, match="half way"):
        upgrade(store)
    with store.read() as connection:
        assert current_revision(connection) == HEAD
        assert differences(connection) == []


def _pretend_a_next_revision(package: Path, monkeypatch: pytest.MonkeyPatch, then: str = "pass") -> None:
    """Make the code one revision newer than the released scripts; the folder's name is a hard one on purpose."""
    folder = package / "100% odd, name"
    shutil.copytree(Path(etlctl.state.__file__).parent / "migrations", folder / "migrations")
    script = f'''
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0003x", "{HEAD}"
def upgrade():
    op.create_table("etlctl_more", sa.Column("id", sa.Text(), primary_key=True))
    with op.batch_alter_table("etlctl_runs") as runs:
        runs.add_column(sa.Column("extra", sa.Text(), nullable=False, server_default="new"))
        runs.alter_column("trigger", nullable=True)
    {then}
'''
    (folder / "migrations" / "versions" / "0003x_more.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr("etlctl.state.upgrade.__file__", str(folder / "upgrade.py"))
    monkeypatch.setattr("etlctl.state.upgrade.HEAD", "0003x")
    monkeypatch.setattr("etlctl.state.upgrade.REVISIONS", (*REVISIONS, "0003x"))


def _upgrade(url: str, barrier: Any, outcomes: Any) -> None:
    barrier.wait()
    store = connect(state_url(url))
    try:
        outcomes.put(upgrade(store))
    except Exception as error:  # noqa: BLE001 - the parent judges it
        outcomes.put(error)
    store.close()


def test_several_processes_upgrade_at_once(empty_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_upgrade, args=(empty_url, barrier, outcomes)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [outcomes.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(found, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    open_ledger(state_dir=tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("SELECT version_num FROM etlctl_version").fetchall() == [(HEAD,)]
    connection.close()


def test_the_scripts_speak_to_no_terminal(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom etlctl.state.location import state_url\nfrom etlctl.state.store import connect\n"
        "from etlctl.state.upgrade import HEAD, migrate\n"
        "store = connect(state_url(sys.argv[1]))\nwith store.write() as connection:\n    migrate(connection, HEAD)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, f"sqlite:///{tmp_path / 's.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
