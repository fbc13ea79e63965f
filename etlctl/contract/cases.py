"""The cases of a contract: from ``cases.yaml`` beside it, or ``cases:`` in a single file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from etlctl.contract.codes import Code
from etlctl.contract.document import Document
from etlctl.contract.explanations import Place
from etlctl.contract.layout import CASES_KEY, PIPELINE, SECTION_FILES, Part, shown_path
from etlctl.contract.nodes import read_document
from etlctl.contract.options import check_options
from etlctl.contract.sections import Section
from etlctl.diagnostics import Diagnostic, Span
from etlctl.frozen import frozen

CASES_FILE = "cases.yaml"
DEFAULT_NOW = datetime(2000, 1, 1, tzinfo=UTC)
"""The instant of a case that does not name one: the same every day."""


class CaseFile(Section):
    """A file that holds records."""

    file: str = Field(min_length=1)
    """Path of the file, relative to the contract's folder."""


class RejectedRecord(Section):
    """A record that must be rejected."""

    rule: str = Field(min_length=1)
    """The rule it breaks, such as ``convert.integer``."""
    index: int | None = Field(default=None, ge=0)
    """Which of the given records, from 0; any when left out."""
    field: str | None = None
    """The field concerned; any when left out."""
    message: str | None = None
    """A part of the message; any when left out."""


class Case(Section):
    """One case: what is given, and what must come of it."""

    name: str = Field(min_length=1)
    """What the case shows, in a few words; each case of a contract has another name."""
    given: list[dict[str, Any]] | CaseFile
    """The source records, or ``{file: sample.csv}``: read as the contract reads its own files."""
    sources: dict[str, list[dict[str, Any]] | CaseFile] = Field(default_factory=dict)
    """What steps that read a source of their own get from it, by step: ``{join: [{id: 1}]}`` or ``{join: {file: right.csv}}``. Local files are read where nothing is given."""  # noqa: E501
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the run; ``run_date`` is one."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables the contract refers to."""
    now: str | None = None
    """The instant of the run, such as ``2026-03-01T12:00:00Z``; 2000-01-01 when left out, so that no day differs."""
    expect: list[dict[str, Any]] | CaseFile | None = None
    """The records that would be loaded, or ``{file: expected.jsonl}``. A null is as good as no field; dates and decimals are written as text."""  # noqa: E501
    unordered: bool = False
    """The expected records may come in any order."""
    ignore: list[str] = Field(default_factory=list)
    """Fields not to compare, such as one that holds ``uuid()``."""
    rejected: list[str | RejectedRecord] | None = None
    """Rejected records in any order, each as its rule or as ``{rule, index, field, message}``; none when left out."""
    filtered: int | None = Field(default=None, ge=0)
    """How many records are dropped on purpose; not compared when left out."""
    error: str | None = Field(default=None, min_length=1)
    """The run must fail, and its message hold this text."""

    @field_validator("now")
    @classmethod
    def _is_an_instant(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                datetime.fromisoformat(value).astimezone(UTC)
            except (ValueError, OverflowError):
                raise ValueError(f"{value!r} is no instant; write it as 2026-03-01T12:00:00Z") from None
        return value

    @model_validator(mode="after")
    def _expects_one_thing(self) -> Case:
        if self.error is not None and (self.expect is not None or self.rejected is not None):
            raise ValueError("a run that fails loads nothing: expect error: alone, without expect: and rejected:")
        return self

    @property
    def instant(self) -> datetime:
        """The instant of the run, UTC."""
        if self.now is None:
            return DEFAULT_NOW
        given = datetime.fromisoformat(self.now)
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)

    @property
    def refusals(self) -> list[RejectedRecord]:
        """The records that must be rejected."""
        return [RejectedRecord(rule=one) if isinstance(one, str) else one for one in self.rejected or ()]

    @property
    def says_nothing(self) -> bool:
        """It has no word on what must come."""
        said = (self.expect, self.rejected, self.filtered, self.error)
        return all(one is None for one in said)


@frozen
class LocatedCase:
    """A case, and where it stands.

    Attributes:
        case: The case.
        part: Where it is in which file.
    """

    case: Case
    part: Part

    @property
    def span(self) -> Span | None:
        """Where its name stands."""
        return self.part.value_span(("name",))


@dataclass
class ContractCases:
    """The cases of one contract.

    Attributes:
        contract: The contract, as the user would name it.
        base_dir: Folder that paths in the cases start at.
        cases: In the order they are written.
        diagnostics: What is wrong with them.
        files: The files they stand in.
    """

    contract: Path
    base_dir: Path
    cases: list[LocatedCase] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    files: list[Document] = field(default_factory=list)


def read_cases(contract: Path) -> ContractCases:
    """Read the cases of a contract; whatever is wrong with them is in ``diagnostics``.

    Args:
        contract: Its folder, or its single file.
    """
    folder = contract if contract.is_dir() else contract.parent
    found = ContractCases(contract, folder.resolve())
    for part in _parts(contract, found):
        _read_part(part, found)
    _check_names(found)
    found.diagnostics.sort(key=lambda one: one.sort_key)
    return found


def _parts(contract: Path, found: ContractCases) -> Iterator[Part]:
    single = contract / PIPELINE if contract.is_dir() else contract
    if single.is_file() and single.name not in SECTION_FILES.values():
        document = read_document(single, shown_path(single))
        # What else is wrong with that file is found when the contract is compiled.
        if isinstance(document.data, dict) and CASES_KEY in document.data:
            found.files.append(document)
            yield Part(document, document.data[CASES_KEY], (CASES_KEY,))
    beside = contract / CASES_FILE if contract.is_dir() else None
    if beside is not None and beside.is_file():
        document = read_document(beside, shown_path(beside))
        found.files.append(document)
        found.diagnostics += document.problems
        if document.root is not None:
            yield Part(document, document.data)


def _read_part(part: Part, found: ContractCases) -> None:
    if not isinstance(part.data, list):
        message = "cases must be a list: each begins with '- name: …'"
        found.diagnostics.append(Code.wrong_type.at(part.file, part.value_span(()), message))
        return
    for number, data in enumerate(part.data):
        own = Part(part.document, data, (*part.prefix, number))
        case = check_options(Case, data, Place(own, "the case"), found.diagnostics.append)
        if case is not None:
            found.cases.append(LocatedCase(case, own))


def _check_names(found: ContractCases) -> None:
    seen: dict[str, LocatedCase] = {}
    for one in found.cases:
        first = seen.setdefault(one.case.name, one)
        if first is not one:
            message = f"two cases are called {one.case.name!r}"
            related = ((first.part.file, first.span, "the first one"),) if first.span is not None else ()
            help_ = "give each case its own name: reports and -k go by it"
            found.diagnostics.append(
                Code.invalid_value.at(one.part.file, one.span, message, help=help_, related=related)
            )
