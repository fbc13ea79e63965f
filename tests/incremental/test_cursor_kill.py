"""kill -9 anywhere around the cursor: nothing is lost, nothing comes twice, and the window stays what it was."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from incremental_shop import Shop, row

from etlctl.errors import RunBusyError
from etlctl.orchestrator import ETLOrchestrator
from etlctl.state.cursors import StoredCursor
from etlctl.state.ledger import open_ledger
from etlctl.state.location import state_url
from etlctl.state.records import RunStart
from etlctl.state.store import connect
from etlctl.state.upgrade import upgrade

POINTS = (
    "load.after_commit:2",
    "checkpoint.after:2",
    "publish.before",
    "publish.after",
    "ledger.finish",
    "read.before",
)
FILE = {"type": "file", "path": "../../out.jsonl", "write_method": "append"}


def killed(shop: Shop, point: str, *more: str) -> None:
    """Run in a process of its own that dies at a point."""
    command = [sys.executable, "-m", "etlctl", "run", str(shop.folder), "--quiet", *more]
    died = subprocess.run(
        command, cwd=shop.root, env={**os.environ, "ETLCTL_FAULT": f"{point}=kill"}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr


def resumed(shop: Shop) -> None:
    """Resume the run that died; one that died before the ledger knew it is begun anew."""
    with open_ledger(None, shop.root / ".etlctl", create=False) as ledger:
        found = ledger.find_unfinished(shop.name)
    shop.run(**({"checkpoint_id": found.run_id, "resume": True} if found is not None else {}))


def lines(shop: Shop) -> Counter[str]:

    path = shop.root / "out.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return Counter(json.loads(line)["id"] for line in text.splitlines())


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(("form", "order"), [("csv", None), ("jsonl", "asc")])
def test_killed_between_commit_and_cursor(tmp_path: Path, point: str, form: str, order: str | None) -> None:
    section = {"lag": "1d", **({"row_order": order} if order else {})}
    shop = Shop(tmp_path, form, incremental=section, extract={"processing_mode": "streaming", "batch_size": 2})
    shop.grow(*(row(n, f"2024-05-0{n}") for n in range(1, 4)))
    shop.run()
    shop.grow(*(row(n, "2024-05-05") for n in range(4, 9)))
    killed(shop, point)
    # Whatever is there now, the resumed run reads the window that the run began with: 9 is late for it no more than 4.
    shop.grow(row(9, "2024-05-05"))
    resumed(shop)
    assert shop.value() == "2024-05-05"
    shop.run()
    assert shop.loaded() == Counter(map(str, range(1, 10)))
    with open_ledger(None, shop.root / ".etlctl", create=False) as ledger:
        moves = [(one.before, one.after) for one in reversed(ledger.cursor_history())]
    assert moves[0] == (None, "2024-05-03")
    assert moves[-1][1] == "2024-05-05"


@pytest.mark.parametrize("point", ["load.after_commit:2", "publish.after"])
def test_a_draft_that_is_dropped_takes_the_cursor_along(tmp_path: Path, point: str) -> None:
    """What nobody can see yet must not move the cursor, in order or not: a new run drops it and reads it again."""
    extract = {"processing_mode": "streaming", "batch_size": 1, "checkpoint": {"interval": 1}}
    shop = Shop(tmp_path, incremental={"row_order": "asc"}, extract=extract, load=FILE)
    shop.grow(*(row(n, f"2024-05-0{n}") for n in range(1, 5)))
    killed(shop, point)
    assert shop.value() is None
    if point == "publish.after":
        resumed(shop)
    else:
        shop.run()
    assert (lines(shop), shop.value()) == (Counter(map(str, range(1, 5))), "2024-05-04")


def test_a_run_key_goes_on_with_the_window_it_began_with(tmp_path: Path) -> None:
    """The options that say ${cursor} must lead to the same source, although the cursor has moved since."""
    extract = {"path": "../../in-${cursor}.csv", "processing_mode": "streaming", "batch_size": 1}
    shop = Shop(tmp_path, incremental={"row_order": "asc"}, extract=extract)
    text = "".join(f"{n},2024-05-0{n}\n" for n in range(1, 5))
    (tmp_path / "in-2020-01-01.csv").write_text(f"id,at\n{text}", encoding="utf-8")
    killed(shop, "checkpoint.after:3", "--run-key", "k")
    assert shop.value() in {"2024-05-01", "2024-05-02"}
    shop.run(run_key="k")
    assert (shop.loaded(), shop.value()) == (Counter(map(str, range(1, 5))), "2024-05-04")


def test_a_cursor_is_not_moved_by_hand_while_a_run_holds_it(tmp_path: Path) -> None:

    shop = Shop(tmp_path)
    shop.grow(row(1, "2024-05-01"))
    shop.run()
    with open_ledger(None, tmp_path / ".etlctl") as ledger:
        start = RunStart(run_id="run_x", contract="orders", stream="orders", started_at=datetime.now(UTC))
        ledger.claim(start)
        moved = StoredCursor(stream="orders", field="at", value="2024-01-01", value_type="datetime")
        with pytest.raises(RunBusyError, match="run_x"):
            ledger.set_cursor(moved, idle=True)
        with pytest.raises(RunBusyError):
            ledger.delete_cursor("orders", "at", idle=True)
    assert shop.value() == "2024-05-01"


def test_postgresql_keeps_cursors_as_well(tmp_path: Path, postgres_url: str) -> None:

    store = connect(state_url(postgres_url))
    upgrade(store)
    store.close()
    shop = Shop(tmp_path, incremental={"lag": "1d"})
    shop.grow(row(1, "2024-05-01"))

    orchestrator = ETLOrchestrator(shop.folder, state_url=postgres_url)
    for number in (2, 3):
        assert asyncio.run(orchestrator.run()).success
        shop.grow(row(number, f"2024-05-0{number}"))
    assert asyncio.run(orchestrator.run()).success
    assert shop.loaded() == Counter(["1", "2", "3"])
    with open_ledger(postgres_url) as ledger:
        found = ledger.cursor("orders", "at")
        assert found is not None
        assert (found.value, sum(map(len, found.recent.values()))) == ("2024-05-03", 2)
        assert [one.after for one in ledger.cursor_history("orders", "at")] == [
            "2024-05-03",
            "2024-05-02",
            "2024-05-01",
        ]
        assert ledger.delete_cursor("orders", "at", idle=True)
