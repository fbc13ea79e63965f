"""A contract on its way from YAML to compiled: what is known so far, and every problem found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from etlctl.contract.document import PathKey
from etlctl.contract.layout import Layout, Part
from etlctl.contract.sections import ContractSection, ExtractEnvelope, InputParam, LoadEnvelope, TransformEnvelope
from etlctl.contract.variables import Resolved
from etlctl.cursor import Increment
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.fields import FieldSet
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
    unusable: bool = False
    """It could not even be read as a step; it stands where it would run."""


@dataclass
class Checked:
    """What is known of a contract; rules read it and the compiler turns it into a ``Contract``.

    Of several destinations, ``wheres`` are their conditions, ``destinations`` the loaders that are known, by their
    place in the list, ``load_types`` their types and ``deliveries`` what each of them promises, by name.
    ``increment`` is what an incremental run goes by.
    """

    layout: Layout
    diagnostics: list[Diagnostic] = field(default_factory=list)
    section: ContractSection = field(default_factory=ContractSection)
    envelope: ExtractEnvelope = field(default_factory=ExtractEnvelope)
    load_envelope: LoadEnvelope = field(default_factory=LoadEnvelope)
    transform_envelope: TransformEnvelope = field(default_factory=TransformEnvelope)
    extractor: Extractor | None = None
    loader: Loader | None = None
    wheres: list[AuthoredStep] = field(default_factory=list)
    destinations: list[tuple[int, Loader]] = field(default_factory=list)
    load_types: tuple[str, ...] = ()
    deliveries: dict[str, str] = field(default_factory=dict)
    steps: list[AuthoredStep] = field(default_factory=list)
    declared: dict[str, InputParam] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    increment: Increment | None = None
    resolved: dict[str, Resolved] = field(default_factory=dict)
    fields: FieldSet = field(default_factory=FieldSet)
    """The fields that come out of the steps, as far as that can be told."""

    def report(self, diagnostic: Diagnostic) -> None:
        """Add a finding."""
        self.diagnostics.append(diagnostic)

    def part(self, section: str) -> Part | None:
        """Return a section, or None when it is absent or broken."""
        return self.layout.sections.get(section)

    def unreadable(self, section: str) -> bool:
        """Tell whether the file of a section is not what was meant: nothing can be said of what is in it, or is not."""
        return self.layout.is_broken(section)

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
