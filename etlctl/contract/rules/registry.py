"""Finds the rules: every file of this folder named after its code, such as ``e201_unknown_key.py``, holds one."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from etlctl.contract import rules
from etlctl.contract.checked import Checked
from etlctl.contract.rules.rule import Rule

_RULE_FILE = re.compile(r"[ew][0-9]{3}_[a-z0-9_]+")


@cache
def all_rules() -> dict[str, Rule]:
    """Return every rule by code, in the order of the codes."""
    names = sorted(module.name for module in iter_modules(rules.__path__) if _RULE_FILE.fullmatch(module.name))
    found = [import_module(f"{rules.__name__}.{name}").RULE for name in names]
    return {rule.code.value: rule for rule in found}


@cache
def _checking() -> tuple[Rule, ...]:
    return tuple(rule for rule in all_rules().values() if rule.check is not None)


def run_checks(checked: Checked) -> None:
    """Run the check of every lint rule on a contract."""
    for rule in _checking():
        if rule.check is not None:
            for diagnostic in rule.check(checked):
                checked.report(diagnostic)
