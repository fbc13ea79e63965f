"""A diagnostic: one located finding about a contract. A plain value; rendering lives in ``etlctl.contract``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from etlctl.frozen import frozen


class Severity(StrEnum):
    """How bad a finding is; only errors keep a contract from running."""

    error = "error"
    warning = "warning"
    info = "info"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where a finding is: 1-based line and column, end exclusive, columns in characters."""

    line: int
    column: int
    end_line: int
    end_column: int


@frozen
class Diagnostic:
    """One finding.

    Attributes:
        code: Stable code such as ``E201``; ``etlctl explain CODE`` tells more.
        severity: Error, warning, or info: good to know.
        file: Path as the user wrote it (relative stays relative).
        span: Where in the file; None when the finding is about the file as a whole.
        message: What is wrong, naming the offending value.
        help: What to do, often a "did you mean".
        related: Other places that explain the finding, as (file, span, note).
    """

    code: str
    severity: Severity
    file: str
    span: Span | None
    message: str
    help: str | None = None
    related: tuple[tuple[str, Span, str], ...] = field(default=())

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        """Order of appearance: file, line, column, code."""
        line, column = (self.span.line, self.span.column) if self.span else (0, 0)
        return (self.file, line, column, self.code)
