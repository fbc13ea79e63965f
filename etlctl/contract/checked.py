"""A contract on its way from YAML to compiled: what is known so far, and every problem found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from etlctl.contract.document import PathKey
from etlctl.contract.layout import Layout, Part
from etlctl.contract.sections import ContractSection, ExtractEnvelope, InputParam, LoadEnvelope
from etlctl.contract.variables import Resolved
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.loader import Loader
from etlctl.sdk.operation import Operation


@dataclass
class AuthoredStep:
    """A step as the person wrote it.

    Attributes:
        name: ``transform.rename``, ``transform[2].convert``, ``jsonata``.
        type: The operation.
        path: Where its options stand in the transform section.
        value: Its options, raw.
        operation: The operation, once its options are checked; None when they are wrong or belong to user code.
    """

    name: str
    type: str
    path: PathKey
    value: Any
    operation: Operation | None = None


@dataclass
class Checked:
    """What is known of a contract; rules read it and the compiler turns it into a ``Contract``."""

    layout: Layout
    diagnostics: list[Diagnostic] = field(default_factory=list)
    section: ContractSection = field(default_factory=ContractSection)
    envelope: ExtractEnvelope = field(default_factory=ExtractEnvelope)
    load_envelope: LoadEnvelope = field(default_factory=LoadEnvelope)
    extractor: Extractor | None = None
    loader: Loader | None = None
    steps: list[AuthoredStep] = field(default_factory=list)
    declared: dict[str, InputParam] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    resolved: dict[str, Resolved] = field(default_factory=dict)

    def report(self, diagnostic: Diagnostic) -> None:
        """Add a finding."""
        self.diagnostics.append(diagnostic)

    def part(self, section: str) -> Part | None:
        """Return a section, or None when it is absent or broken."""
        return self.layout.sections.get(section)

    @property
    def name(self) -> str:
        """Name of the contract."""
        return self.section.name or self.layout.default_name

    @property
    def complete(self) -> bool:
        """Tell whether everything a run needs is there."""
        return (
            self.extractor is not None
            and self.loader is not None
            and all(step.operation is not None for step in self.steps)
        )
