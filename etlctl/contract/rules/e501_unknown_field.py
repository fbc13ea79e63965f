"""Rule E501: unknown-field."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_field,
    what=(
        "A field is used that no record has at this step. Only reported when the fields of the source are"
        " known for certain."
    ),
    why="A misspelt field name does not fail at run time: it is null in every record.",
    bad="transform:\n  rename: {custmer: customer}    # the file has a column 'cstmr'\n",
    good="transform:\n  rename: {cstmr: customer}\n",
)
