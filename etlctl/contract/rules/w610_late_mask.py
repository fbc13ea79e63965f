"""Rule W610: late-mask."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.contract.checked import AuthoredStep, Checked
from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.concealing import Concealing


def _check(checked: Checked) -> Iterator[Diagnostic]:
    part = checked.part("transform")
    before: AuthoredStep | None = None
    for step in checked.steps if part is not None else ():
        if not isinstance(step.operation, Concealing):
            before = before or step
        elif before is not None and part is not None:
            message = f"step {before.name} sees the plain values of what {step.name} masks"
            help_ = "make it the first step; as it is, nothing is kept of rejected records and they cannot be replayed"
            yield Code.late_mask.at(part.file, part.key_span(step.path), message, help=help_)


RULE = Rule(
    code=Code.late_mask,
    what="Personal data is masked after other steps have seen it.",
    why=(
        "What a step sees can get into its messages, into other fields and, by a function of your own, anywhere. And"
        " nobody knows any more where in the source record the values came from: a rejected record is concealed as a"
        " whole, and cannot be replayed."
    ),
    bad="# transform.yaml\ntransform:\n- rename: {mail: email}\n- mask: {email: redact}\n",
    good="# transform.yaml\ntransform:\n- mask: {mail: redact}\n- rename: {mail: email}\n",
    check=_check,
)
