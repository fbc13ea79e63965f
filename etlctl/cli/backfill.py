"""``etlctl backfill``: an incremental contract run once for each range of its cursor field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, ContractPath, Params, Quiet, parse_params

if TYPE_CHECKING:
    from etlctl.engine.services import StopRequest
    from etlctl.orchestrator.backfill import Backfill, Range
    from etlctl.orchestrator.multiple import MultipleResult


def backfill(
    contract: ContractPath,
    *,
    low: Annotated[str, typer.Option("--from", help="Where the first range begins, itself included.")],
    high: Annotated[str, typer.Option("--to", help="Where the last range ends, itself left out.")],
    window: Annotated[str, typer.Option(help="How long a range is: 1d, 12h, 1w, or a number where the cursor is one.")],
    param: Params = None,
    concurrency: Annotated[int, typer.Option(help="How many ranges run at once.", min=1)] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the ranges and how each stands; run nothing.")
    ] = False,
    move_cursor: Annotated[
        bool,
        typer.Option("--move-cursor", help="When all ranges are done, let ordinary runs go on behind the last one."),
    ] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run an incremental contract once for each range [a, b) of its cursor field.

    Each range is a run of its own: the same command again skips those that are done and resumes those that failed. The
    contract's own cursor stays where it is, unless --move-cursor says otherwise; where ordinary runs have loaded the
    same records before, a destination by key (write_method: upsert) keeps them from coming twice.

    Examples: etlctl backfill contracts/orders --from 2024-01-01 --to 2024-02-01 --window 1d  ·  etlctl backfill
    contracts/events --from 0 --to 1000000 --window 100000 --concurrency 2

    Exit codes: 0 all good · 4 some failed or rejected records · 1 all failed · 3 contract invalid · 130/143 signals
    """
    with output.errors_as_exit_codes():
        from etlctl.orchestrator import ETLOrchestrator  # noqa: PLC0415
        from etlctl.orchestrator.backfill import Backfill  # noqa: PLC0415

        filling = Backfill(ETLOrchestrator(contract, warn=output.warn), low, high, window, params=parse_params(param))
        if dry_run:
            _list(filling.planned(), json=json)
            return
        _run(filling, concurrency, move_cursor=move_cursor, json=json, quiet=quiet)


def _list(ranges: list[Range], *, json: bool) -> None:
    if json:
        output.json_data([one.to_dict() for one in ranges])
        return
    columns = ("from", "to", "status", "run")
    output.table(columns, [(one.low, one.high, one.status, one.run_id) for one in ranges], whole=columns)
    output.say(f"{len(ranges):,} ranges, {sum(one.status == 'new' for one in ranges):,} not run yet")


def _run(filling: Backfill, concurrency: int, *, move_cursor: bool, json: bool, quiet: bool) -> None:
    from etlctl.cli.multiple import exit_code  # noqa: PLC0415
    from etlctl.cli.signals import run_until_signal  # noqa: PLC0415

    asked: list[StopRequest] = []
    done = 0

    def ended(_number: int, result: MultipleResult) -> None:
        nonlocal done
        done += 1
        if not quiet:
            output.say(f"[{done}/{len(filling.ranges)}] {_named(result)}: {_outcome(result)}")

    async def work(stop: StopRequest) -> list[MultipleResult]:
        asked.append(stop)
        results = await filling.run({}, at_once=concurrency, stop=stop, ended=ended)
        if move_cursor and all(result.success for result in results) and await filling.move_cursor() and not quiet:
            output.say(f"ordinary runs go on from {filling.ranges[-1].high}")
        return results

    results = run_until_signal(work)
    _tell(results, json=json, quiet=quiet)
    raise typer.Exit(asked[0].exit_code if asked[0].requested else exit_code(results))


def _tell(results: list[MultipleResult], *, json: bool, quiet: bool) -> None:
    if json:
        output.json_data([result.to_dict() for result in results])
    good = sum(result.success for result in results)
    if not quiet:
        records = sum(result.records for result in results)
        output.say(f"{good:,} of {len(results):,} ranges are done, {records:,} records loaded in all")
    for result in results:
        if not result.success:
            output.say(f"error: {_named(result)}: {result.error}")
            if result.error_help:
                output.say(f"  help: {result.error_help}")
    if good < len(results) and not quiet:
        output.say("the same command again skips what is done and resumes what failed")


def _named(result: MultipleResult) -> str:
    return f"{result.params['from']} .. {result.params['to']}"


def _outcome(result: MultipleResult) -> str:
    if not result.success or result.result is None:
        return f"failed: {result.error}"
    if result.result.reused:
        return "done before"
    rejected = result.result.counts.rejected
    return f"{result.result.status}, {result.records:,} records" + (f", {rejected:,} rejected" if rejected else "")
