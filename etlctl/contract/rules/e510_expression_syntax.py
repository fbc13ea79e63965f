"""Rule E510: expression-syntax."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.expression_syntax,
    what="A value of add is an expression or a template that cannot be read.",
    why="It would be taken as plain text and stand in every record.",
    bad='transform:\n  add: {name: "${first_name ${last_name}"}\n',
    good='transform:\n  add: {name: "${first_name} ${last_name}"}\n',
)
