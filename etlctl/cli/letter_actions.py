"""``etlctl dead-letters replay`` and ``discard``: what becomes of rejected records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, Params, parse_params
from etlctl.cli.state import reading

if TYPE_CHECKING:
    from etlctl.orchestrator.replay_book import Wanted
    from etlctl.orchestrator.replay_fitness import Unfit
    from etlctl.orchestrator.replay_plan import Outcome, Replayed
    from etlctl.run import DeadLetter

LETTERS_REMAIN = 4

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of dead letters, or the beginnings of them.")]
Contract = Annotated[str | None, typer.Option(help="Those of this contract.")]
Run = Annotated[str | None, typer.Option(help="Those of this run; the beginning of its id will do.")]
Rule = Annotated[
    str | None, typer.Option(help="Those that broke this rule; 'convert' means all of 'convert.…'.")
]  # fmt: skip
All = Annotated[bool, typer.Option("--all", help="All open dead letters of the workspace.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, do nothing.")]


def replay(
    ids: Ids = None,
    *,
    contract: Contract = None,
    run: Run = None,
    rule: Rule = None,
    everything: All = False,
    param: Params = None,
    contract_path: Annotated[Path | None, typer.Option(help="Where the contract is now, if it was moved.")] = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Run rejected records through today's contract and add them to what was loaded.

    The raw source record is replayed, so correct the contract first. What is loaded (or filtered) is marked
    'replayed'; what is rejected again stays open and says why. A replay that was killed is finished by the next one:
    nothing is loaded twice. Also replayed: all letters of a source record, when one of them is chosen.

    Not replayed: what could not be read at all (raw text), records in which a secret was masked, runs that did not
    finish (resume them), runs whose records a later run has replaced, contracts with a step that works on many records
    at once, duplicates of a unique field, and records of which a part may be loaded already, because a step (unnest,
    jsonata, a function) made several of one; those only into a destination that is written by key.

    Know that: an upsert by key writes the record as it was then, also over a newer one that a later run has loaded;
    uniqueness is checked among the replayed records only; ${run_date} is the date of the run that rejected them, now()
    is today.

    Exit code: 0 all are settled · 4 some stay open · 75 another process is at it.

    Examples: etlctl dead-letters replay --contract orders --dry-run  ·  etlctl dead-letters replay --rule convert
    --contract orders  ·  etlctl dead-letters replay dl_01kahz0e5y_1_17
    """
    with output.errors_as_exit_codes():
        wanted = _wanted(ids, contract, run, rule, everything=everything)
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.orchestrator.replay import Replayer  # noqa: PLC0415
        from etlctl.orchestrator.replay_plan import Planner  # noqa: PLC0415

        workspace = find_workspace(Path.cwd())
        planner = Planner(
            workspace.state_dir, root=workspace.root, params=parse_params(param), contract_path=contract_path
        )
        replayer = Replayer(planner, output.warn)
        if dry_run:
            outcome = replayer.plan(wanted)
        else:
            from etlctl.cli.signals import run_until_signal  # noqa: PLC0415

            outcome = run_until_signal(lambda stop: replayer.replay(wanted, stop))
        _tell(outcome, dry_run=dry_run, json=json)
        raise typer.Exit(_exit_code(outcome, dry_run=dry_run))


def discard(
    ids: Ids = None,
    *,
    contract: Contract = None,
    run: Run = None,
    rule: Rule = None,
    everything: All = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Mark rejected records as done with, without loading them. They stay in the ledger.

    Examples: etlctl dead-letters discard dl_01kahz0e5y_1_17  ·  etlctl dead-letters discard --run run_01kahz --dry-run
    """
    with output.errors_as_exit_codes():
        wanted = _wanted(ids, contract, run, rule, everything=everything)
        from etlctl.orchestrator.replay_book import open_letters  # noqa: PLC0415

        with reading() as ledger:
            letters = open_letters(ledger, wanted)
            changed = 0 if dry_run else ledger.set_letter_status([letter.id for letter in letters], "discarded")
        if json:
            output.json_data({"letters": [letter.id for letter in letters], "discarded": changed, "dry_run": dry_run})
            return
        if not letters:
            output.say("no open dead letters match")
        elif dry_run:
            _show_letters(letters)
            output.say(f"{len(letters):,} would be discarded; nothing was done")
        else:
            output.say(f"discarded {_number(changed, 'dead letter')}")


def _wanted(
    ids: Sequence[str] | None, contract: str | None, run: str | None, rule: str | None, *, everything: bool
) -> Wanted:
    from etlctl.orchestrator.replay_book import Wanted  # noqa: PLC0415

    filtered = contract is not None or run is not None or rule is not None
    if ids and (filtered or everything):
        raise typer.BadParameter("give ids, or --contract, --run, --rule and --all, not both", param_hint="ID")
    if not ids and not filtered and not everything:
        raise typer.BadParameter(
            "say which: ids, or --contract, --run, --rule; --all for every open dead letter", param_hint="ID"
        )
    return Wanted(ids=tuple(ids or ()), contract=contract, run=run, rule=rule)


def _exit_code(outcome: Outcome, *, dry_run: bool) -> int:
    failed = [one for one in outcome.replays if one.error is not None]
    if failed and len(failed) == len(outcome.replays):
        return failed[0].exit_code or 1
    left = failed or outcome.unfit or any(one.settled.again for one in outcome.replays)
    return LETTERS_REMAIN if left and not dry_run else 0


def _tell(outcome: Outcome, *, dry_run: bool, json: bool) -> None:
    if json:
        unfit = [{"id": one.letter.id, "why": one.why, "help": one.help} for one in outcome.unfit]
        output.json_data({"replays": [one.to_dict() for one in outcome.replays], "not_replayed": unfit})
        return
    if not outcome.replays and not outcome.unfit:
        output.say("no open dead letters match")
    for one in outcome.replays:
        if one.error is not None:
            output.say(f"error: {_what(one)}: {one.error}")
            if one.error_help:
                output.say(f"  help: {one.error_help}")
        else:
            output.say(f"{_what(one)}: {'would be replayed' if dry_run else _ended(one)}")
    _tell_unfit(outcome.unfit)


def _what(one: Replayed) -> str:
    earlier = " (begun by an earlier command)" if one.finished_earlier else ""
    return f"{_number(one.records, 'record')} of {one.contract}, rejected by {one.of_run}{earlier}"


def _ended(one: Replayed) -> str:
    counts: Any = one.result.counts if one.result is not None else None
    if counts is None:
        return "nothing to do"
    filtered = f", {counts.filtered:,} filtered" if counts.filtered else ""
    again = f", {one.settled.records_again:,} rejected again" if one.settled.records_again else ""
    run_id = one.result.run_id if one.result is not None else ""
    return f"{counts.loaded:,} loaded{filtered}{again} by {run_id}"


def _tell_unfit(unfit: Sequence[Unfit]) -> None:
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in unfit:
        reasons.setdefault((one.why, one.help), []).append(one.letter.id)
    for (why, advice), found in reasons.items():
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5:,} more" if len(found) > 5 else "")
        output.say(f"not replayed: {shown}")
        output.say(f"  {why}")
        output.say(f"  help: {advice}")


def _show_letters(letters: Sequence[DeadLetter]) -> None:
    rows = [(one.id, one.contract, one.location, one.rule, " ".join(one.message.split())) for one in letters]
    output.table(("id", "contract", "location", "rule", "message"), rows, whole=("id",))


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
