"""Rule W601: batch-step-in-streaming."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule
from etlctl.diagnostics import Diagnostic
from etlctl.run import ProcessingMode
from etlctl.sdk.operation import Scope


def _check(checked: Checked) -> Iterator[Diagnostic]:
    part, mode = checked.part("transform"), checked.envelope.processing_mode
    if part is None or mode is ProcessingMode.full:
        return
    for step in checked.steps:
        operation = step.operation
        if operation is not None and operation.scope is Scope.batch and not operation.by_batch:
            message = f"step {step.name} works on whole batches, but in {mode} mode it sees one batch at a time"
            help_ = "set 'processing_mode: full' in extract.yaml, or make the step work record by record"
            yield Code.batch_step_in_streaming.at(part.file, part.key_span(step.path), message, help=help_)


RULE = Rule(
    code=Code.batch_step_in_streaming,
    what=(
        "A step that must see the whole data set sees only one batch at a time, because the mode is "
        "streaming or hybrid."
    ),
    why="A total, a ranking or a de-duplication is then one per batch, and changes with batch_size.",
    bad=(
        "# extract.yaml\n"
        "processing_mode: streaming\n"
        "# transform.yaml\n"
        'jsonata: {expression: "$sum(amount)", mode: batch}\n'
    ),
    good=(
        '# extract.yaml\nprocessing_mode: full\n# transform.yaml\njsonata: {expression: "$sum(amount)", mode: batch}\n'
    ),
    check=_check,
)
