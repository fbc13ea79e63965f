"""Finds the rules: every file of this folder named after its code, such as ``e201_unknown_key.py``, holds one."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from etlctl.contract import rules
from etlctl.contract.checked import Checked
from etlctl.contract.rules.rule import Rule

_RULE_FILE = re.compile(r"[ewi][0-9]{3}_[a-z0-9_]+")


@cache
def all_rules() -> dict[str, Rule]:
    """Return every rule by code, in the order of the codes."""
    return {rule.code.value: rule for rule in map(_rule, sorted(_names(), key=lambda name: (name[1:4], name)))}


def _names() -> list[str]:
    return sorted(module.name for module in iter_modules(rules.__path__) if _RULE_FILE.fullmatch(module.name))


def _rule(name: str) -> Rule:
    rule: Rule = import_module(f"{rules.__name__}.{name}").RULE
    return rule


@cache
def _checking() -> tuple[Rule, ...]:
    """Return the rules with a check of their own: warnings about one contract; the rest is found on other ways."""
    return tuple(_rule(name) for name in _names() if name.startswith("w6"))


def run_checks(checked: Checked) -> None:
    """Run the check of every lint rule on a contract."""
    for rule in _checking():
        if rule.check is not None:
            for diagnostic in rule.check(checked):
                checked.report(diagnostic)
