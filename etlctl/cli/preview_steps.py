"""``etlctl preview --steps``: each record after every step, what changed in it, and why it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.cli import output
from etlctl.cli.values import value_text
from etlctl.engine.tracing import Outcome
from etlctl.orchestrator.field_changes import Change, FieldChange, field_changes

if TYPE_CHECKING:
    from etlctl.engine.tracing import Passage, RecordTrace

_MARKS = {Change.added: "+", Change.changed: "~", Change.removed: "-"}


def show(traces: Sequence[RecordTrace]) -> None:
    """Write what became of some source records, step by step.

    Args:
        traces: The records.
    """
    for trace in traces:
        where = f"  {trace.location}" if trace.location else ""
        output.data(f"-- record {trace.number}{where}")
        _show_record(trace.source, "     ")
        for passage in trace.passages:
            _show_passage(passage)
        output.data(f"   = {_ending(trace)}\n")


def _ending(trace: RecordTrace) -> str:
    if len(trace.final) == 1:
        return "would be loaded"
    if trace.final:
        return f"would be loaded as {len(trace.final):,} records"
    rejected = any(passage.outcome is Outcome.rejected for passage in trace.passages)
    return "would be a dead letter" if rejected else "would not be loaded"


def _show_record(record: Mapping[str, Any], indent: str) -> None:
    width = max(map(len, record), default=0)
    for name, value in record.items():
        output.data(f"{indent}{name:<{width}}  {value_text(value)}")


def _show_passage(passage: Passage) -> None:
    head = f"   {passage.step}"
    if passage.outcome is Outcome.rejected:
        output.data(f"{head}: rejected: {passage.message} [{passage.rule}]")
    elif passage.outcome is Outcome.filtered:
        output.data(f"{head}: filtered")
    elif passage.outcome is Outcome.unchanged:
        output.data(f"{head}: unchanged")
    elif passage.outcome is Outcome.made:
        output.data(f"{head}: sees all records at once; in the place of this one it gives")
        for record in passage.after:
            _show_record(record, "     = ")
        return
    elif passage.outcome is Outcome.multiplied:
        output.data(f"{head}: {len(passage.after):,} records out of one")
    else:
        output.data(head)
    for warning in passage.warnings:
        output.data(f"     ! {warning}")
    for number, record in enumerate(passage.after, 1):
        if len(passage.after) > 1:
            output.data(f"     record {number}")
        _show_changes(field_changes(passage.before or {}, record))


def _show_changes(changes: Sequence[FieldChange]) -> None:
    width = max((len(change.field) for change in changes), default=0)
    for change in changes:
        before, after = value_text(change.before), value_text(change.after)
        text = {Change.added: after, Change.removed: before, Change.changed: f"{before} → {after}"}[change.change]
        output.data(f"     {_MARKS[change.change]} {change.field:<{width}}  {text}")


def as_json(traces: Sequence[RecordTrace]) -> list[dict[str, Any]]:
    """Return the same as plain values."""
    return [
        {
            "number": trace.number,
            "location": trace.location,
            "source": trace.source,
            "steps": [_passage(passage) for passage in trace.passages],
            "final": trace.final,
        }
        for trace in traces
    ]


def _passage(passage: Passage) -> dict[str, Any]:
    made: dict[str, Any] = {
        "step": passage.step,
        "form": passage.form,
        "outcome": passage.outcome.value,
        "before": passage.before,
        "after": [
            {"record": record, "changes": [one.to_dict() for one in field_changes(passage.before or {}, record)]}
            for record in passage.after
        ],
    }
    if passage.why:
        made["why"] = passage.why
    if passage.warnings:
        made["warnings"] = list(passage.warnings)
    if passage.outcome is Outcome.rejected:
        made["rejected"] = {"rule": passage.rule, "field": passage.field, "message": passage.message}
    return made
