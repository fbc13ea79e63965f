"""Rule E303: unknown-convert-type."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_convert_type,
    what="convert names a type that does not exist.",
    why=(
        "Types: string, integer, float, decimal, boolean, date, datetime, time, object, array; int, str, "
        "bool and a few more spellings too."
    ),
    bad="transform:\n  convert: {price: flaot}\n",
    good="transform:\n  convert: {price: float}\n",
)
