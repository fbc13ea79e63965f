"""Replays dead letters: the raw record goes through the contract as it is today, and is added to what was loaded.

Each run's letters are replayed by a run of their own, on the stream of that run with the ending ``+replay``: it has
its own lease, commit token and checkpoint, and its parameters tell which letters it is about. So a replay that was
killed is found again, finished first, and its letters are settled, before anything else is replayed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from etlctl.engine.options import Recovery, RunSettings
from etlctl.engine.runner import Surroundings, execute
from etlctl.errors import NotInLedgerError, RunBusyError, StateError
from etlctl.ids import new_id
from etlctl.orchestrator import replay_book as book
from etlctl.orchestrator.keeper import RunKeeper
from etlctl.orchestrator.replay_book import Settled, Wanted
from etlctl.orchestrator.replay_fitness import Unfit, told
from etlctl.orchestrator.replay_masked import plain_record
from etlctl.orchestrator.replay_plan import Job, Outcome, Planner, Replayed
from etlctl.orchestrator.replay_source import LetterSource
from etlctl.orchestrator.replay_text import REPLAY, Selection
from etlctl.run import RunResult, RunStatus
from etlctl.sdk.loader import Delivery

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.engine.services import StopRequest
    from etlctl.state.ledger import Ledger
    from etlctl.state.run_record import RunRecord


class Replayer:
    """Replays dead letters of a ledger.

    Args:
        planner: Knows the ledger and the contracts.
        warn: Reports something the user should know.
    """

    def __init__(self, planner: Planner, warn: Callable[[str], None]) -> None:
        self._planner = planner
        self._ledger = planner.ledger
        self._warn = warn
        # The replays of each stream that had finished, and were settled, before letters were chosen.
        self._settled: dict[str, frozenset[str]] = {}

    def plan(self, wanted: Wanted) -> Outcome:
        """Return what would be replayed, and what cannot be. Blocks; writes nothing.

        Args:
            wanted: Which dead letters.

        Raises:
            NotInLedgerError: An id is not known.
        """
        jobs, unfit = self._planner.jobs(wanted)
        planned = []
        for job in jobs:
            try:
                _, fit, rest = self._planner.prepared(job)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one contract is told beside the others
                planned.append(job.outcome(**told(error)))
                continue
            unfit += rest
            if fit.selection.places:
                planned.append(fit.outcome())
        return Outcome(planned, unfit)

    async def replay(self, wanted: Wanted, stop: StopRequest | None = None) -> Outcome:
        """Replay dead letters; those whose record was loaded or filtered are marked ``replayed``.

        Replays of the same contracts that did not come to their end are finished first.

        Args:
            wanted: Which dead letters.
            stop: Asks to stop once the batch in hand is safe.

        Returns:
            What was done; a replay that failed is an entry with an error, not an exception.

        Raises:
            NotInLedgerError: An id is not known.
            StateError: A letter that was named is settled already.
            RunBusyError: Another process is replaying the same stream.
        """
        outcome = Outcome()
        blocked = await self._finish_earlier(wanted, outcome, stop)
        jobs, unfit = await asyncio.to_thread(self._planner.jobs, wanted, strict=False)
        outcome.unfit.extend(unfit)
        for job in jobs:
            if stop is not None and stop.requested:
                outcome.replays.append(
                    job.outcome(error=f"not begun: stopped by {stop.reason}", exit_code=stop.exit_code)
                )
            elif book.base_stream(job.letters.run) in blocked:
                why = "not begun: an earlier replay of the same stream could not be finished"
                help_ = "see what kept it above; to give that replay up: etlctl checkpoints list, then delete its own"
                outcome.replays.append(job.outcome(error=why, error_help=help_, exit_code=1))
            else:
                outcome.replays.extend(await self._run(job, outcome.unfit, stop))
        return outcome

    # Running

    async def _run(self, job: Job, unfit: list[Unfit], stop: StopRequest | None) -> list[Replayed]:
        """Replay one run's letters and settle them; nothing is returned when none of them can be replayed."""
        try:
            contract, job, rest = await asyncio.to_thread(self._planner.prepared, job)
            unfit += rest
            if not job.selection.places:
                return []
            result = await self._execute(job, contract, stop)
        except Exception as error:  # noqa: BLE001 - how one replay went says nothing about the others
            return [job.outcome(**told(error))]
        code = result.exit_code
        if not result.success:
            await asyncio.to_thread(self._tidy_up, result.run_id)
            return [job.outcome(result=result, error=result.error, error_help=result.error_help, exit_code=code)]
        settled = await asyncio.to_thread(self._settle, result.run_id)
        stream = book.base_stream(job.letters.run)
        self._settled[stream] = self._settled.get(stream, frozenset()) | {result.run_id}
        return [job.outcome(result=result, settled=settled, exit_code=code)]

    async def _execute(self, job: Job, contract: Contract, stop: StopRequest | None) -> RunResult:
        run, resumes = job.letters.run, job.resumes
        known = self._settled.get(book.base_stream(run), frozenset())
        ids = [group[0].id for group in job.groups]
        records = [plain_record(group[0].raw) for group in job.groups]
        source = LetterSource.of(records, ids, lambda: self._recheck(job, known))
        contract = replace(contract, extractor=source)
        run_id = resumes.run_id if resumes is not None else new_id("run")
        at_least_once = contract.loader.delivery() is Delivery.at_least_once
        if at_least_once:
            self._warn(f"{contract.name}: the destination keeps no record of what it has; a replay that is killed may "
                       "load records twice")  # fmt: skip
        settings = RunSettings(
            run_id=run_id,
            batch_size=max(len(ids), 1),  # one batch: all or nothing
            max_memory_mb=contract.envelope.max_memory_mb,
            recovery=Recovery(**{**dict(contract.envelope.error_recovery), "error_threshold": None}),
            claim_first=True,
            accept_changes=at_least_once,
            checkpoint_id=(resumes.checkpoint_id if resumes is not None else None) or run_id,
            environ=self._planner.environ,
        )
        keeper = RunKeeper(
            contract,
            settings,
            self._planner.state_dir,
            self._planner.state_url,
            "replay",
            run_key=None if resumes is not None else _key(job.selection, known),
            resume=resumes is not None,
        )
        around = Surroundings(
            open_ledger=keeper.open, warn=lambda message: self._warn(keeper.redactor.text(message)), stop=stop
        )
        result = await execute(contract, settings, around)
        result = await asyncio.to_thread(keeper.close, result)
        if result.exit_code == RunBusyError.exit_code and result.error_type == RunBusyError.__name__:
            raise RunBusyError(f"another process is replaying dead letters of {run.run_id}", help=result.error_help)
        # It is carried on with by the same command, not by ``etlctl resume``.
        return result if result.success else replace(result, checkpoint_id=None)

    def _recheck(self, job: Job, known: frozenset[str]) -> None:
        """Make sure, now that the stream is ours alone, that nobody has replayed these records meanwhile.

        Raises:
            StateError: Somebody has.
        """
        run = job.letters.run
        with self._ledger() as ledger:
            letters = book.letters_of(ledger, run).of(job.selection)
            now = book.finished(book.replays_of(ledger, run.contract, [book.base_stream(run)]))
        still_open = job.resumes is not None or all(any(one.status == "open" for one in group) for group in letters)
        # A replay that has finished since may not have settled its letters yet: they would still look open.
        if now != known or not still_open:
            raise StateError(
                f"dead letters of run {run.run_id} were replayed or discarded by another process meanwhile",
                help="run the same command again: it takes those that are left",
            )

    # What earlier commands left

    async def _finish_earlier(self, wanted: Wanted, outcome: Outcome, stop: StopRequest | None) -> set[str]:
        """Bring earlier replays to their end; return the streams where that did not work."""
        blocked: set[str] = set()
        for replay in await asyncio.to_thread(self._left_over, wanted):
            job = await asyncio.to_thread(self._resumption, replay)
            if job is None:
                continue
            ended = await self._run(job, outcome.unfit, stop)
            outcome.replays.extend(ended)
            if any(one.error is not None for one in ended):
                blocked.add(book.base_stream(replay))
        return blocked

    def _left_over(self, wanted: Wanted) -> list[RunRecord]:
        """Settle what finished replays have left; return those that did not finish."""
        left = []
        with self._ledger() as ledger:
            for contract, streams in self._streams(ledger, wanted).items():
                replays = book.replays_of(ledger, contract, streams)
                for stream in streams:
                    mine = (run for run in replays if book.base_stream(run) == stream)
                    self._settled[stream] = book.finished(mine)
                for replay in book.unsettled(ledger, contract, replays):
                    book.settle(ledger, replay)
                left += [run for run in replays if run.run_id not in book.finished(replays)]
        return left

    @staticmethod
    def _streams(ledger: Ledger, wanted: Wanted) -> dict[str, set[str]]:
        """Return the streams of the letters that are meant, by contract."""
        streams: dict[str, set[str]] = {}
        for letter in book.open_letters(ledger, wanted):
            streams.setdefault(letter.contract, set()).add(letter.stream.removesuffix(REPLAY))
        return streams

    def _resumption(self, replay: RunRecord) -> Job | None:
        if replay.status is RunStatus.running and not replay.crashed:
            raise RunBusyError(
                f"replay {replay.run_id} of {book.base_stream(replay)} is going on",
                help=f"wait for it to end: etlctl runs show {replay.run_id}",
            )
        with self._ledger() as ledger:
            if book.is_void(ledger, replay):
                book.give_up(ledger, replay)
                return None
            selection = Selection.parse(replay.params[REPLAY])
            letters = book.letters_of(ledger, ledger.run(selection.run_id))
        return Job(letters=letters, selection=selection, resumes=replay)

    def _tidy_up(self, run_id: str) -> None:
        """Give up a replay that found its letters replayed by another process."""
        with self._ledger() as ledger, suppress(NotInLedgerError):  # it may have failed before it was recorded
            replay = ledger.run(run_id)
            if book.is_void(ledger, replay):
                book.give_up(ledger, replay)

    def _settle(self, run_id: str) -> Settled:
        with self._ledger() as ledger:
            return book.settle(ledger, ledger.run(run_id))


def _key(selection: Selection, known: frozenset[str]) -> str:
    """Return the run key of a replay: two processes that want the same one get the same run."""
    text = f"{selection} {' '.join(sorted(known))}"
    return f"replay-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
