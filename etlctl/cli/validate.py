"""``etlctl validate``: every problem of every contract at once, located; nothing runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, Params, RunDate, parse_params
from etlctl.contract.codes import Code
from etlctl.contract.render import Format
from etlctl.contract.suggest import did_you_mean
from etlctl.diagnostics import Severity

if TYPE_CHECKING:
    from etlctl.contract.validation import ValidationReport

_DELIVERY = {
    "exactly_once": "every record arrives exactly once",
    "idempotent_with_key": "every record arrives, repeats are recognised by their key",
    "at_least_once": "every record arrives, some may arrive twice after a crash",
}


def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Contracts, or folders of contracts; the workspace's if left out."),
    ] = None,
    *,
    format: Annotated[Format, typer.Option("--format", help="How findings are written.")] = Format.full,  # noqa: A002
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODE", help="Leave this code out; repeat for more.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OLD", help="Report what changed since an older version: a path, or git:REV for the path as it was."
        ),
    ] = None,
    param: Params = None,
    run_date: RunDate = None,
    json: AsJson = False,
) -> None:
    """Check contracts without running them: every mistake at once, with its place and what to do.

    Examples: etlctl validate contracts/  ·  etlctl validate contracts/orders --format github --ignore E402  ·
    etlctl validate contracts/ --against git:main

    Exit codes: 0 all good (warnings allowed) · 2 no such path · 3 a contract does not hold, or breaks the older version
    """
    with output.errors_as_exit_codes():
        chosen = paths or [Path()]
        for path in chosen:
            if not path.exists():
                raise typer.BadParameter(f"{path} does not exist", param_hint="PATH")
        ignored = [_known_code(code) for code in ignore or ()]

        from etlctl.contract.validation import validate_paths  # noqa: PLC0415 - keeps --help quick

        dated = {"run_date": run_date.date().isoformat()} if run_date else {}
        report = validate_paths(chosen, params={**parse_params(param), **dated}, ignore=ignored, against=against)
        _write(report, Format.json if json else format)
        for note in report.notes:
            output.say(f"note: {note}")
        errors, warnings = report.count(Severity.error), report.count(Severity.warning)
        counted = (
            _count(len(report.contracts), "contract") + " checked",
            _count(errors, "error"),
            _count(warnings, "warning"),
        )
        output.say(", ".join(counted))
        raise typer.Exit(3 if errors else 0)


def _known_code(code: str) -> str:
    known = [known.value for known in Code]
    if code.upper() in known:
        return code.upper()
    help_ = did_you_mean(code.upper(), known, kind="codes")
    raise typer.BadParameter(f"there is no code {code!r}: {help_}", param_hint="--ignore")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def use_color() -> bool:
    """Tell whether stdout takes colour: a terminal, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _write(report: ValidationReport, chosen: Format) -> None:
    from etlctl import __version__  # noqa: PLC0415
    from etlctl.contract import render  # noqa: PLC0415

    found = report.diagnostics
    if chosen is Format.json:
        output.json_data(_json(report))
    elif chosen is Format.sarif:
        output.data(render.sarif(found, version=__version__))
    elif chosen is Format.full:
        _write_full(report)
    elif found:
        output.data(render.github(found) if chosen is Format.github else render.concise(found))


def _write_full(report: ValidationReport) -> None:
    from etlctl.contract import render  # noqa: PLC0415

    found = report.diagnostics
    if found:
        output.data(render.full(found, color=use_color()) + "\n")
    for contract in report.contracts:
        if contract.valid:
            promise = f": delivery {contract.delivery}, {_DELIVERY[contract.delivery]}" if contract.delivery else ""
            output.data(f"{contract.path} is valid{promise}")
            for name, delivery in contract.destinations.items():
                output.data(f"  {name}: {delivery}, {_DELIVERY.get(delivery, 'its code is not run by validate')}")


def _each(destinations: Mapping[str, str]) -> dict[str, Any]:
    """Return what each of several destinations promises; nothing when there is one."""
    each = [{"name": name, "delivery": delivery} for name, delivery in destinations.items()]
    return {"destinations": each} if each else {}


def _json(report: ValidationReport) -> dict[str, Any]:
    from etlctl.contract.render import as_json  # noqa: PLC0415

    return {
        "contracts": [
            {
                "path": contract.path,
                "name": contract.name,
                "valid": contract.valid,
                "delivery": contract.delivery,
                **_each(contract.destinations),
            }
            for contract in report.contracts
        ],
        "diagnostics": as_json(report.diagnostics),
        "errors": report.count(Severity.error),
        "warnings": report.count(Severity.warning),
    }
