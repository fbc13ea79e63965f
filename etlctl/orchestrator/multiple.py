"""Many runs of one contract, each with its own parameters: some at once, none of them able to hurt the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etlctl.errors import EtlctlError
from etlctl.frozen import frozen
from etlctl.orchestrator.param_sets import GivenSets, ParamSet, prepared_sets
from etlctl.run import RunResult, RunStatus

if TYPE_CHECKING:
    from etlctl.engine.services import StopRequest

BUSY = 75
"""Exit code of a run whose destination another run is writing."""

Runner = Callable[[ParamSet, RunResult | None], Awaitable[RunResult]]
"""Runs a set; given the result of an attempt that did not finish, it resumes that one."""


@frozen
class MultipleResult(Mapping[str, Any]):
    """How the run of one parameter set ended. Also readable as a mapping: ``result["success"]``.

    As a mapping it has ``params``, ``success``, ``records`` (loaded), ``run_id``, ``resume_command`` and ``result``;
    and ``error`` when it failed.

    Attributes:
        params: The set, as it was given.
        result: How its run ended; None when it did not begin.
        error: Why it failed, when it did.
        error_help: What to do about it.
        begun: The run was begun; otherwise everything was stopped before.
        problem: The error that kept the run from beginning, such as a contract that does not hold.
    """

    params: Mapping[str, Any]
    result: RunResult | None = None
    error: str | None = None
    error_help: str | None = None
    begun: bool = True
    problem: Exception | None = None

    @property
    def success(self) -> bool:
        """Tell whether the run finished; a partial one did."""
        return self.result is not None and self.result.success

    @property
    def partial(self) -> bool:
        """Tell whether the run finished, and rejected records that no budget allows for."""
        return self.result is not None and self.result.status is RunStatus.partial and not self.result.reused

    @property
    def records(self) -> int:
        """Records loaded."""
        return self.result.records if self.result is not None else 0

    @property
    def run_id(self) -> str | None:
        """The run, ``run_…``; None when it did not begin."""
        return self.result.run_id if self.result is not None else None

    @property
    def resume_command(self) -> str | None:
        """The command that carries on, for a run that did not finish and can be resumed."""
        return self.result.resume_command if self.result is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        shown = dict(self)
        shown["params"] = dict(self.params)
        shown["result"] = self.result.to_dict() if self.result is not None else None
        return shown

    def _values(self) -> dict[str, Any]:
        values = {
            "params": self.params,
            "success": self.success,
            "records": self.records,
            "error": self.error,
            "run_id": self.run_id,
            "resume_command": self.resume_command,
            "result": self.result,
        }
        if self.success:
            del values["error"]
        return values

    def __getitem__(self, key: str) -> Any:
        return self._values()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())


def runner_of(run: Callable[..., Awaitable[RunResult]], options: Mapping[str, Any]) -> Runner:
    """Return what runs one set by ``ETLOrchestrator.run``; run keys and checkpoint ids get the set's own ending.

    Args:
        run: ``ETLOrchestrator.run``.
        options: Its keyword arguments, the same for every set.
    """

    async def one(given: ParamSet, earlier: RunResult | None) -> RunResult:
        own = {**options, "params": {**(options.get("params") or {}), **given.params}}
        for name in ("run_key", "checkpoint_id"):
            if own.get(name) is not None:
                own[name] = f"{own[name]}-{given.key}"
        if earlier is not None and earlier.checkpoint_id is not None:
            own |= {"checkpoint_id": earlier.checkpoint_id, "resume": True}
        return await run(**own)

    return one


async def run_multiple(
    run: Callable[..., Awaitable[RunResult]],
    given: GivenSets,
    options: Mapping[str, Any],
    *,
    warn: Callable[[str], None],
    **timing: Any,
) -> list[MultipleResult]:
    """Do what ``ETLOrchestrator.run_multiple`` says.

    Args:
        run: ``ETLOrchestrator.run``.
        given: The parameter sets and their contract.
        options: Keyword arguments of ``run``, the same for every set.
        warn: Reports something the user should know.
        timing: Keyword arguments of ``run_sets``.
    """
    if options.get("params"):
        given = replace(given, shared={**given.shared, **options["params"]})
    sets = await asyncio.to_thread(prepared_sets, given, warn)
    return await run_sets(sets, runner_of(run, options), **timing)


async def run_sets(
    sets: Sequence[ParamSet],
    run: Runner,
    *,
    at_once: int,
    delay: float = 0.0,
    stop: StopRequest | None = None,
    ended: Callable[[int, MultipleResult], object] = lambda _number, _result: None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> list[MultipleResult]:
    """Run every set, up to ``at_once`` at the same time; return how they ended in the order of the sets.

    Args:
        sets: The parameter sets.
        run: Runs one of them.
        at_once: How many run at the same time.
        delay: Seconds to wait before each run but the first, once there is room for it.
        stop: Once it asks to stop, runs in hand end by themselves (they know it too) and no more are begun.
        ended: Told the 0-based number of a set and how it ended, as soon as it did.
        sleep: Waits.

    Raises:
        ValueError: ``at_once`` or ``delay`` is out of range.
        asyncio.CancelledError: Everything was canceled; runs in hand were canceled first.
    """
    if not isinstance(at_once, int) or at_once < 1:
        raise ValueError(f"at least one set must run at once, not {at_once}")
    if not 0 <= delay < float("inf"):
        raise ValueError(f"the delay between runs is a number of seconds from 0 on, not {delay}")
    if at_once > 1:
        # Runs wait for each other on threads (a database that is locked); the one they wait for needs threads too.
        threads = ThreadPoolExecutor(4 * at_once + 8, thread_name_prefix="etlctl")
        asyncio.get_running_loop().set_default_executor(threads)
    return await _Round(sets, run, at_once, delay=delay, stop=stop, ended=ended, sleep=sleep).all()


class _Round:
    """One call of ``run_sets``."""

    def __init__(
        self,
        sets: Sequence[ParamSet],
        run: Runner,
        at_once: int,
        *,
        delay: float,
        stop: StopRequest | None,
        ended: Callable[[int, MultipleResult], object],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._sets = sets
        self._run = run
        self._at_once = at_once
        self._delay = delay
        self._stop = stop
        self._ended = ended
        self._sleep = sleep
        self._results: list[MultipleResult | None] = [None] * len(sets)
        self._busy: dict[int, RunResult] = {}

    async def all(self) -> list[MultipleResult]:
        slots = asyncio.Semaphore(self._at_once)
        async with asyncio.TaskGroup() as group:
            for number in range(len(self._sets)):
                await slots.acquire()
                if not await self._may_begin(first=not number):
                    break
                group.create_task(self._in_slot(number, slots))
        # Runs that write the same place and cannot do it at the same time take turns.
        for number, found in sorted(self._busy.items()):
            if await self._may_begin(first=False):
                await self._one(number, found)
            else:
                self._keep(number, self._told(number, found))
        for number, one in enumerate(self._sets):
            if self._results[number] is None:
                reason = self._stop.reason if self._stop is not None else "a stop request"
                self._keep(number, MultipleResult(one.params, error=f"not begun: stopped by {reason}", begun=False))
        return [result for result in self._results if result is not None]

    async def _in_slot(self, number: int, slots: asyncio.Semaphore) -> None:
        try:
            await self._one(number, None)
        finally:
            slots.release()

    async def _one(self, number: int, earlier: RunResult | None) -> None:
        one = self._sets[number]
        try:
            result = await self._run(one, earlier)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is must not end the other runs
            help_ = error.help if isinstance(error, EtlctlError) else None
            text = str(error) if isinstance(error, EtlctlError) else f"{type(error).__name__}: {error}"
            problem = error if isinstance(error, Exception) else None
            self._keep(number, MultipleResult(one.params, error=text, error_help=help_, problem=problem))
            return
        if result.exit_code == BUSY and not result.success and earlier is None and self._at_once > 1:
            self._busy[number] = result
            return
        self._keep(number, self._told(number, result))

    def _told(self, number: int, result: RunResult) -> MultipleResult:
        params = self._sets[number].params
        if result.success:
            return MultipleResult(params, result)
        return MultipleResult(params, result, result.error or str(result.status), result.error_help)

    def _keep(self, number: int, result: MultipleResult) -> None:
        self._results[number] = result
        self._ended(number, result)

    async def _may_begin(self, *, first: bool) -> bool:
        """Wait as long as asked for; tell whether another run may begin."""
        if self._stopped or first or not self._delay:
            return not self._stopped
        if self._stop is None:
            await self._sleep(self._delay)
            return True
        waits = [asyncio.ensure_future(self._sleep(self._delay)), asyncio.ensure_future(self._stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._stopped

    @property
    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.requested
