"""``etlctl preview``: what would be loaded, without writing anything."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, ContractPath, Params, parse_params


def preview(
    contract: ContractPath,
    *,
    param: Params = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Records to show.")] = 10,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Source records to read.")] = 1000,
    json: AsJson = False,
) -> None:
    """Show the first records a run would load; nothing is written, the ledger included.

    Example: etlctl preview contracts/flights --limit 5
    """
    with output.errors_as_exit_codes():
        import asyncio  # noqa: PLC0415

        from etlctl.orchestrator import ETLOrchestrator  # noqa: PLC0415

        orchestrator = ETLOrchestrator(contract, params=parse_params(param), warn=output.warn)
        records, rejected, result = asyncio.run(orchestrator.preview(sample=sample))
        shown = records[:limit]
        if json:
            output.json_data(
                {
                    "records": shown,
                    "rejected": [_letter(letter) for letter in rejected[:limit]],
                    "result": result.to_dict(),
                }
            )
        else:
            _show(shown)
            for letter in rejected[:limit]:
                output.say(
                    f"rejected {letter.location or f'record {letter.index + 1}'}: {letter.message} [{letter.rule}]"
                )
        counts = result.counts
        output.say(
            f"{counts.extracted:,} source records read: {result.would_load:,} would be loaded, "
            f"{counts.filtered:,} filtered, {counts.rejected:,} rejected; {len(shown):,} shown, nothing written"
        )
        if not result.success:
            output.fail(result)


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
