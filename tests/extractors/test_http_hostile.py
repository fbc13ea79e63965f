"""Contracts that read a hostile server (RELIABILITY.md, H1–H12): each run ends, and resumed afterwards nothing is lost.

Also: a real process is killed in the middle, and only the pages in flight are asked for again.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from etlctl.orchestrator import ETLOrchestrator

if TYPE_CHECKING:
    from hostile_server import HostileServer

PAGES, PER, AT = 12, 5, 6
LOAD = "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\n"
RETRY = "retry: {max_attempts: 2, backoff_factor: 0, deadline: 1.5}\ntimeout: {connect: 1, read: 0.5}\n"


def contract(root: Path, url: str, extract: str, *, per: int = PER) -> Path:
    (root / "etlctl.yaml").write_text("# a workspace\n")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    head = (
        f"type: http\nurl: {url}\nprocessing_mode: streaming\nbatch_size: {per}\nerror_recovery: {{max_retries: 0}}\n"
    )
    (folder / "extract.yaml").write_text(head + extract)
    (folder / "load.yaml").write_text(LOAD)
    return folder


def ids(folder: Path) -> list[int]:
    if not committed(folder):
        return []
    with sqlite3.connect(folder / "out.db") as database:
        return [row[0] for row in database.execute("SELECT id FROM t ORDER BY rowid")]


def faults() -> dict[str, tuple[Any, str, dict[str, str]]]:
    """What page AT answers, what the run then says, and more options of the contract."""
    from hostile_server import _ROUTES, Answer, many

    page = many(AT, PAGES, PER)
    elsewhere = {
        f"H10-next-to-{kind}": (Answer(json={"data": page, "next": url}), "not followed", {"strategy": "next_url"})
        for kind, url in {
            "other-host": "http://127.0.0.2:1/many",
            "metadata": "http://169.254.169.254/latest/meta-data",
            "file": "file:///etc/passwd",
        }.items()
    }
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    return {
        **{
            f"H1-429-{kind}": (Answer(429, headers={"Retry-After": value}), "429", {})
            for kind, value in {"seconds": "600", "date": soon, "zero": "0", "absurd": "99999999999"}.items()
        },
        "H2-503": (Answer(503, body=b"busy"), "503", {}),
        "H3-500": (Answer(500, body=b"oops"), "500", {}),
        "H4-401": (Answer(401, body=b"who are you?"), "401", {}),
        "H5-truncated": (_ROUTES["/truncated"], "", {}),
        "H5-truncated-chunked": (_ROUTES["/truncated-chunked"], "", {}),
        "H6-trickle": (_ROUTES["/trickle"], "", {}),
        "H6-stall": (_ROUTES["/stall"], "", {}),
        "H7-html": (_ROUTES["/html"], "HTML page where JSON was expected", {}),
        "H7-error": (_ROUTES["/error-json"], "quota exceeded", {}),
        "H8-same-page": (Answer(json={"data": many(AT - 1, PAGES, PER)}), "same 5 records", {}),
        "H9-total": (Answer(json={"data": page, "total": PAGES * PER + 1}), "says that there are 61 records", {}),
        **elsewhere,
        "H11-huge": (_ROUTES["/huge"], "the limit is 65,536 bytes", {"max_body_bytes": "65536"}),
        "H11-bomb": (_ROUTES["/bomb"], "the limit is 65,536 bytes", {"max_body_bytes": "65536"}),
        "H11-deep": (_ROUTES["/deep"], "no JSON|too deeply", {}),
    }


FAULTS = [
    *("H1-429-seconds", "H1-429-date", "H1-429-zero", "H1-429-absurd", "H2-503", "H3-500", "H4-401", "H5-truncated"),
    *("H5-truncated-chunked", "H6-trickle", "H6-stall", "H7-html", "H7-error", "H8-same-page", "H9-total"),
    *("H10-next-to-other-host", "H10-next-to-metadata", "H10-next-to-file", "H11-huge", "H11-bomb", "H11-deep"),
]


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_ends_the_run_and_a_resume_brings_the_rest(
    name: str, hostile: HostileServer, tmp_path: Path
) -> None:
    fault, told, options = faults()[name]
    more = dict(options)
    strategy = more.pop("strategy", "page")
    extract = RETRY + "".join(f"{key}: {value}\n" for key, value in more.items())
    size = "page_size: 5, size_param: per, " if strategy == "page" else ""
    extract += f"pagination: {{{size}strategy: {strategy}}}\n"
    folder = contract(tmp_path, f"{hostile.url}/many?pages={PAGES}&per={PER}", extract)
    orchestrator = ETLOrchestrator(folder, warn=lambda _text: None)
    hostile.faults[AT] = fault
    result = await asyncio.wait_for(orchestrator.run(checkpoint_id="job"), 30)
    assert not result.success
    assert re.search(told, result.error or ""), result.error
    done = ids(folder)
    assert done == list(range(len(done)))
    assert len(done) <= (PAGES if name == "H9-total" else AT) * PER  # what was read and not committed is read again
    hostile.faults.clear()
    before = len(hostile.hits)
    result = await orchestrator.run(checkpoint_id="job", resume=True)
    if name == "H9-total":  # what was said was said: the records that are missing do not come back by themselves
        assert not result.success
        (folder / "extract.yaml").write_text((folder / "extract.yaml").read_text() + "on_total_mismatch: warn\n")
        result = await orchestrator.run(checkpoint_id="job", resume=True, accept_changes=True)
    assert result.success, result.error
    assert ids(folder) == list(range(PAGES * PER))
    assert all(int(hit.query.get("page", 0)) >= len(done) // PER for hit in hostile.hits[before:])


async def test_faults_that_pass_are_not_noticed(hostile: HostileServer, tmp_path: Path) -> None:
    from hostile_server import _ROUTES, Answer

    left = {3: [_ROUTES["/truncated"]], 5: [Answer(503), Answer(429, headers={"Retry-After": "0"})]}

    for page, several in left.items():

        async def once(server: HostileServer, request: Any, page: int = page, several: list[Any] = several) -> Any:
            fault = several.pop(0)
            if not several:
                server.faults.pop(page)
            return fault.response() if isinstance(fault, Answer) else await fault(server, request)

        hostile.faults[page] = once
    extract = (
        "retry: {backoff_factor: 0}\npagination: {strategy: page, page_size: 5, size_param: per, concurrency: 4}\n"
    )
    folder = contract(tmp_path, f"{hostile.url}/many?pages={PAGES}", extract)
    result = await ETLOrchestrator(folder, warn=lambda _text: None).run()
    assert result.success, result.error
    assert ids(folder) == list(range(PAGES * PER))
    assert not hostile.faults


async def test_a_server_that_cannot_show_who_it_is(hostile: HostileServer, tmp_path: Path) -> None:
    folder = contract(tmp_path, f"{hostile.tls_url}/many?pages=2", RETRY)
    result = await ETLOrchestrator(folder, warn=lambda _text: None).run()
    assert not result.success
    assert result.exit_code == 6
    assert not hostile.hits


# --- kill --------------------------------------------------------------------------------------------------------


def etlctl(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "etlctl", *arguments]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def committed(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'out.db'}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT count(*) FROM t").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_kill_costs_no_more_than_the_pages_in_flight(hostile: HostileServer, tmp_path: Path) -> None:
    held, in_flight = 50, 4
    extract = f"pagination: {{strategy: page, page_size: 20, size_param: per, concurrency: {in_flight}}}\n"
    folder = contract(tmp_path, f"{hostile.url}/many?pages=60&hold={held}", extract, per=20)
    process = etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", "--quiet")
    until = time.monotonic() + 60
    while committed(folder) < held * 20 or hostile.held < in_flight:
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < until, "it never came to the page that is held back"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    before = [int(hit.query["page"]) for hit in hostile.hits]
    hostile.hits.clear()
    hostile.gate.set()
    resumed = etlctl(tmp_path, "resume", "--checkpoint", "job", "--quiet")
    said, _ = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, said
    again = [int(hit.query["page"]) for hit in hostile.hits]
    assert before == list(range(held + in_flight))
    assert sorted(set(before) & set(again)) == list(range(held, held + in_flight))
    assert min(again) == held
    assert ids(folder) == list(range(60 * 20))
