"""What a new version of a contract breaks, risks and adds, compared with an older one."""

from __future__ import annotations

import re

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.comparing import Comparing
from etlctl.contract.field_changes import compare_fields
from etlctl.contract.run_changes import compare_destinations, compare_operation, compare_parameters
from etlctl.diagnostics import Diagnostic, Severity

_SEMVER = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:[-+].*)?").fullmatch


def changes(old: Checked, new: Checked) -> list[Diagnostic]:
    """Return every difference that matters to readers of the loaded records, to callers, or to whoever runs it.

    Args:
        old: The version that is in use.
        new: The version that is to take its place.
    """
    both = Comparing(old, new)
    compare_fields(both)
    compare_destinations(both)
    compare_parameters(both)
    compare_operation(both)
    _version(both)
    return sorted(both.found, key=lambda found: found.sort_key)


def _version(both: Comparing) -> None:
    breaking = sum(found.severity is Severity.error for found in both.found)
    if not breaking:
        return
    before, now = both.old.section.version, both.new.section.version
    if raised(before, now):
        return
    changes_ = "a breaking change" if breaking == 1 else f"{breaking} breaking changes"
    told = f"the version was {before or 'not given'} and is {now or 'not given'}"
    wanted = _next(before)
    help_ = f'set version: "{wanted}" in contract.yaml' if wanted else "give the contract a version, such as 1.0.0"
    both.report(Code.version_not_raised, "contract", ("version",), f"{changes_}, but {told}", help=help_)


def raised(before: str | None, now: str | None) -> bool:
    """Tell whether a version was raised as a breaking change asks for: https://semver.org, sections 4 and 8."""
    old, new = _numbers(before), _numbers(now)
    if new is None:
        return False
    if old is None:
        return True
    return new[0] > old[0] if old[0] or new[0] else new[:2] > old[:2]


def _next(before: str | None) -> str | None:
    old = _numbers(before)
    if old is None:
        return None
    return f"{old[0] + 1}.0.0" if old[0] else f"0.{old[1] + 1}.0"


def _numbers(version: str | None) -> tuple[int, int, int] | None:
    found = _SEMVER(version or "")
    return (int(found[1]), int(found[2] or 0), int(found[3] or 0)) if found else None
