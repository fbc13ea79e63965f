"""Validates many contracts in one go: what ``etlctl validate`` does, without the printing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etlctl.catalog import Catalog, find_workspace
from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.compile import Settings, examine
from etlctl.contract.layout import find_contracts, shown_path
from etlctl.diagnostics import Diagnostic, Severity
from etlctl.errors import CatalogError, ContractError, EtlctlError
from etlctl.frozen import frozen


@frozen
class Validated:
    """One contract that was looked at.

    Attributes:
        path: Its folder or file, as messages show it.
        name: Its name.
        diagnostics: What was found.
        delivery: What the loader promises with these options; None when that cannot be told.
        destinations: What each of several destinations promises, by name; empty when there is one.
    """

    path: str
    name: str
    diagnostics: tuple[Diagnostic, ...]
    delivery: str | None
    destinations: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Tell whether it may run."""
        return not any(found.severity is Severity.error for found in self.diagnostics)


@dataclass
class ValidationReport:
    """All contracts that were looked at, and findings that belong to none of them."""

    contracts: list[Validated] = field(default_factory=list)
    loose: list[Diagnostic] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was not compared with an older version, and why."""

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """Every finding once, in order of the contracts."""
        found = [diagnostic for contract in self.contracts for diagnostic in contract.diagnostics]
        return list(dict.fromkeys([*self.loose, *found]))

    def count(self, severity: Severity) -> int:
        """Return how many findings are this bad."""
        return sum(found.severity is severity for found in self.diagnostics)


def validate_paths(
    paths: Sequence[Path],
    *,
    params: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    against: str | None = None,
) -> ValidationReport:
    """Check every contract at or below the paths. No user code is imported and no network touched.

    Args:
        paths: Contracts, and folders of contracts; each must exist.
        params: Parameters, as for a run.
        environ: Environment variables; the process's own when left out.
        ignore: Codes to leave out.
        against: An older version to compare with: a path, or ``git:REV``.

    Raises:
        AgainstError: There is nothing to compare with.
    """
    environ = dict(os.environ) if environ is None else environ
    report, catalogs, ignored = ValidationReport(), _Catalogs(), set(ignore)
    for path in paths:
        found = list(dict.fromkeys(find_contracts(path)))
        if not found:
            message = f"no contract at or below {shown_path(path)}"
            help_ = "a contract is a folder with extract.yaml and load.yaml, or with pipeline.yaml"
            report.loose.append(Code.no_contract.at(shown_path(path), None, message, help=help_))
        examined = []
        for contract in found:
            settings = Settings(catalogs.of(contract), params=params or {}, environ=environ, offline=True)
            examined.append((contract, examine(contract, settings), settings))
        if against is not None:
            report.loose += _compare(path, examined, against, report.notes)
        report.contracts += [_validated(checked, ignored) for _, checked, _ in examined]
    report.loose = [diagnostic for diagnostic in report.loose if diagnostic.code not in ignored]
    return report


def _compare(
    path: Path, examined: Sequence[tuple[Path, Checked, Settings]], against: str, notes: list[str]
) -> list[Diagnostic]:
    """Add to each contract what it changes of its older version; return what belongs to none: those that are gone."""
    from etlctl.contract.against import old_versions  # noqa: PLC0415
    from etlctl.contract.changes import changes  # noqa: PLC0415

    with old_versions(against, path) as old:
        for contract, checked, settings in examined:
            before = old.match(contract, path, checked, settings)
            if before is None:
                notes.append(f"{checked.layout.path} is new: {against} has no contract of its path or name")
                continue
            checked.diagnostics += changes(before, checked)
            wrong = [found for found in before.diagnostics if found.severity is Severity.error]
            if wrong:
                first = f"{wrong[0].file}:{wrong[0].span.line}: " if wrong[0].span else ""
                notes.append(
                    f"the older version of {checked.layout.path} does not hold itself, so the comparison may be "
                    f"incomplete: {first}{wrong[0].code} {wrong[0].message}"
                )
        alone = len(examined) == 1 and examined[0][0] == path
        gone = [] if alone else old.removed()
    help_ = "what it loads is not kept up any more; tell its readers, and remove its schedule"
    return [Code.contract_removed.at(shown_path(path), None, f"contract {name} is gone", help=help_) for name in gone]


class _Catalogs:
    """One catalogue per workspace, so that each component is looked at once for all contracts."""

    def __init__(self) -> None:
        self._by_root: dict[Path, Catalog | None] = {}

    def of(self, contract: Path) -> Catalog | None:
        """Return the catalogue; None when it cannot be made, which the check of the contract then reports."""
        try:
            root = find_workspace(contract.absolute()).root
            if root not in self._by_root:
                self._by_root[root] = Catalog.for_workspace(root)
        except (CatalogError, ContractError):
            return None
        return self._by_root[root]


def _validated(checked: Checked, ignored: set[str]) -> Validated:
    found = tuple(diagnostic for diagnostic in checked.diagnostics if diagnostic.code not in ignored)
    return Validated(checked.layout.path, checked.name, found, _delivery(checked), checked.deliveries)


def _delivery(checked: Checked) -> str | None:
    if checked.loader is None:
        return None
    try:
        return str(checked.loader.delivery())
    except EtlctlError:
        return None
