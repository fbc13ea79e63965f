"""Rule W621: jsonata-call."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.evaluating import Evaluating


def _check(checked: Checked) -> Iterator[Diagnostic]:
    part = checked.part("transform")
    for step in checked.steps if part is not None else ():
        made = step.operation.evaluated() if isinstance(step.operation, Evaluating) else None
        if part is None or made is None or "(" not in made.text:
            continue
        from etlctl.jsonata.lint import wrong_calls  # noqa: PLC0415 - only contracts with JSONata pay for it

        for doubt in wrong_calls(made.text, made.bindings):
            span = part.inside((*step.path, made.option), doubt.start, doubt.end)
            yield Code.jsonata_call.at(part.file, span, f"{doubt.message}: the call fails", help=doubt.help)


RULE = Rule(
    code=Code.jsonata_call,
    what="A JSONata expression calls a function that does not exist, or with more arguments than it takes.",
    why="Every record for which the call is made is rejected; in batch mode the run fails.",
    bad="# transform.yaml\ntransform:\n- jsonata: {expression: '{\"total\": $sumx(items.price)}'}\n",
    good="# transform.yaml\ntransform:\n- jsonata: {expression: '{\"total\": $sum(items.price)}'}\n",
    check=_check,
)
