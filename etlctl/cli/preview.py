"""``etlctl preview``: what would be loaded, without writing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, ContractPath, Params, Record, Replay, RunDate, cassette, parse_params

if TYPE_CHECKING:
    from etlctl.orchestrator.tryout import Tried


def preview(
    contract: ContractPath,
    *,
    param: Params = None,
    run_date: RunDate = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Records to show.")] = 10,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Source records to read.")] = 1000,
    steps: Annotated[bool, typer.Option("--steps", help="Show each source record after every step.")] = False,
    record: Record = None,
    replay: Replay = None,
    json: AsJson = False,
) -> None:
    """Show the first records a run would load; nothing is written, the ledger included.

    With --steps: the first source records, before and after every step, with what changed and why a record left.

    Examples: etlctl preview contracts/flights --limit 5  ·  etlctl preview contracts/orders --steps -n 2
    """
    with output.errors_as_exit_codes():
        import asyncio  # noqa: PLC0415

        from etlctl.orchestrator import ETLOrchestrator  # noqa: PLC0415

        orchestrator = ETLOrchestrator(contract, params=parse_params(param), warn=output.warn)
        date = run_date.date() if run_date else None
        tape = cassette(record, replay)
        tried = asyncio.run(orchestrator.follow(limit if steps else 0, sample=sample, run_date=date, **tape))
        if json:
            output.json_data(_as_json(tried, limit, steps=steps))
        else:
            _show_all(tried, limit, steps=steps)
        _say_counts(tried, len(tried.traces) if steps else min(len(tried.records), limit))
        if not tried.result.success:
            output.fail(tried.result)


def _as_json(tried: Tried, limit: int, *, steps: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "records": tried.records[:limit],
        "rejected": [_letter(letter) for letter in tried.rejected[:limit]],
        "result": tried.result.to_dict(),
    }
    if steps:
        from etlctl.cli import preview_steps  # noqa: PLC0415

        found["steps"] = preview_steps.as_json(tried.traces)
    return found


def _show_all(tried: Tried, limit: int, *, steps: bool) -> None:
    if steps:
        from etlctl.cli import preview_steps  # noqa: PLC0415

        preview_steps.show(tried.traces)
    else:
        _show(tried.records[:limit])
    for letter in tried.rejected[:limit]:
        output.say(f"rejected {letter.location or f'record {letter.index + 1}'}: {letter.message} [{letter.rule}]")


def _say_counts(tried: Tried, shown: int) -> None:
    result, counts = tried.result, tried.result.counts
    duplicates = f"{counts.deduplicated:,} duplicates, " if counts.deduplicated else ""
    added = f" and {counts.added:,} added (copies, parts)" if counts.added else ""
    output.say(
        f"{counts.extracted:,} source records read{added}: {result.would_load:,} would be loaded, {duplicates}"
        f"{counts.filtered:,} filtered, {counts.rejected:,} rejected; {shown:,} shown, nothing written"
    )


def _letter(letter: Any) -> dict[str, Any]:
    return {
        "location": letter.location,
        "step": letter.step,
        "rule": letter.rule,
        "field": letter.field,
        "message": letter.message,
        "raw": letter.raw,
    }


def _show(records: list[dict[str, Any]]) -> None:
    """Show records as a table, or upside down when there are more fields than fit beside each other."""
    if not records:
        output.say("no records would be loaded")
        return
    fields = list(dict.fromkeys(name for record in records for name in record))
    texts = [[_text(record.get(name)) for name in fields] for record in records]
    width = sum(max(len(name), *(len(row[i]) for row in texts)) + 2 for i, name in enumerate(fields))
    if width <= output.console().width:
        output.table(fields, texts)
        return
    for number, row in enumerate(texts, 1):
        output.data(f"-- record {number}")
        indent = max(map(len, fields))
        for name, value in zip(fields, row, strict=True):
            output.data(f"{name:>{indent}}  {value}")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict | list):
        import json  # noqa: PLC0415

        return json.dumps(value, ensure_ascii=False, default=str)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
