"""``etlctl explain``: what a diagnostic code means, why it matters, a bad example and a good one."""

from __future__ import annotations

from textwrap import fill, indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson

if TYPE_CHECKING:
    from etlctl.contract.rules.rule import Rule


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="A code such as E201; all codes if left out.")
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Explain a code that validate prints.

    Examples: etlctl explain  ·  etlctl explain E201
    """
    with output.errors_as_exit_codes():
        from etlctl.contract.rules.registry import all_rules  # noqa: PLC0415 - keeps --help quick

        rules = all_rules()
        if code is None:
            _list(rules, json=json)
            return
        rule = rules.get(code.upper()) or next((rule for rule in rules.values() if rule.name == code.lower()), None)
        if rule is None:
            raise typer.BadParameter(_unknown(code, rules), param_hint="CODE")
        if json:
            output.json_data(_as_json(rule))
        else:
            output.data(_text(rule))


def _unknown(code: str, rules: dict[str, Rule]) -> str:
    from etlctl.contract.suggest import did_you_mean  # noqa: PLC0415

    names = [*rules, *(rule.name for rule in rules.values())]
    return f"there is no code {code!r}: {did_you_mean(code, names, kind='codes')}"


def _list(rules: dict[str, Rule], *, json: bool) -> None:
    if json:
        output.json_data([_as_json(rule) for rule in rules.values()])
        return
    rows = [
        (rule.code.value, rule.name, str(rule.severity), rule.what.split(". ")[0].rstrip("."))
        for rule in rules.values()
    ]
    output.table(("code", "name", "severity", "meaning"), rows)


def _text(rule: Rule) -> str:
    return "\n".join(
        (
            f"{rule.code.value} {rule.name} ({rule.severity})",
            "",
            fill(rule.what, 100),
            "",
            f"Why: {fill(rule.why, 95)}",
            "",
            "Wrong:",
            indent(rule.bad, "  "),
            "Right:",
            indent(rule.good, "  "),
        )
    )


def _as_json(rule: Rule) -> dict[str, Any]:
    return {
        "code": rule.code.value,
        "name": rule.name,
        "severity": str(rule.severity),
        "what": rule.what,
        "why": rule.why,
        "bad": rule.bad,
        "good": rule.good,
    }
