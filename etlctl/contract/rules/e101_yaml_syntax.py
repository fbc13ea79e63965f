"""Rule E101: yaml-syntax."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.yaml_syntax,
    what="The file is not YAML that can be read: a bracket, a quote or the indentation is wrong.",
    why="Nothing of the file can be trusted, so the rest of it is not checked until it parses.",
    bad="type: file\npath: orders: 2024.csv\n",
    good='type: file\npath: "orders: 2024.csv"\n',
)
