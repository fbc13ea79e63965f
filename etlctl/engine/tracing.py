"""Takes the place of ``apply_steps`` to look at single records: the same steps in the same forms, one by one.

Each step gets what the one before it gave, as the form it had, so nothing but the looking is added: the engine cuts,
counts and balances what comes out as in any run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from etlctl.batch import Batch, Record, frame_to_rows
from etlctl.engine.applied import Applied, Refused, Tally
from etlctl.engine.apply import StepLike, apply_steps
from etlctl.engine.concealing import Showing
from etlctl.frozen import frozen
from etlctl.sdk.concealing import Concealing
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Scope
from etlctl.sdk.rows import RowRejection


class Outcome(StrEnum):
    """What a step did to a record."""

    unchanged = "unchanged"
    changed = "changed"
    multiplied = "multiplied"
    filtered = "filtered"
    rejected = "rejected"
    made = "made"
    """A step that sees all records at once gave it: it need not be this source record any more."""


@frozen
class Passage:
    """One step of one source record, and of what earlier steps made out of it.

    Attributes:
        step: Where in the contract.
        form: ``frame``, ``rows`` or ``mixed``.
        why: Why it did not run on the frame; empty when it did.
        outcome: What it did.
        before: The record that went in; None when there is no single one (``made``).
        after: The records that came out.
        rule: Of a rejection.
        message: Of a rejection.
        field: Of a rejection.
        warnings: Rules it broke and goes on nevertheless, in words.
    """

    step: str
    form: str
    why: str
    outcome: Outcome
    before: Record | None
    after: tuple[Record, ...]
    rule: str | None = None
    message: str | None = None
    field: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class RecordTrace:
    """A source record on its way through the steps.

    Attributes:
        number: 1-based, among the source records that could be read.
        location: Where in the source, such as ``people.csv:17``.
        source: As it was read.
        passages: One for each step and record that went in, in order.
        final: What would be loaded of it.
    """

    number: int
    location: str | None
    source: Record
    passages: list[Passage] = field(default_factory=list)
    final: list[Record] = field(default_factory=list)


class StepTracer:
    """Runs chunks through the steps and keeps what became of the first records.

    Args:
        wanted: Source records to follow.
    """

    def __init__(self, wanted: int) -> None:
        self.traces: list[RecordTrace] = []
        self._wanted = wanted
        self._seen = 0

    def __call__(
        self,
        steps: Sequence[StepLike],
        chunk: Batch,
        contexts: Sequence[StepContext],
        *,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Applied:
        """Run a chunk through all steps, one after the other."""
        follow = min(len(chunk), max(self._wanted - self._seen, 0))
        if not follow:
            applied = apply_steps(steps, chunk, contexts, stopped=stopped)
        else:
            traces = [
                RecordTrace(self._seen + number + 1, chunk.locate(number) if chunk.locate else None, record)
                for number, record in enumerate(_records(chunk, range(follow)))
            ]
            applied = _step_by_step(steps, chunk, contexts, traces, stopped)
            # A chunk that failed is tried again: only one that went through is kept.
            self.traces += [_concealed(trace, steps) for trace in traces]
        self._seen += len(chunk)
        return applied


def _concealed(trace: RecordTrace, steps: Sequence[StepLike]) -> RecordTrace:
    """Return a trace without the plain values of what the steps mask."""
    if not any(isinstance(step.operation, Concealing) for step in steps):
        return trace
    showing = Showing(steps)
    names = [step.name for step in steps]
    following = dict(zip(names, [*names[1:], "what is loaded"], strict=True))
    passages = [
        replace(
            one,
            before=showing.record(one.step, one.before) if one.before is not None else None,
            after=tuple(showing.record(following[one.step], record) for record in one.after),
            message=showing.message(one.step, one.message, one.rule or "", one.field) if one.message else one.message,
            warnings=tuple(showing.message(one.step, text, "that warns", None) for text in one.warnings),
        )
        for one in trace.passages
    ]
    return replace(trace, source=showing.record("", trace.source), passages=passages)


def _step_by_step(
    steps: Sequence[StepLike],
    chunk: Batch,
    contexts: Sequence[StepContext],
    traces: Sequence[RecordTrace],
    stopped: Callable[[], bool],
) -> Applied:
    whole = Applied(chunk.records, chunk.frame, None, len(chunk), [], [])
    origins = list(range(len(chunk)))
    current, moved = chunk, False
    for step, ctx in zip(steps, contexts, strict=True):
        done = apply_steps([step], current, [ctx], stopped=stopped)
        local = list(range(len(done))) if done.ordinals is None else list(done.ordinals)
        _note(traces, step, _Step(origins, current, done, local))
        whole.refused += [Refused(one.step, _from(one.rejection, origins)) for one in done.refused]
        whole.tallies += [_mapped(tally, origins) for tally in done.tallies]
        moved = moved or done.ordinals is not None
        origins = [origins[place] for place in local]
        current = Batch(done.records, done.frame, chunk.position, locate=_locator(chunk, origins))
    whole.records, whole.frame = current.records, current.frame
    whole.ordinals = origins if moved else None
    whole.reordered = any(a > b for a, b in pairwise(origins))
    followed = [place for place, origin in enumerate(origins) if origin < len(traces)]
    for place, record in zip(followed, _records(current, followed), strict=True):
        traces[origins[place]].final.append(record)
    return whole


def _locator(chunk: Batch, origins: Sequence[int]) -> Callable[[int], str] | None:
    locate = chunk.locate
    return None if locate is None else lambda number: locate(origins[number])


def _records(batch: Batch, places: Sequence[int]) -> list[Record]:
    """Return some records of a batch, as they are now: a copy that no later step can reach into."""
    if batch.frame is not None:
        return frame_to_rows(batch.frame[list(places)])
    records = batch.records or []
    return [deepcopy(records[place]) for place in places]


def _from(rejection: RowRejection, origins: Sequence[int]) -> RowRejection:
    return replace(rejection, index=origins[rejection.index])


def _mapped(tally: Tally, origins: Sequence[int]) -> Tally:
    """Return what a step did by the ordinals of the chunk, instead of those of what it got."""
    filtered, added, rejected = (
        [origins[place] for place in found] for found in (tally.filtered, tally.added, tally.rejected)
    )
    warned = [_from(one, origins) for one in tally.warned]
    return replace(tally, filtered=filtered, added=added, rejected=rejected, warned=warned)


@frozen
class _Step:
    """A chunk before and after one step; ``local`` tells for each record that came out which one went in."""

    origins: Sequence[int]
    before: Batch
    done: Applied
    local: Sequence[int]


def _note(traces: Sequence[RecordTrace], step: StepLike, seen: _Step) -> None:
    """Add what a step did to the traces of the records it got."""
    origins, done, local = seen.origins, seen.done, seen.local
    going_in = [place for place, origin in enumerate(origins) if origin < len(traces)]
    coming_out = [place for place, source in enumerate(local) if origins[source] < len(traces)]
    given = dict(zip(going_in, _records(seen.before, going_in), strict=True))
    gave: dict[int, list[Record]] = {}
    for place, record in zip(coming_out, _records(Batch(done.records, done.frame, {}), coming_out), strict=True):
        gave.setdefault(local[place], []).append(record)
    refusals = {one.rejection.index: one.rejection for one in done.refused}
    (tally,) = done.tallies
    warned: dict[int, tuple[str, ...]] = {}
    for one in tally.warned:
        warned[one.index] = (*warned.get(one.index, ()), f"{one.message} [{one.rule}]")
    everything = step.operation.scope is Scope.batch
    for place, record in given.items():
        told: dict[str, Any] = {"step": step.name, "form": tally.form, "why": tally.why}
        told["warnings"] = warned.get(place, ())
        passage = _passage(record, tuple(gave.get(place, ())), refusals.get(place), told, everything=everything)
        traces[origins[place]].passages.append(passage)


def _passage(
    before: Record, after: tuple[Record, ...], refusal: RowRejection | None, told: dict[str, Any], *, everything: bool
) -> Passage:
    if refusal is not None:
        made = Passage(**told, outcome=Outcome.rejected, before=before, after=after)
        return replace(made, rule=refusal.rule, message=refusal.message, field=refusal.field)
    if not after:
        outcome = Outcome.filtered
    elif everything and after != (before,):
        outcome = Outcome.made
    elif len(after) > 1:
        outcome = Outcome.multiplied
    else:
        outcome = Outcome.unchanged if _same(before, after[0]) else Outcome.changed
    return Passage(**told, outcome=outcome, before=before, after=after)


def _same(one: Record, other: Record) -> bool:
    """Tell whether two records are equal in fields, their order and the types of their values (1 is not True)."""
    return list(one) == list(other) and all(
        type(one[name]) is type(other[name]) and (one[name] == other[name] or one[name] != one[name]) for name in one
    )
