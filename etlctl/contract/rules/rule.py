"""What a rule is: a code, the words that explain it, and for lint rules the check itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.diagnostics import Diagnostic, Severity
from etlctl.frozen import frozen

Check = Callable[[Checked], Iterable[Diagnostic]]


@frozen
class Rule:
    """Everything ``etlctl explain CODE`` says about a code.

    Attributes:
        code: The code.
        what: What the finding means, in a sentence or two.
        why: Why it matters.
        bad: A contract, or a part of one, that has it.
        good: The same without it.
        check: Finds it in a contract whose parts hold by themselves; None when reading or compiling finds it.
    """

    code: Code
    what: str
    why: str
    bad: str
    good: str
    check: Check | None = None

    @property
    def name(self) -> str:
        """Name for people, such as ``unknown-key``."""
        return self.code.name.replace("_", "-")

    @property
    def severity(self) -> Severity:
        """Error, warning or info."""
        return self.code.severity
