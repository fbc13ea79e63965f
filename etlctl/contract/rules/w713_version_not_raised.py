"""Rule W713: version-not-raised."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.version_not_raised,
    what="The contract breaks the older version, and its own version does not say so.",
    why=(
        "By https://semver.org a breaking change raises the first number (below 1.0.0, the second), so that "
        "readers can see it coming."
    ),
    bad='# contract.yaml, which was 1.2.0 as well\nversion: "1.2.0"\nschema:\n  fields: {}\n',
    good='version: "2.0.0"\nschema:\n  fields: {}\n',
)
