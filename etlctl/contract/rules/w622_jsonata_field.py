"""Rule W622: jsonata-field."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.jsonata_field,
    what=(
        "A JSONata step reads a field that no record has there. Only reported when the fields are known for certain,"
        " and not where the expression provides for its absence: $exists(x), x ?? y."
    ),
    why="A missing field is nothing to JSONata, not an error: what is made of it is missing from every record.",
    bad="# transform.yaml\ntransform:\n- jsonata: {expression: '{\"title\": nme}'}    # the file has a column 'name'\n",
    good="# transform.yaml\ntransform:\n- jsonata: {expression: '{\"title\": name}'}\n",
)
