"""Rule E103: yaml-limit."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.yaml_limit,
    what=(
        "The file is larger, deeper, or larger once its aliases are expanded, than a contract can be; or "
        "an alias contains itself."
    ),
    why="A few lines of nested aliases can grow to gigabytes. A contract is a page of YAML that a person reads.",
    bad=(
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
        "d: [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]   # and so on\n"
    ),
    good="values: [x, x, x]\n",
)
