"""JSONata: compiled to Python, evaluated for many inputs, on any thread.

``compile(expression).prepared()`` gives a function of the input, ``evaluate(expression, data, bindings)`` does both at
once. The names are loaded when they are asked for: contracts without JSONata do not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlctl.jsonata.expression import Expression, Limits, compile, evaluate  # noqa: A004
    from etlctl.jsonata.operators import truthy
    from etlctl.jsonata.syntax import parse, syntax_problem
    from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError

_PLACES = {
    "Expression": "expression",
    "Limits": "expression",
    "compile": "expression",
    "evaluate": "expression",
    "truthy": "operators",
    "parse": "syntax",
    "syntax_problem": "syntax",
    "NOTHING": "values",
    "JsonataError": "values",
    "JsonataSyntaxError": "values",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})


__all__ = [
    "NOTHING",
    "Expression",
    "JsonataError",
    "JsonataSyntaxError",
    "Limits",
    "compile",
    "evaluate",
    "parse",
    "syntax_problem",
    "truthy",
]
