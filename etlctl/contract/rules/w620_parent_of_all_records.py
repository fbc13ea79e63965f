"""Rule W620: parent-of-all-records."""

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
        if part is None or made is None or not made.whole or "%" not in made.text:
            continue
        from etlctl.jsonata.lint import parents  # noqa: PLC0415 - only contracts with JSONata pay for it

        for doubt in parents(made.text):
            message = "'%' in batch mode is slow: it carries the array of all records along for each of them"
            span = part.inside((*step.path, made.option), doubt.start, doubt.end)
            help_ = "keep what it looks for in a variable ($all := $), or bind the item above with '@$name'"
            yield Code.parent_of_all_records.at(part.file, span, message, help=help_)


RULE = Rule(
    code=Code.parent_of_all_records,
    what="A JSONata expression in batch mode uses the parent operator '%'.",
    why="Time and memory grow with the square of the number of records when the parent is the array of all.",
    bad=(
        "# extract.yaml\nprocessing_mode: full\n"
        "# transform.yaml\njsonata: {expression: '$.items.{\"order\": %.id}', mode: batch}\n"
    ),
    good=(
        "# extract.yaml\nprocessing_mode: full\n"
        "# transform.yaml\njsonata: {expression: '$@$order.$order.items.{\"order\": $order.id}', mode: batch}\n"
    ),
    check=_check,
)
