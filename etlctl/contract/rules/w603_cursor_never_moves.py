"""Rule W603: cursor-never-moves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.rules.rule import Rule
from etlctl.diagnostics import Diagnostic

_DEFAULTED = re.compile(r"(?<!\$)\$\{cursor(?:_end)?:-[^}]*\}")


def _check(checked: Checked) -> Iterator[Diagnostic]:
    part, incremental = checked.part("extract"), checked.envelope.incremental
    if part is None or not isinstance(part.data, dict):
        return
    limit = checked.envelope.max_records
    if incremental is not None and limit is not None and incremental.row_order != "asc" and "max_records" in part.data:
        message = (
            f"a run that ends after {limit:,} records cannot move the cursor: what it did not read may lie below it"
        )
        help_ = (
            f"let the source sort by {incremental.cursor_field} and say so: row_order: asc; or leave max_records out"
        )
        yield Code.cursor_never_moves.at(part.file, part.key_span(("max_records",)), message, help=help_)
    if incremental is None and "incremental" not in part.data:
        for path, start, end in _defaulted(part.data):
            message = "the contract is not incremental, so this is its default in every run"
            help_ = "say which field tells what is new: incremental: {cursor_field: updated_at, initial: …}"
            yield Code.cursor_never_moves.at(part.file, part.inside(path, start, end), message, help=help_)


def _defaulted(data: object, path: PathKey = ()) -> Iterator[tuple[PathKey, int, int]]:
    if isinstance(data, str):
        for found in _DEFAULTED.finditer(data):
            yield path, found.start(), found.end()
    elif isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in items:
            yield from _defaulted(value, (*path, key))


RULE = Rule(
    code=Code.cursor_never_moves,
    what="The contract reads by a cursor that will never move.",
    why="Every run would begin at the same place and load the same records again.",
    bad="# extract.yaml\ntype: file\npath: in.csv\nmax_records: 1000\nincremental: {cursor_field: id, initial: 0}\n",
    good=(
        "# extract.yaml\ntype: file\npath: in.csv\nmax_records: 1000\n"
        "incremental: {cursor_field: id, initial: 0, row_order: asc}\n"
    ),
    check=_check,
)
