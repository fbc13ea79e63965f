"""Rule E104: yaml-tag."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.yaml_tag,
    what=(
        "A value carries a YAML tag other than the plain ones (!!str, !!int, !!float, !!bool, !!null, !!map, !!seq)."
    ),
    why="Tags can ask a reader to build arbitrary objects, and they mean different things to different readers.",
    bad="type: file\npath: !!python/name:os.getcwd\n",
    good="type: file\npath: data/orders.csv\n",
)
