"""``etlctl test``: run the cases beside contracts, and show what differs, field by field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson

if TYPE_CHECKING:
    from etlctl.contract.cases import ContractCases
    from etlctl.orchestrator.case_rows import RowDifference
    from etlctl.orchestrator.case_run import CaseResult
    from etlctl.orchestrator.case_suite import CasesUpdate

_SHOWN = 20
_LONGEST = 300


def cases(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Contracts, or folders of contracts; the workspace's if left out."),
    ] = None,
    *,
    update: Annotated[
        bool, typer.Option("--update", help="Write what came into the cases that failed; read it before you commit it.")
    ] = False,
    pattern: Annotated[
        str | None, typer.Option("-k", metavar="TEXT", help="Only cases with this text in the contract or the name.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Run the cases of contracts (cases.yaml): records given, records expected; nothing is written or fetched.

    Examples: etlctl test  ·  etlctl test contracts/orders -k refund  ·  etlctl test contracts/orders --update

    Exit codes: 0 all pass · 1 some do not · 2 no such path · 3 a cases.yaml or a contract does not hold
    """
    with output.errors_as_exit_codes():
        chosen_paths = paths or [Path()]
        for path in chosen_paths:
            if not path.exists():
                raise typer.BadParameter(f"{path} does not exist", param_hint="PATH")

        from etlctl.orchestrator.case_suite import CasesUpdate, chosen, find_cases, run_cases  # noqa: PLC0415

        found = find_cases(chosen_paths)
        _refuse_broken(found, json=json)
        chosen(found, pattern)
        results = []
        for result in run_cases(found, output.warn):
            results.append(result)
            if not json:
                _show(result)
        changes = CasesUpdate()
        if update:
            changes.write(results)
        if json:
            output.json_data(_json(results, changes))
        _tell_update(changes)
        _summary(found, results, changes, pattern)
        raise typer.Exit(_exit_code(results, changes))


def _refuse_broken(found: Sequence[ContractCases], *, json: bool) -> None:
    """Show what is wrong with the files of cases, and leave.

    Raises:
        typer.Exit: Something is.
    """
    problems = [problem for one in found for problem in one.diagnostics]
    if not problems:
        return
    from etlctl.contract import render  # noqa: PLC0415

    if json:
        output.json_data({"cases": [], "diagnostics": render.as_json(problems)})
    else:
        output.data(render.full(problems) + "\n")
    output.say(f"no case was run: {_count(len(problems), 'mistake')} in the cases")
    raise typer.Exit(3)


def _exit_code(results: Sequence[CaseResult], changes: CasesUpdate) -> int:
    updated = {id(one) for one in changes.updated}
    bad = [one for one in results if one.verdict.value != "passed" and id(one) not in updated]
    if any(one.diagnostics for one in bad):
        return 3
    return 1 if bad else 0


# --- text --------------------------------------------------------------------------------------------------------


def _show(result: CaseResult) -> None:
    word = {"passed": "pass", "failed": "FAIL", "error": "ERROR"}[result.verdict.value]
    output.data(f"{word:<5} {result.contract.as_posix()}: {result.name}")
    if result.verdict.value == "passed":
        return
    output.data(f"      {result.place}")
    for difference in result.rows[:_SHOWN]:
        _show_row(difference)
    if len(result.rows) > _SHOWN:
        output.data(f"      … and {len(result.rows) - _SHOWN:,} more records that differ")
    for problem in result.problems:
        output.data(f"      {problem}")
    if result.diagnostics:
        from etlctl.contract import render  # noqa: PLC0415

        for line in render.concise(result.diagnostics).splitlines():
            output.data(f"      {line}")
    if result.help:
        output.data(f"      help: {result.help}")
    output.data("")


def _show_row(row: RowDifference) -> None:
    if row.actual is None:
        output.data(f"      expect[{row.expected}] did not come: {_text(row.record)}")
        return
    if row.expected is None:
        output.data(f"      record {row.actual} came, and nobody expects it: {_text(row.record)}")
        return
    came = f" (came as record {row.actual})" if row.actual != row.expected else ""
    output.data(f"      expect[{row.expected}]{came}")
    width = max(len(change.field) for change in row.changes)
    for change in row.changes:
        expected = "no value" if change.change.value == "added" else _text(change.before)
        got = "no value" if change.change.value == "removed" else _text(change.after)
        output.data(f"        {change.field:<{width}}  expected {expected}")
        output.data(f"        {'':<{width}}  got      {got}")


def _text(value: Any) -> str:
    import json  # noqa: PLC0415

    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _tell_update(changes: CasesUpdate) -> None:
    for path in dict.fromkeys(changes.written):
        output.say(f"updated {path.as_posix()}")
    for result, why in changes.left:
        output.say(f"not updated: {result.contract.as_posix()}: {result.name}: {why}")


def _summary(
    found: Sequence[ContractCases], results: Sequence[CaseResult], changes: CasesUpdate, pattern: str | None
) -> None:
    passed = sum(one.verdict.value == "passed" for one in results)
    parts = [f"{passed:,} of {_count(len(results), 'case')} passed"]
    if changes.updated:
        parts.append(f"{len(changes.updated):,} updated")
    if not results:
        parts = [
            f"no case matches -k {pattern}" if pattern is not None else "no cases: write cases.yaml beside a contract"
        ]
    without = [one.contract.as_posix() for one in found if not one.files] if pattern is None else []
    if without:
        parts.append(f"without cases: {', '.join(without)}")
    output.say("; ".join(parts))


# --- JSON --------------------------------------------------------------------------------------------------------


def _json(results: Sequence[CaseResult], changes: CasesUpdate) -> dict[str, Any]:
    updated = {id(one) for one in changes.updated}
    return {
        "cases": [{**_result(one), "updated": id(one) in updated} for one in results],
        "passed": sum(one.verdict.value == "passed" for one in results),
        "failed": sum(one.verdict.value == "failed" for one in results),
        "errors": sum(one.verdict.value == "error" for one in results),
    }


def _result(result: CaseResult) -> dict[str, Any]:
    from etlctl.contract import render  # noqa: PLC0415

    span = result.located.span
    return {
        "contract": result.contract.as_posix(),
        "name": result.name,
        "verdict": result.verdict.value,
        "file": result.located.part.file,
        "line": span.line if span is not None else None,
        "differences": [
            {
                "expected": one.expected,
                "actual": one.actual,
                "record": one.record,
                "changes": [
                    {"field": change.field, "expected": change.before, "actual": change.after} for change in one.changes
                ],
            }
            for one in result.rows
        ],
        "problems": result.problems,
        "help": result.help,
        "diagnostics": render.as_json(result.diagnostics),
        "filtered": result.filtered,
        "rejected": [
            {"index": one.index, "rule": one.rule, "field": one.field, "message": one.message}
            for one in result.refusals
        ],
        "seconds": round(result.seconds, 6),
    }
