"""The stores every ledger test runs on: a SQLite file and a throw-away PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etlctl.redact import Redactor
from etlctl.state import open_ledger
from etlctl.state.ledger import Ledger
from etlctl.state.location import state_url
from etlctl.state.store import connect
from etlctl.state.upgrade import upgrade


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store without tables, on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store_url(empty_url: str) -> str:
    """Return the URL of an upgraded store without content."""
    store = connect(state_url(empty_url))
    upgrade(store)
    store.close()
    return empty_url


@pytest.fixture
def redactor() -> Redactor:
    """Return the redactor that the ledger uses."""
    return Redactor()


@pytest.fixture
def ledger(store_url: str, redactor: Redactor) -> Iterator[Ledger]:
    """Return a ledger on each kind of store."""
    with open_ledger(store_url, redactor=redactor) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_store_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ETLCTL_STATE_URL", raising=False)
