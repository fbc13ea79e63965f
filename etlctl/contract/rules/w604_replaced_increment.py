"""Rule W604: replaced-increment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.rules.rule import Rule
from etlctl.diagnostics import Diagnostic
from etlctl.sdk.destinations import Destinations

_REPLACING = {"replace", "truncate_and_load"}


def _check(checked: Checked) -> Iterator[Diagnostic]:
    part, incremental, loader = checked.part("load"), checked.envelope.incremental, checked.loader
    if part is None or incremental is None or loader is None:
        return
    own = loader.items if isinstance(loader, Destinations) else None
    for number, one in enumerate([loader] if own is None else [item.loader for item in own]):
        if replaces(one):
            paths: list[PathKey] = [("type",), (number, "type"), ("load", number, "type")]
            path = next((path for path in paths if part.value(path) is not None), ())
            message = "each run would replace everything that is there by what is new since the run before"
            help_ = "write_method: append keeps what is there; upsert (with primary_key) updates it"
            yield Code.replaced_increment.at(part.file, part.value_span(path), message, help=help_)


def replaces(loader: Any) -> bool:
    """Tell whether a loader replaces what its destination holds."""
    method = getattr(loader, "method", None) or getattr(loader, "write_method", None)
    if isinstance(getattr(loader, "appends", None), bool):
        return not loader.appends
    return str(method) in _REPLACING


RULE = Rule(
    code=Code.replaced_increment,
    what="An incremental contract replaces its destination in every run.",
    why="An incremental run reads only what is new, so everything older would be gone from the destination.",
    bad=("# extract.yaml\nincremental: {cursor_field: id, initial: 0}\n# load.yaml\ntype: file\npath: out.csv\n"),
    good=(
        "# extract.yaml\nincremental: {cursor_field: id, initial: 0}\n"
        "# load.yaml\ntype: file\npath: out.csv\nwrite_method: append\n"
    ),
    check=_check,
)
