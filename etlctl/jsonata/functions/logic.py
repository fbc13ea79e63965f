"""``$boolean`` and ``$not``, ``$exists``, ``$type``, and the functions that fail on purpose."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.signature import symbol
from etlctl.jsonata.values import NOTHING, JsonataError

_NAMES: Final = {
    "s": "string", "n": "number", "b": "boolean", "l": "null", "a": "array", "o": "object", "f": "function",
}  # fmt: skip


def truth(value: Any) -> bool:
    """Return the effective boolean value: false for nothing, null, zero, functions, and what is empty.

    An array is true when any of its items is.
    """
    kind = type(value)
    if kind is bool:
        return bool(value)
    if kind is str or kind is int or kind is float or kind is dict:
        return bool(value)
    if isinstance(value, list):
        return any(map(truth, value))
    return False if value is None or isinstance(value, Closure) else bool(value)


@BUILTINS.define("boolean", "<x-:b>")
def boolean(value: Any) -> Any:
    """Return the effective boolean value; nothing for nothing."""
    return NOTHING if value is NOTHING else truth(value)


@BUILTINS.define("not", "<x-:b>")
def negated(value: Any) -> Any:
    """Return the opposite of the effective boolean value; nothing for nothing."""
    return NOTHING if value is NOTHING else not truth(value)


@BUILTINS.define("exists", "<x:b>")
def exists(value: Any) -> bool:
    """Tell whether there is a value at all; null is one."""
    return value is not NOTHING


@BUILTINS.define("type", "<x:s>")
def type_name(value: Any) -> Any:
    """Return the name of a value's type; nothing for nothing."""
    return NOTHING if value is NOTHING else _NAMES[symbol(value)]


@BUILTINS.define("error", "<s?:x>")
def error(message: Any = NOTHING) -> NoReturn:
    """Fail with a message (D3137)."""
    if type(message) is not str and message is not NOTHING:
        unusual("error", message)
    raise JsonataError(message or "$error() function evaluated", "D3137")


@BUILTINS.define("assert", "<bs?:x>")
def check(condition: Any, message: Any = NOTHING) -> Any:
    """Fail with a message when a condition is not true (D3141)."""
    usual = (type(condition) is bool or condition is NOTHING) and (message is NOTHING or type(message) is str)
    if not usual:
        return unusual("assert", condition, message)
    if condition is True:
        return NOTHING
    raise JsonataError(message or "$assert() statement failed", "D3141")
