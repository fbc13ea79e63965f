"""What a replay needs of the ledger: which letters it is about, which replays there were, and settling the letters.

All functions block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from etlctl.errors import CheckpointError, NotInLedgerError, StateError
from etlctl.frozen import frozen
from etlctl.orchestrator.replay_fitness import multiplied_before
from etlctl.orchestrator.replay_text import REPLAY, Place, Selection
from etlctl.run import DeadLetter, RunStatus
from etlctl.sdk.destinations import STEP

if TYPE_CHECKING:
    from etlctl.state.ledger import Ledger
    from etlctl.state.run_record import RunRecord

ALL = 1 << 31
"""More runs or letters than a ledger has."""

_FINISHED = {RunStatus.succeeded, RunStatus.partial}


@frozen(kw_only=True)
class Wanted:
    """Which open dead letters are meant.

    Attributes:
        ids: These, by id or the beginning of it; the rest is not looked at then.
        contract: Those of this contract.
        run: Those of this run, by id or the beginning of it.
        rule: Those that broke this rule; ``convert`` means all of ``convert.…``.
    """

    ids: tuple[str, ...] = ()
    contract: str | None = None
    run: str | None = None
    rule: str | None = None


@frozen
class Settled:
    """What became of the dead letters of a replay.

    Attributes:
        replayed: Letters that are settled now.
        again: Letters that stay open, for their records were rejected again.
        records_again: Source records that were rejected again.
    """

    replayed: int = 0
    again: tuple[str, ...] = ()
    records_again: int = 0


@frozen
class Letters:
    """The dead letters of one run, by source record.

    Attributes:
        run: The run.
        by_place: All letters of each source record, in order.
    """

    run: RunRecord
    by_place: dict[Place, list[DeadLetter]] = field(default_factory=dict)

    def of(self, selection: Selection) -> list[list[DeadLetter]]:
        """Return the letters of each selected source record.

        Raises:
            StateError: The ledger does not have some of them any more.
        """
        gone = [place for place in selection.places if place not in self.by_place]
        if gone:
            raise StateError(
                f"{len(gone):,} of the dead letters of run {self.run.run_id} that were being replayed are not in the "
                "ledger any more",
                help="was it restored from a backup? bring them back, or delete the checkpoint of the replay",
            )
        return [self.by_place[place] for place in selection.places]


def open_letters(ledger: Ledger, wanted: Wanted, *, strict: bool = True) -> list[DeadLetter]:
    """Return the open dead letters that are meant, the newest run first.

    Args:
        ledger: The ledger.
        wanted: Which are meant.
        strict: Naming one that is settled is an error; otherwise it is left out.

    Raises:
        NotInLedgerError: An id or a run is not known.
        StateError: A letter that was named is settled already.
    """
    if not wanted.ids:
        run_id = ledger.run(wanted.run).run_id if wanted.run else None
        return ledger.dead_letters(wanted.contract, run_id, wanted.rule, limit=ALL)
    found = {letter.id: letter for letter in map(ledger.dead_letter, wanted.ids)}
    settled = [letter for letter in found.values() if letter.status != "open"]
    if settled and strict:
        first, more = settled[0], f" (and {len(settled) - 1} more)" if len(settled) > 1 else ""
        error = StateError(
            f"dead letter {first.id} is {first.status} already{more}", help="see: etlctl dead-letters list"
        )
        error.exit_code = 2
        raise error
    return [letter for letter in found.values() if letter.status == "open"]


def letters_of(ledger: Ledger, run: RunRecord) -> Letters:
    """Return all dead letters of a run, whatever became of them."""
    letters = Letters(run)
    for letter in ledger.dead_letters(run_id=run.run_id, status=None, limit=ALL):
        letters.by_place.setdefault((letter.seq, letter.index), []).append(letter)
    return letters


def base_stream(run: RunRecord) -> str:
    """Return the stream a run is of, that of the run it replays for a replay."""
    return run.stream.removesuffix(REPLAY)


def replays_of(ledger: Ledger, contract: str, streams: Iterable[str]) -> list[RunRecord]:
    """Return the replays of some streams, the oldest first."""
    wanted = {stream + REPLAY for stream in streams}
    found = [run for run in ledger.runs(ALL, contract) if run.stream in wanted and not run.dry_run]
    return found[::-1]


def unsettled(ledger: Ledger, contract: str, replays: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the finished replays some of whose letters are open: killed before it settled them, or rejected again."""
    still_open = {(one.run_id, one.seq, one.index) for one in ledger.dead_letters(contract, limit=ALL)}
    found = []
    for run in replays:
        selection = Selection.parse(run.params[REPLAY])
        if run.status in _FINISHED and any((selection.run_id, *place) in still_open for place in selection.places):
            found.append(run)
    return found


