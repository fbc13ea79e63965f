"""Finds the cases of contracts, runs them one after the other, and writes down what they should expect from now on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from etlctl.contract.case_update import CaseEdit, updated
from etlctl.contract.cases import CASES_FILE, CaseFile, ContractCases, read_cases
from etlctl.contract.layout import find_contracts
from etlctl.errors import EtlctlError
from etlctl.kit.atomic import write_whole
from etlctl.orchestrator.case_run import CaseResult, Refusal, Verdict, expected_file, run_case


def find_cases(paths: Sequence[Path]) -> list[ContractCases]:
    """Return the contracts at or below some paths with their cases, each once; those without any as well.

    Args:
        paths: Contracts, folders of contracts, or files of cases.
    """
    contracts: dict[Path, Path] = {}
    for path in paths:
        start = path.parent if path.name == CASES_FILE and path.is_file() else path
        for contract in find_contracts(start):
            contracts.setdefault(contract.resolve(), contract)
    return [read_cases(contract) for contract in contracts.values()]


def chosen(found: Sequence[ContractCases], pattern: str | None) -> None:
    """Leave only the cases whose contract and name hold a text, in any case of letters.

    Args:
        found: The contracts; changed in place.
        pattern: The text; None leaves all.
    """
    if pattern is not None:
        for one in found:
            one.cases = [
                case for case in one.cases if pattern.lower() in f"{one.contract.as_posix()} {case.case.name}".lower()
            ]


def run_cases(found: Sequence[ContractCases], warn: Callable[[str], None]) -> Iterator[CaseResult]:
    """Run the cases of contracts, in order.

    Args:
        found: The contracts.
        warn: Reports something the user should know.
    """
    for one in found:
        for located in one.cases:
            began = time.perf_counter()
            result = asyncio.run(run_case(one.contract, located, warn=warn))
            result.seconds = time.perf_counter() - began
            yield result


class CasesUpdate:
    """Writes down what came of cases that failed. One that ended in an error is never written.

    Attributes:
        written: Files that were changed.
        updated: Cases that expect something else now.
        left: Why others were left as they are.
    """

    def __init__(self) -> None:
        self.written: list[Path] = []
        self.updated: list[CaseResult] = []
        self.left: list[tuple[CaseResult, str]] = []

    def write(self, results: Sequence[CaseResult]) -> None:
        """Update the files of cases.

        Args:
            results: How the cases of these files went, in the order they stand there.
        """
        by_file: dict[Path, list[CaseResult]] = {}
        for result in results:
            if result.verdict is Verdict.error:
                self.left.append((result, "it could not be run"))
            elif result.verdict is Verdict.failed and result.located.case.error is not None:
                self.left.append((result, "it expects an error: correct it by hand"))
            elif result.verdict is Verdict.failed:
                by_file.setdefault(result.located.part.document.path, []).append(result)
        for path, failed in by_file.items():
            self._write_file(path, failed)

    def _write_file(self, path: Path, failed: Sequence[CaseResult]) -> None:
        raw = path.read_bytes().decode("utf-8")
        mark = "\ufeff" if raw.startswith("\ufeff") else ""
        line_end = "\r\n" if "\r\n" in raw else "\n"
        text = raw.removeprefix(mark).replace("\r\n", "\n")
        new = text
        for result in failed:
            try:
                new = updated(new, [self._edit(result)])
            except EtlctlError as error:
                self.left.append((result, f"{error}{f' ({error.help})' if error.help else ''}"))
            else:
                self.updated.append(result)
        if new != text:
            write_whole(path, (mark + new.replace("\n", line_end)).encode())
            self.written.append(path)

    def _edit(self, result: CaseResult) -> CaseEdit:
        case, path = result.located.case, result.located.part.prefix
        others: dict[str, Any] = {}
        unlike = any(problem.startswith("rejected") for problem in result.problems)
        if unlike or (case.says_nothing and result.refusals):
            others["rejected"] = [_refusal(one) for one in result.refusals]
        if case.filtered is not None and case.filtered != result.filtered:
            others["filtered"] = result.filtered
        rows = [{name: row[name] for name in row if name not in case.ignore} for row in result.actual]
        if isinstance(case.expect, CaseFile):
            if result.rows:
                self._write_expected(result, rows)
            return CaseEdit(path, others=others)
        if case.expect is None and not case.says_nothing:
            return CaseEdit(path, others=others)
        if case.expect is None:
            return CaseEdit(path, expect=rows, others=others)
        return _rows_edit(result, rows, others)

    def _write_expected(self, result: CaseResult, rows: Sequence[Any]) -> None:
        folder = result.contract if result.contract.is_dir() else result.contract.parent
        target = expected_file(folder, result.located.case)
        if target is not None:
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            text = "\n".join(lines) if target.suffix == ".jsonl" else "[\n" + ",\n".join(lines) + "\n]"
            write_whole(target, f"{text}\n".encode())
            self.written.append(target)


def _refusal(one: Refusal) -> dict[str, Any]:
    found = {"rule": one.rule, "index": one.index, "field": one.field}
    return {name: value for name, value in found.items() if value is not None}


def _rows_edit(result: CaseResult, rows: Sequence[Any], others: dict[str, Any]) -> CaseEdit:
    """Return the edit that leaves alone the text of every record that came as expected."""
    path, expected = result.located.part.prefix, result.located.case.expect
    if not result.rows or not isinstance(expected, list):
        return CaseEdit(path, others=others)
    equal = result.compared.equal
    changed = {one.actual: one.expected for one in result.rows if one.actual is not None and one.expected is not None}
    new = [expected[equal[number]] if number in equal else row for number, row in enumerate(rows)]
    return CaseEdit(path, new, {**changed, **equal}, frozenset(equal), others)
