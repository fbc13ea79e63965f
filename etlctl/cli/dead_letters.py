"""``etlctl dead-letters``: the records that were rejected, and why; what to do with them is in ``letter_actions``."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import letter_actions, output
from etlctl.cli.arguments import AsJson
from etlctl.cli.state import instant, minute, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etlctl.run import DeadLetter
    from etlctl.state.records import RuleSummary

app = typer.Typer(help="The records that were rejected, and why.", no_args_is_help=True)


class LetterStatus(StrEnum):
    """What became of a rejected record."""

    open = "open"
    replayed = "replayed"
    discarded = "discarded"
    all = "all"


@app.command("list")
def list_letters(
    *,
    contract: Annotated[str | None, typer.Option(help="Only those of this contract.")] = None,
    run: Annotated[str | None, typer.Option(help="Only those of this run; the beginning of its id will do.")] = None,
    rule: Annotated[
        str | None, typer.Option(help="Only those that broke this rule; 'convert' means all of 'convert.…'.")
    ] = None,
    status: Annotated[LetterStatus, typer.Option(help="Only those with this status.")] = LetterStatus.open,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    by_rule: Annotated[bool, typer.Option("--by-rule", help="Count them by rule instead.")] = False,
    json: AsJson = False,
) -> None:
    """List rejected records, those of the newest run first.

    Examples: etlctl dead-letters list --by-rule  ·  etlctl dead-letters list --run run_01kahz --rule convert.integer
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            run_id = ledger.run(run).run_id if run else None
            wanted = (contract, run_id, rule, None if status is LetterStatus.all else status.value)
            counted = ledger.count_dead_letters(*wanted)
            letters = [] if by_rule else ledger.dead_letters(*wanted, limit=limit)
        if by_rule:
            _show_rules(counted, json=json)
        else:
            _show_letters(letters, sum(one.count for one in counted), json=json, mixed=status is LetterStatus.all)


@app.command("show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the dead letter, or the beginning of it.")],
    *,
    json: AsJson = False,
) -> None:
    """Show one rejected record: what it was, where it came from, which rule it broke.

    Example: etlctl dead-letters show dl_01kahz0e5y_1_17
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            letter = ledger.dead_letter(letter_id)
        if json:
            from etlctl.state.records import dead_letter_dict  # noqa: PLC0415

            output.json_data(dead_letter_dict(letter))
            return
        output.data("\n".join(_facts(letter)))
        output.data("\n" + _raw(letter))


app.command("replay")(letter_actions.replay)
app.command("discard")(letter_actions.discard)


def _show_rules(counted: Sequence[RuleSummary], *, json: bool) -> None:
    if json:
        output.json_data([{"rule": one.rule, "stage": one.stage, "count": one.count} for one in counted])
    elif counted:
        output.table(
            ("rule", "stage", "count"), [(one.rule, one.stage, f"{one.count:,}") for one in counted], right=("count",)
        )
    else:
        output.say("no dead letters match")


def _show_letters(letters: Sequence[DeadLetter], total: int, *, json: bool, mixed: bool) -> None:
    if json:
        from etlctl.state.records import dead_letter_dict  # noqa: PLC0415

        # A large source record of which many parts were rejected is told once.
        told = {letter.id for letter in letters}
        shown = [replace(letter, raw=None) if letter.raw_of in told else letter for letter in letters]
        output.json_data([dead_letter_dict(letter) for letter in shown])
    elif letters:
        columns = ["id", "when (UTC)", "contract", "location", "rule", "message", *(["status"] if mixed else [])]
        rows = [
            [one.id, minute(one.created_at), one.contract, one.location, one.rule, _one_line(one.message), one.status]
            for one in letters
        ]
        rows = [row[: len(columns)] for row in rows]
        output.table(columns, rows, whole=columns[:1])
    else:
        output.say("no dead letters match")
    if len(letters) < total:
        output.say(f"{len(letters):,} of {total:,}; more with --limit, or count them with --by-rule")


def _facts(letter: DeadLetter) -> list[str]:
    part = f", part {letter.part}" if letter.part else ""
    facts = {
        "id": letter.id,
        "run": letter.run_id,
        "contract": letter.contract,
        "stream": letter.stream if letter.stream != letter.contract else None,
        "location": letter.location,
        "record": f"batch {letter.seq}, record {letter.index} of the batch (from 0){part}",
        "stage": letter.stage,
        "step": letter.step,
        "rule": letter.rule,
        "field": letter.field,
        "message": letter.message,
        "status": letter.status,
        "rejected": f"{instant(letter.created_at)} UTC",
        "raw of": f"{letter.raw_of}, which has the same source record" if letter.raw_of else None,
        "note": "a secret was masked in the raw record" if letter.redacted else None,
    }
    return [f"{name:<9} {text}" for name, text in facts.items() if text is not None]


def _raw(letter: DeadLetter) -> str:
    """Return raw text as it stood in the source, a record as JSON."""
    if isinstance(letter.raw, str):
        return letter.raw
    import json  # noqa: PLC0415

    from etlctl.state.payload import readable  # noqa: PLC0415

    return json.dumps(readable(letter.raw), indent=2, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