def finished(runs: Iterable[RunRecord]) -> frozenset[str]:
    """Return the ids of those that finished."""
    return frozenset(run.run_id for run in runs if run.status in _FINISHED)


def later_runs(ledger: Ledger, run: RunRecord) -> list[RunRecord]:
    """Return the runs of a run's stream that finished after it, the newest first."""
    return [
        one
        for one in ledger.runs(ALL, run.contract)
        if one.stream == base_stream(run)
        and one.status in _FINISHED
        and not one.dry_run
        and one.started_at > run.started_at
    ]


def origin(ledger: Ledger, run: RunRecord) -> RunRecord:
    """Return the run whose source the records of a run came from: itself unless it is a replay."""
    while REPLAY in run.params:
        run = ledger.run(Selection.parse(run.params[REPLAY]).run_id)
    return run


def is_void(ledger: Ledger, replay: RunRecord) -> bool:
    """Tell whether a replay that did not finish is given up: nothing of it can have been loaded.

    Its letters were replayed by another one, which is only done when this one had loaded nothing; or a person has
    deleted its checkpoint.
    """
    try:
        ledger.checkpoint(replay.checkpoint_id or replay.run_id)
    except NotInLedgerError:
        return True
    except CheckpointError:
        return False  # damaged: the destination knows
    selection = Selection.parse(replay.params[REPLAY])
    letters = letters_of(ledger, ledger.run(selection.run_id)).of(selection)
    return any(letter.status == "replayed" for group in letters for letter in group)


def give_up(ledger: Ledger, replay: RunRecord) -> None:
    """Forget the checkpoint of a replay that is void."""
    ledger.delete_checkpoint(replay.checkpoint_id or replay.run_id)


def settle(ledger: Ledger, replay: RunRecord) -> Settled:
    """Settle the dead letters of a replay that has finished; doing it again changes nothing.

    Those of records that were loaded or filtered are replayed. Those of records that were rejected again stay open and
    say why they were rejected this time; the replay's own letters of them go. Where a step makes several records of
    one, some of which may be loaded now, it is the other way round: the replay's letters stay, for the old ones would
    load those again.

    Args:
        ledger: The ledger.
        replay: The replay.
    """
    selection = Selection.parse(replay.params[REPLAY])
    rejected = letters_of(ledger, replay)
    number = sum(len(group) for group in rejected.by_place.values())
    if number != replay.counts.rejected:
        return Settled()  # it was settled before: its own letters are gone
    groups = letters_of(ledger, ledger.run(selection.run_id)).of(selection)
    steps = ledger.steps(replay.run_id)
    # A replay is one batch, so that the ordinals of its letters count its source records.
    again = {index: group for (_, index), group in rejected.by_place.items()}
    # A record that some of several destinations have refused again is in the others now.
    partly = any(
        multiplied_before(letter, steps) or letter.step.startswith(STEP) for group in again.values() for letter in group
    )
    done: list[DeadLetter] = []
    left: list[DeadLetter] = []
    for index, group in enumerate(groups):
        (left if index in again and not partly else done).extend(group)
    if again and not partly:
        ledger.add_dead_letters(_renewed(groups, again))
    changed = ledger.set_letter_status([letter.id for letter in done], "replayed", replay.run_id)
    if again and not partly:
        ledger.clear_dead_letters(replay.run_id, 0)
    kept = left if not partly else [letter for group in again.values() for letter in group]
    return Settled(changed, tuple(letter.id for letter in kept), len(again))


def _renewed(groups: Sequence[Sequence[DeadLetter]], again: dict[int, list[DeadLetter]]) -> list[DeadLetter]:
    """Return the letters of records that were rejected again, with today's reasons."""
    return [
        replace(old, stage=new.stage, step=new.step, rule=new.rule, message=new.message, field=new.field)
        for index, found in again.items()
        for old, new in zip(groups[index], found, strict=False)
    ]
