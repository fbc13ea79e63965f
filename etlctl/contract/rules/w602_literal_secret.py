"""Rule W602: literal-secret."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.layout import Part
from etlctl.contract.rules.rule import Rule
from etlctl.contract.variables import literal_secrets
from etlctl.diagnostics import Diagnostic


def _check(checked: Checked) -> Iterator[Diagnostic]:
    for section in ("extract", "load"):
        part = checked.part(section)
        for path, _secret, start, end in literal_secrets(part.data) if part is not None else ():
            if part is not None:
                name = next((key for key in reversed(path) if isinstance(key, str)), section)
                yield _found(part, path, start, end, name)
    part = checked.part("transform")
    for step in checked.steps if part is not None else ():
        names = step.operation.variables if step.operation is not None else ()
        for path, _secret, start, end in literal_secrets(step.value, step.path):
            if part is not None and path[-1] in names:
                yield _found(part, path, start, end, str(path[-1]))


def _found(part: Part, path: PathKey, start: int, end: int, name: str) -> Diagnostic:
    message = f"a secret stands in {name!r} as plain text"
    help_ = "write ${secret:NAME} or ${env:NAME}, and change the secret if this file was ever shared"
    return Code.literal_secret.at(part.file, part.inside(path, start, end), message, help=help_)


RULE = Rule(
    code=Code.literal_secret,
    what="A password, token or key stands in the contract as plain text.",
    why=(
        "Contracts are committed and shared; a secret in them is public. Keep it in the environment or in"
        " .etlctl/secrets."
    ),
    bad='auth: {type: bearer, token: "abc123"}\n',
    good='auth: {type: bearer, token: "${secret:API_TOKEN}"}\n',
    check=_check,
)
