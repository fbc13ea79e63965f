"""Rule E203: wrong-type."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.wrong_type,
    what=(
        "A value is of another type than the option takes. Numbers in quotes are text; yes, no, on and off are text."
    ),
    why='Types are declared, never guessed: "0123" may be a number to one reader and a postal code to another.',
    bad='type: file\npath: orders.csv\nbatch_size: "1000"\n',
    good="type: file\npath: orders.csv\nbatch_size: 1000\n",
)
