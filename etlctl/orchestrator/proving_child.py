"""The processes a proof kills: a server that has imported the engine once and forks a real child for each attempt.

It reads one order a line (JSON) from standard input and answers each with one line: how the child ended, and what it
had to say. Only the server signals a child, and reaps it afterwards: the id of a child can never be somebody else's.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from etlctl import faults
from etlctl.clock import SystemClock
from etlctl.errors import EtlctlError, NotInLedgerError
from etlctl.frozen import frozen
from etlctl.orchestrator.orchestrator import ETLOrchestrator
from etlctl.run import ETLProgress, RunResult
from etlctl.sdk.destinations import Destinations
from etlctl.sdk.loader import Loader

if TYPE_CHECKING:
    from etlctl.catalog.workspace import Workspace
    from etlctl.contract.model import Contract
    from etlctl.orchestrator.resuming import Resumption
    from etlctl.orchestrator.run_options import RunOptions

CHECKPOINT = "proof"
STATE = ".etlctl"
PROGRESS = "progress"
OUTPUT = "output.txt"
LETTERS = "dead-letters.jsonl"
_NEEDED = (
    "polars",
    "sqlalchemy.dialects.sqlite",
    "etlctl.contract.compile",
    "etlctl.engine.report",
    "etlctl.state.ledger",
)
COUNT_ONLY = " "
"""The plan of faults in which nothing goes wrong, but places are counted."""
_NEEDED = (
    "polars",
    "sqlalchemy.dialects.sqlite",
    "etlctl.contract.compile",
    "etlctl.engine.report",
    "etlctl.state.ledger",
)


def state_url(folder: Path) -> str:
    """Return where the ledger of an attempt in a folder is."""
    return f"sqlite:///{folder / STATE / 'state.db'}"


@frozen
class _StillClock(SystemClock):
    """A clock that always shows the same instant, so that every attempt of a proof is a run of that instant."""

    instant: datetime

    def now(self) -> datetime:
        """Return the instant."""
        return self.instant


class _Attempt(ETLOrchestrator):
    """Runs a contract into a scratch destination, with a ledger beside it.

    Args:
        order: What the proof asks for.
        begun: Told when the contract is loaded.
    """

    def __init__(self, order: Mapping[str, Any], begun: Callable[[], None]) -> None:
        self._folder = Path(order["folder"])
        self._order = order
        self._begun = begun
        self._instant = datetime.fromisoformat(order["now"])
        self._clock = _StillClock(self._instant)
        self._progress_file = os.open(self._folder / PROGRESS, os.O_WRONLY | os.O_CREAT, 0o600)
        super().__init__(
            order["contract"],
            params=order["params"],
            progress_callback=self._note,
            state_url=state_url(self._folder),
        )

    def _note(self, event: ETLProgress) -> None:
        """Remember, killed or not, how many batches are done."""
        if event.stage == "load":
            os.pwrite(self._progress_file, b"%12d" % event.batch_num, 0)

    def _load(
        self,
        options: RunOptions,
        found: Resumption | None = None,
        *,
        now: datetime | None = None,  # noqa: ARG002 - a resumed attempt is of the same instant
    ) -> tuple[Contract, Workspace]:
        contract, workspace = super()._load(options, found, now=self._instant)
        self._begun()
        return _in_scratch(contract, self._order), replace(workspace, root=self._folder)


def _in_scratch(contract: Contract, order: Mapping[str, Any]) -> Contract:
    """Return the contract with everything that it would write inside the folder of the attempt."""
    real = contract.loader
    loader: Loader = (
        real.unpacked(order["loader"])
        if isinstance(real, Destinations)
        else type(real).model_validate_json(order["loader"])
    )
    envelope, load = contract.envelope, contract.load_envelope
    checkpoint = envelope.checkpoint.model_copy(update={"interval": order["interval"]})
    guard = load.replace_guard.model_copy(update={"max_shrink_percent": None})  # some of the records only
    letters = load.dead_letters
    if letters is not None and letters.path is not None:
        letters = letters.model_copy(update={"path": str(Path(order["folder"]) / LETTERS)})
    return replace(
        contract,
        loader=loader,
        envelope=envelope.model_copy(update={"checkpoint": checkpoint}),
        load_envelope=load.model_copy(update={"replace_guard": guard, "dead_letters": letters}),
    )


async def _run(order: Mapping[str, Any], begun: Callable[[], None]) -> RunResult:
    """Resume the run, or run when there is nothing to resume."""
    attempt = _Attempt(order, begun)
    limits = {name: order[name] for name in ("mode", "batch_size", "max_records")}
    if order["resume"]:
        try:
            return await attempt.run(checkpoint_id=CHECKPOINT, resume=True, **limits)
        except NotInLedgerError:
            pass
    return await attempt.run(checkpoint_id=None if order["again"] else CHECKPOINT, **limits)


def _report(order: Mapping[str, Any], begun: Callable[[], None]) -> dict[str, Any]:
    try:
        faults.arm(order["fault"])
        result = asyncio.run(_run(order, begun))
    except EtlctlError as error:
        return {"success": False, "error": str(error), "error_help": error.help, "exit_code": error.exit_code}
    except Exception as error:  # noqa: BLE001 - whatever it is, the proof has to tell it
        traceback.print_exc()
        return {"success": False, "error": f"{type(error).__name__}: {error}", "error_help": None, "exit_code": 1}
    told = ("success", "error", "error_help", "exit_code", "batches", "counts")
    return {name: value for name, value in result.to_dict().items() if name in told} | {"reached": faults.reached()}


def _be_child(order: Mapping[str, Any], channel: int) -> NoReturn:
    """Make one attempt, and tell how it ended; only a kill prevents that."""
    try:
        output = os.open(Path(order["folder"]) / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        report = _report(order, lambda: _tell(channel, {"begun": True}))
        _tell(channel, report)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _tell(channel: int, message: Mapping[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(channel, data) :]


def _answer(order: Mapping[str, Any]) -> dict[str, Any]:
    """Fork a child for an order, kill it when it is time, and return how it ended."""
    began = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _be_child(order, writer)
    os.close(writer)
    try:
        heard, late, seconds = _listen(reader, child, began + order["patience"], order["kill_after"])
    finally:
        os.close(reader)
    _, status = os.waitpid(child, 0)
    # A child that was killed may have been interrupted in the middle of a line.
    complete = [json.loads(line) for line in heard.split(b"\n")[:-1]]
    report = next((one for one in complete if "begun" not in one), None)
    return {"code": os.waitstatus_to_exitcode(status), "report": report, "late": late, "seconds": seconds}


def _listen(reader: int, child: int, deadline: float, kill_after: float | None) -> tuple[bytes, bool, float]:
    """Return what a child said until it ended, whether it was killed for taking too long, and its seconds at work."""
    heard, due, begun = b"", deadline, time.monotonic()
    while True:
        ready, _, _ = select.select([reader], [], [], max(due - time.monotonic(), 0.0))
        data = os.read(reader, 1 << 16) if ready else b""
        if not ready:
            os.kill(child, signal.SIGKILL)
        if not data:
            return heard, not ready and due == deadline, time.monotonic() - begun
        if not heard:
            begun = time.monotonic()
            due = min(begun + kill_after, deadline) if kill_after is not None else deadline
        heard += data


def serve(modules: Sequence[str]) -> None:
    """Answer orders until standard input ends.

    Args:
        modules: What attempts need: imported here once, and not by each of them. (Polars starts its threads at the
            first use, which is in the child.)
    """
    for name in (*_NEEDED, *modules):
        with suppress(ImportError):  # an attempt that needs it says so better
            import_module(name)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
