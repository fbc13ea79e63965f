"""Rule E402: unset-variable."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unset_variable,
    what=(
        "A reference has no value and no default: the environment variable, secret or parameter is not "
        "set. An empty environment variable counts as unset."
    ),
    why=(
        "An empty text in its place would read the wrong folder or call the wrong address. In CI without "
        "secrets: etlctl validate --ignore E402."
    ),
    bad="type: file\npath: ${DATA_DIR}/orders.csv\n",
    good="type: file\npath: ${DATA_DIR:-data}/orders.csv\n",
)
