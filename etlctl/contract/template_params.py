"""Parameters in templates of ``transform.yaml`` that have no value: found before a run, not by its first record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from etlctl.contract.codes import Code
from etlctl.contract.inputs import RUN_DATE
from etlctl.contract.layout import Part
from etlctl.contract.suggest import did_you_mean
from etlctl.contract.variables import Values
from etlctl.diagnostics import Diagnostic

_BARE = re.compile(r"(?<!\$)(?P<reference>\$\{param:(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\})")
"""A reference without a default."""


def unset_in_templates(part: Part, values: Values) -> Iterator[Diagnostic]:
    """Yield what is wrong with the parameters of a section's templates.

    Args:
        part: The transform section.
        values: Declared and given parameters.
    """
    known = {*values.declared, *values.given, RUN_DATE}
    for path, text in _templates(part.data):
        for found in _BARE.finditer(text):
            name = found["name"]
            if name in known:
                continue
            near = did_you_mean(name, values.declared, kind="parameters")
            span = part.inside(path, found.start("reference"), found.end("reference"))
            message = f"parameter {name!r} has no value"
            help_ = near or f"give -p {name}=…, or a default: ${{param:{name}:-default}}"
            yield Code.unset_variable.at(part.file, span, message, help=help_)


def _templates(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the texts in which parameters are replaced: those under ``add``."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _templates(value, (*path, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _templates(value, (*path, number))
    elif isinstance(data, str) and "add" in path:
        yield path, data
