"""Rule W611: unkeyed-mask."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.concealing import Concealing


def _check(checked: Checked) -> Iterator[Diagnostic]:
    part = checked.part("transform")
    for step in checked.steps if part is not None else ():
        if part is None or not isinstance(step.operation, Concealing):
            continue
        for name in step.operation.guessable:
            message = f"field {name!r} is hashed without a key: possible values can be tried until one fits"
            path = part.nearest((*step.path, "fields", name))
            help_ = 'give it a key: {method: hash, key: "${secret:MASK_KEY}"}'
            yield Code.unkeyed_mask.at(part.file, part.key_span(path), message, help=help_)


RULE = Rule(
    code=Code.unkeyed_mask,
    what="Personal data is hashed without a secret key.",
    why=(
        "Addresses, names and numbers can be listed. Whoever hashes such a list the same way finds out which value"
        " stands behind each hash; with a key only its owner can."
    ),
    bad="# transform.yaml\ntransform:\n- mask: {email: {method: hash, unkeyed: true}}\n",
    good='# transform.yaml\ntransform:\n- mask: {email: {method: hash, key: "${secret:MASK_KEY}"}}\n',
    check=_check,
)
