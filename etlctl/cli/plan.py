"""``etlctl plan``: what a run would do to its destination, record by record, without doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, ContractPath, Params, RunDate, parse_params

if TYPE_CHECKING:
    from etlctl.orchestrator.field_changes import FieldChange
    from etlctl.orchestrator.plan import DestinationPlan, Differences, Plan


def plan(
    contract: ContractPath,
    *,
    param: Params = None,
    run_date: RunDate = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Records of each kind to show.")] = 5,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Source records to read at most; all of them if left out.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS", help="Fields that find a record, joined by commas; the destination's if left out."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what a run would insert, change and remove; the destination is only read, nothing is written.

    The contract is run for real into a copy of the destination in a temporary folder, and both are compared.

    Examples: etlctl plan contracts/orders  ·  etlctl plan contracts/prices -n 20 --json

    Exit codes: 0 the run would come to its end · else the code it would fail with
    """
    with output.errors_as_exit_codes():
        import asyncio  # noqa: PLC0415

        from etlctl.orchestrator.planning import PlanSettings, make_plan  # noqa: PLC0415

        dated = {"run_date": run_date.date().isoformat()} if run_date else {}
        fields = tuple(name.strip() for name in key.split(",") if name.strip()) if key else ()
        settings = PlanSettings(params={**parse_params(param), **dated}, sample=sample, limit=limit, key=fields)
        made = asyncio.run(make_plan(contract, settings, warn=output.warn))
        if json:
            output.json_data(made.to_dict())
        else:
            _show(made)
        copied = f", {made.copied_bytes / 1e6:,.1f} MB copied" if made.copied_bytes else ""
        output.say(f"planned in {made.seconds:.1f} s{copied}; nothing was written")
        if made.result.error is not None:
            output.say(f"error: the run would fail: {made.result.error}")
            if made.result.error_help:
                output.say(f"  help: {made.result.error_help}")
            raise typer.Exit(made.result.exit_code)


def _show(made: Plan) -> None:
    version = f" {made.version}" if made.version else ""
    output.data(f"{made.contract}{version}\n")
    output.data(f"  source       {made.source} ({made.mode})")
    _show_steps(made)
    for one in made.destinations:
        name = f"{one.name}: " if one.name else ""
        some = ", only records that pass its where" if one.where else ""
        output.data(f"  destination  {name}{one.type} {one.place}, {one.method}{some}; delivery {one.delivery}")
    _show_records(made)
    for note in made.notes:
        output.data(f"  note         {note}")
    for one in made.destinations:
        _show_destination(one)


def _show_steps(made: Plan) -> None:
    width = max((len(step.name) for step in made.steps), default=0)
    for number, step in enumerate(made.steps):
        form = step.form or "no record came to it"
        why = f": {step.why}" if step.why else ""
        output.data(f"  {'steps' if not number else '':<11}  {step.name:<{width}}  {form}{why}")


def _show_records(made: Plan) -> None:
    counts = made.result.counts
    parts = [f"{counts.extracted:,} read"]
    words = {"added": counts.added, "filtered": counts.filtered, "duplicates": counts.deduplicated}
    parts += [f"{number:,} {word}" for word, number in words.items() if number]
    parts += [f"{counts.rejected:,} rejected", f"{counts.loaded:,} loaded"]
    output.data(f"  records      {', '.join(parts)}")
    for rule, times in made.rejected.items():
        output.data(f"               rejected {times:,} × {rule}")
    for one in made.examples:
        output.data(f"                 {one['location'] or one['step']}: {one['message']} [{one['rule']}]")


def _show_destination(one: DestinationPlan) -> None:
    title = f"{one.name}: {one.type} {one.place}" if one.name else f"{one.type} {one.place}"
    output.data(f"\n{title}")
    if one.created:
        output.data("  does not exist yet: it would be made" + (_columns(one.new_columns)))
    elif one.new_columns:
        output.data("  columns would be added" + _columns(one.new_columns))
    found = one.differences
    if found is None:
        output.data(f"  what would change cannot be told: {one.unknown}")
        if one.help:
            output.data(f"    help: {one.help}")
        return
    by = f" (by {', '.join(found.key)})" if found.key else " (whole records: a change is a removal and an insertion)"
    counts = {"insert": found.inserted, "change": found.changed, "remove": found.removed, "unchanged": found.unchanged}
    output.data("  " + ", ".join(f"{number:,} {word}" for word, number in counts.items()) + by)
    if found.note:
        output.data(f"  note: {found.note}")
    _show_differences(found)


def _columns(columns: Mapping[str, str]) -> str:
    return ": " + ", ".join(f"{name} {kind}".rstrip() for name, kind in columns.items()) if columns else ""


def _show_differences(found: Differences) -> None:
    _show_whole("+ insert", found.inserted, found.inserts)
    if found.changed:
        output.data(_heading("~ change", found.changed, len(found.changes)))
        for one in found.changes:
            output.data(f"      {_fields(one.key)}")
            _show_changes(one.changes)
    _show_whole("- remove", found.removed, found.removals)


def _heading(word: str, count: int, shown: int) -> str:
    return f"  {word} {count:,}" + (f", {shown:,} shown" if shown < count else "")


def _show_whole(word: str, count: int, records: Sequence[Mapping[str, Any]]) -> None:
    if count:
        output.data(_heading(word, count, len(records)))
        for record in records:
            output.data(f"      {_fields(record)}")


def _fields(record: Mapping[str, Any]) -> str:
    from etlctl.cli.values import value_text  # noqa: PLC0415

    return ", ".join(f"{name} {value_text(value)}" for name, value in record.items())


def _show_changes(changes: Sequence[FieldChange]) -> None:
    from etlctl.cli.values import value_text  # noqa: PLC0415

    width = max(len(change.field) for change in changes)
    for change in changes:
        output.data(f"        {change.field:<{width}}  {value_text(change.before)} → {value_text(change.after)}")
