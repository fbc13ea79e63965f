"""The function library of JSONata 2.2: every built-in by name, as plain Python functions on values.

Not here, because they need an evaluation around them: ``$now``, ``$millis``, ``$random``, ``$eval``, ``$clone``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from etlctl.jsonata.functions import (
    arrays,
    builtin,
    dates,
    encoding,
    higher_order,
    integer_picture,
    logic,
    matching,
    number_picture,
    numbers,
    objects,
    stringify,
    strings,
)
from etlctl.jsonata.functions.builtin import Builtin
from etlctl.jsonata.functions.regex_dialect import Untranslatable
from etlctl.jsonata.functions.regexes import Regex, compile_regex
from etlctl.jsonata.functions.signature import Signature

BUILTINS: Final[Mapping[str, Builtin]] = builtin.BUILTINS
"""Every built-in function by its name without ``$``."""

FAMILIES: Final = (
    arrays, dates, encoding, higher_order, integer_picture, logic, matching, number_picture, numbers, objects,
    stringify, strings,
)  # fmt: skip
"""The modules that fill ``BUILTINS``."""

__all__ = ["BUILTINS", "FAMILIES", "Builtin", "Regex", "Signature", "Untranslatable", "compile_regex"]
