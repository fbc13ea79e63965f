"""Runs one case of a contract through the real engine, and says what is not as it should be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.catalog import Catalog, find_workspace
from etlctl.clock import FixedClock
from etlctl.contract.cases import Case, CaseFile, LocatedCase
from etlctl.contract.codes import Code
from etlctl.contract.compile import load_contract
from etlctl.diagnostics import Diagnostic, Severity
from etlctl.errors import ContractError, EtlctlError, FatalError
from etlctl.frozen import frozen
from etlctl.orchestrator.case_rows import Comparison, RowDifference, case_value, compare_rows
from etlctl.orchestrator.case_source import GivenRecords, given_steps, read_expected, source_of_file
from etlctl.orchestrator.run_options import RunOptions
from etlctl.orchestrator.tryout import Tried, try_out
from etlctl.types import to_text

if TYPE_CHECKING:
    from etlctl.batch import Record
    from etlctl.contract.model import Contract
    from etlctl.run import DeadLetter

_UNSET = re.compile(r"\$\{(?:env|secret):([^}]+)\}|(secret) '([^']+)'|variable '([^']+)'")
_PLACEHOLDER = "unset-in-this-case"


class Verdict(StrEnum):
    """How a case went."""

    passed = "passed"
    failed = "failed"
    """Something else came than was expected."""
    error = "error"
    """It could not be judged: the contract does not hold, or the run failed and was not meant to."""


@frozen(kw_only=True)
class Refusal:
    """A record that was rejected.

    Attributes:
        index: Which of the given records, from 0.
        rule: The rule it broke.
        field: The field concerned.
        message: What is wrong with it.
        location: Where it stands.
    """

    index: int
    rule: str
    field: str | None
    message: str
    location: str | None

    def __str__(self) -> str:
        return f"{self.location or f'given[{self.index}]'}: {self.message} [{self.rule}]"


@dataclass(slots=True)
class CaseResult:
    """How a case went.

    Attributes:
        located: The case.
        contract: The contract, as the user named it.
        verdict: How it went.
        compared: The records that came, held against those expected.
        problems: What else is wrong, one sentence each.
        help: What to do about an error.
        diagnostics: What is wrong with the contract.
        actual: The records that came, as a case writes them.
        refusals: The records that were rejected.
        filtered: Records dropped on purpose.
        seconds: How long it took.
    """

    located: LocatedCase
    contract: Path
    verdict: Verdict = Verdict.passed
    compared: Comparison = field(default_factory=Comparison)
    problems: list[str] = field(default_factory=list)
    help: str | None = None
    diagnostics: Sequence[Diagnostic] = ()
    actual: list[Any] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    filtered: int = 0
    seconds: float = 0.0

    @property
    def rows(self) -> Sequence[RowDifference]:
        """Differences between the records expected and those that came."""
        return self.compared.differences

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.located.case.name

    @property
    def place(self) -> str:
        """``file:line:column`` of the case."""
        span, file = self.located.span, self.located.part.file
        return f"{file}:{span.line}:{span.column}" if span is not None else file


async def run_case(
    contract_path: Path, located: LocatedCase, *, warn: Callable[[str], None] = lambda _message: None
) -> CaseResult:
    """Run a case. Nothing is written and nothing is fetched: the case stands in for source and destination.

    Args:
        contract_path: The contract.
        located: The case.
        warn: Reports something the user should know.
    """
    result, case = CaseResult(located, contract_path), located.case
    try:
        contract = _contract(contract_path, case)
        expected = _expected(contract, case)
        tried = await _run(contract, case, warn)
    except ContractError as error:
        result.diagnostics = [one for one in error.diagnostics if one.severity is Severity.error]
        return _unjudged(result, str(error), error.help)
    except EtlctlError as error:
        return _unjudged(result, str(error), error.help)
    result.filtered = tried.result.counts.filtered
    result.actual = [case_value(record) for record in tried.records]
    result.refusals = [_refusal(letter, contract.envelope.batch_size) for letter in tried.rejected]
    ended = tried.result
    if ended.error is not None:
        if case.error is None:
            return _unjudged(result, f"the run failed: {ended.error}", ended.error_help)
        _judge_error(result, case.error, ended.error)
    else:
        _judge(result, case, expected, tried)
    result.verdict = Verdict.failed if result.problems or result.rows else Verdict.passed
    return result


def _unjudged(result: CaseResult, problem: str, help_: str | None) -> CaseResult:
    result.verdict, result.help = Verdict.error, help_
    result.problems.append(problem)
    return result


# --- run ---------------------------------------------------------------------------------------------------------


def _contract(path: Path, case: Case) -> Contract:
    """Compile the contract for a case; what only its source and its destination need may be unset."""
    environ = {**os.environ, **case.env}
    try:
        return _compiled(path, case, environ)
    except ContractError as error:
        unset = _unset_names(error.diagnostics)
        if unset is None:
            raise
        try:
            return _compiled(path, case, {**environ, **dict.fromkeys(unset, _PLACEHOLDER)}, cursor=_PLACEHOLDER)
        except ContractError:
            raise error from None


def _compiled(path: Path, case: Case, environ: Mapping[str, str], *, cursor: str | None = None) -> Contract:
    return load_contract(path, params=case.params, environ=environ, now=case.instant, cursor=cursor)


def _unset_names(diagnostics: Sequence[Diagnostic]) -> list[str] | None:
    """Return the variables that are not set, or None when something else is wrong: a case needs no password."""
    errors = [one for one in diagnostics if one.severity is Severity.error]
    if any(one.code != Code.unset_variable.value or one.file.endswith("transform.yaml") for one in errors):
        return None
    names: list[str] = []
    for one in errors:
        found = _UNSET.search(one.message)
        if found is not None:
            direct, _, secret, variable = found.groups()
            names += [f"ETLCTL_SECRET_{name}" for name in (direct, secret) if name]
            names += [name for name in (direct, variable) if name]
    return names


async def _run(contract: Contract, case: Case, warn: Callable[[str], None]) -> Tried:
    catalog = Catalog.for_workspace(find_workspace(contract.base_dir).root)
    if isinstance(case.given, CaseFile):
        source = source_of_file(contract, case.given.file, catalog)
    else:
        source = GivenRecords.of(case.given)
    envelope = contract.envelope.model_copy(update={"max_records": None})
    steps = given_steps(contract, case.sources, catalog)
    contract = replace(contract, extractor=source, envelope=envelope, steps=steps)
    environ = {**os.environ, **case.env}
    settings = RunOptions(dry_run=True).settings(contract, None, None, environ)
    # A case has so few records that a share of them says nothing.
    recovery = replace(settings.recovery, error_threshold=None, max_retries=0)
    settings = replace(settings, budget=None, recovery=recovery)
    return await try_out(contract, settings, warn=warn, clock=FixedClock(case.instant))


def _refusal(letter: DeadLetter, batch_size: int) -> Refusal:
    index = letter.index + max(letter.seq - 1, 0) * batch_size
    return Refusal(index=index, rule=letter.rule, field=letter.field, message=letter.message, location=letter.location)


# --- judge -------------------------------------------------------------------------------------------------------


def _expected(contract: Contract, case: Case) -> tuple[list[Record], bool] | None:
    if case.expect is None:
        return None
    if isinstance(case.expect, CaseFile):
        return read_expected(contract.base_dir / case.expect.file)
    return list(case.expect), False


def _judge_error(result: CaseResult, wanted: str, found: str) -> None:
    if wanted not in found:
        result.problems.append(f"the run failed with another message: expected {wanted!r} in it, got: {found}")


def _judge(result: CaseResult, case: Case, expected: tuple[list[Record], bool] | None, tried: Tried) -> None:
    if case.error is not None:
        result.problems.append(
            f"the run was to fail with {case.error!r}, but came to its end with {len(tried.records):,} records"
        )
        return
    if case.says_nothing:
        result.problems.append("the case expects nothing yet: write expect:, or let etlctl test --update write it")
        return
    if expected is not None:
        rows, as_text = expected
        actual = [_as_text(record) for record in tried.records] if as_text else tried.records
        rows = [_as_text(row) for row in rows] if as_text else rows
        result.compared = compare_rows(rows, actual, unordered=case.unordered, ignore=case.ignore)
    result.problems += _rejected_problems(case, result.refusals)
    if case.filtered is not None and case.filtered != result.filtered:
        result.problems.append(f"filtered: expected {case.filtered}, got {result.filtered}")


def _as_text(record: Mapping[str, Any]) -> Record:
    """Return a record as a text format gives it back."""
    texts = {name: to_text(value) for name, value in record.items() if value is not None}
    return {name: text or None for name, text in texts.items()}


def _rejected_problems(case: Case, found: Sequence[Refusal]) -> list[str]:
    """Hold the rejected records against those a case names; which one goes with which is told by what they say."""
    left = list(found)
    missing = []
    for wanted in case.refusals:
        fits = [
            one
            for one in left
            if one.rule == wanted.rule
            and wanted.index in {None, one.index}
            and wanted.field in {None, one.field}
            and (wanted.message is None or wanted.message in one.message)
        ]
        if fits:
            left.remove(fits[0])
        else:
            said = {"index": wanted.index, "field": wanted.field, "message": wanted.message}
            more = ", ".join(f"{name} {value!r}" for name, value in said.items() if value is not None)
            missing.append(f"rejected: expected {wanted.rule}{f' ({more})' if more else ''}, which did not come")
    return [*missing, *(f"rejected, and nobody expects it: {one}" for one in left)]


def expected_file(contract_dir: Path, case: Case) -> Path | None:
    """Return the file of expected records of a case.

    Raises:
        FatalError: It is not one that can be written.
    """
    if not isinstance(case.expect, CaseFile):
        return None
    path = contract_dir / case.expect.file
    if path.suffix not in {".jsonl", ".json"}:
        raise FatalError(
            f"{path} is not updated: only .jsonl and .json files are", help="write it yourself, or expect a .jsonl file"
        )
    return path
