"""``etlctl db``: the state store itself, its revision and its health."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson
from etlctl.cli.state import state_dir

if TYPE_CHECKING:
    from etlctl.state.store import Store

app = typer.Typer(help="The state store: its revision and its health.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(*, json: AsJson = False) -> None:
    """Bring the state store to the revision this version needs; what is in it stays.

    Example: ETLCTL_STATE_URL=postgresql://etl@db/etl etlctl db upgrade
    """
    from etlctl.state.upgrade import upgrade as upgrade_store  # noqa: PLC0415

    with output.errors_as_exit_codes(), _opened() as store:
        before, after = upgrade_store(store)
        if json:
            output.json_data({"where": store.where, "before": before, "after": after})
        elif before == after:
            output.data(f"{store.where} is at revision {after} already")
        else:
            output.data(f"{store.where}: {before or 'nothing'} → {after}")


@app.command("current")
def current(*, json: AsJson = False) -> None:
    """Tell where the state store is and which revision it has.

    Example: etlctl db current
    """
    with output.errors_as_exit_codes():
        found = _state()
        if json:
            output.json_data(found)
        else:
            output.data(f"{found['where']}: revision {found['revision'] or 'none'} ({found['state']})")


@app.command("check")
def check(
    *, json: AsJson = False, full: Annotated[bool, typer.Option("--full", help="Check indexes too; slower.")] = False
) -> None:
    """Check the state store: revision and, for SQLite, the integrity of the file. Exit code 7 when something is wrong.

    Example: etlctl db check
    """
    with output.errors_as_exit_codes():
        found = _state()
        problems = _revision_problems(found) + ([] if found["revision"] is None else _damage(full=full))
        if json:
            output.json_data({**found, "ok": not problems, "problems": problems})
        elif problems:
            output.data("\n".join(f"problem: {problem}" for problem in problems))
        else:
            output.data(f"{found['where']}: good ({found['state']})")
        if problems:
            raise typer.Exit(7)


@contextmanager
def _opened() -> Iterator[Store]:
    """Open the store whatever its revision; a missing SQLite file is made."""
    from etlctl.state.location import state_url  # noqa: PLC0415
    from etlctl.state.store import connect  # noqa: PLC0415

    store = connect(state_url(state_dir=state_dir()))
    try:
        yield store
    finally:
        store.close()


def _missing_file() -> Path | None:
    """Return the SQLite file when it is not there yet; looking must not make it."""
    from etlctl.state.location import database_file, state_url  # noqa: PLC0415

    file = database_file(state_url(state_dir=state_dir()))
    return file if file is not None and not file.exists() else None


def _state() -> dict[str, Any]:
    from etlctl.state.upgrade import HEAD, REVISIONS, current_revision  # noqa: PLC0415

    if file := _missing_file():
        return {"where": str(file), "kind": "sqlite", "revision": None, "head": HEAD, "state": "not created yet"}
    with _opened() as store:
        with store.read() as connection:
            revision = current_revision(connection)
        kind = "sqlite" if store.is_sqlite else "postgresql"
        state = "up to date" if revision == HEAD else "behind" if revision in REVISIONS else "newer than this etlctl"
        state = "empty" if revision is None else state
        return {"where": store.where, "kind": kind, "revision": revision, "head": HEAD, "state": state}


def _revision_problems(found: dict[str, Any]) -> list[str]:
    head = found["head"]
    if found["state"] in {"behind", "empty"} and found["kind"] == "postgresql":
        return [f"the store is at revision {found['revision']}, {head} is needed; run: etlctl db upgrade"]
    if found["state"] == "newer than this etlctl":
        return [f"the store is at revision {found['revision']}, this etlctl knows up to {head}; upgrade etlctl"]
    return []


def _damage(*, full: bool) -> list[str]:
    with _opened() as store:
        if not store.is_sqlite:
            return []
        with store.read() as connection:
            pragma = "PRAGMA integrity_check" if full else "PRAGMA quick_check"
            words = [str(row[0]) for row in connection.exec_driver_sql(pragma)]
    return [] if words == ["ok"] else [f"the file is damaged: {word}" for word in words]
