"""``$string``: a value as text, numbers with 15 digits, arrays and objects as JSON.stringify writes them."""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Final

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.numeric import number_text, out_of_range, whole_text
from etlctl.jsonata.functions.signature import symbol
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING, JsonataError

_MANY: Final = 10_000
"""Items written between two looks at the clock and the memory."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@BUILTINS.define("string", "<x-b?:s>", arity=1)
def string(value: Any, pretty: Any = NOTHING) -> Any:
    """Return a value as text; objects and arrays as JSON, indented by two when ``pretty``."""
    kind = type(value)
    if pretty is not NOTHING and type(pretty) is not bool:
        return unusual("string", value, pretty)
    if kind is str or value is NOTHING:
        return value
    if kind is int:
        return whole_text(value)
    if kind is float and not isfinite(value):
        msg = f"$string cannot be applied to {value}"
        raise JsonataError(msg, "D3001")
    if isinstance(value, Closure):
        return ""
    return json_text(value, pretty=pretty is True)


def json_text(value: Any, *, pretty: bool = False) -> str:
    """Return a value as JSON text, as the reference writes it.

    Args:
        value: A value of the model; nothing in an array becomes null, functions become empty text.
        pretty: Indent by two spaces.

    Raises:
        JsonataError: D1001 for a number that is not finite, or when the text gets too long; T0410 for no JSON value.
    """
    parts: list[str] = []
    _write(value, parts.append, "\n" if pretty else "", ": " if pretty else ":")
    text = "".join(parts)
    if len(text) > 100_000:
        BUDGET.get().check_characters(len(text))
    return text


def _write(value: Any, put: Any, line: str, colon: str) -> None:
    kind = type(value)
    if kind is str:
        put(quoted(value))
    elif kind is int:
        put(whole_text(value))
    elif kind is float:
        put(_float_text(value))
    elif value is None or value is NOTHING:
        put("null")
    elif kind is bool:
        put("true" if value else "false")
    elif kind is dict:
        _write_object(value, put, line, colon)
    elif isinstance(value, list):
        _write_array(value, put, line, colon)
    else:
        put(_other_text(value))


def _write_object(value: dict[str, Any], put: Any, line: str, colon: str) -> None:
    inner = line + "  " if line else ""
    lead = "{"
    for key, item in value.items():
        if item is not NOTHING:
            put(f"{lead}{inner}{quoted(key)}{colon}")
            _write(item, put, inner, colon)
            lead = ","
    put("{}" if lead == "{" else line + "}")


def _write_array(value: list[Any], put: Any, line: str, colon: str) -> None:
    if not value:
        put("[]")
        return
    inner = line + "  " if line else ""
    lead = "[" + inner
    budget = BUDGET.get() if len(value) > _MANY else None
    for number, item in enumerate(value):
        if budget is not None and not number % _MANY:
            budget.check()
        put(lead)
        _write(item, put, inner, colon)
        lead = "," + inner
    put(line + "]")


def quoted(text: str) -> str:
    """Return a text as a JSON string; half a surrogate pair is escaped."""
    written = encode_basestring(text)
    if not written.isascii():
        written = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", written)
    return written


def _float_text(value: float) -> str:
    if not isfinite(value):
        raise out_of_range(value)
    return number_text(value)


def _other_text(value: Any) -> str:
    if isinstance(value, Closure):
        return '""'
    kind = symbol(value)
    if kind == "m":
        msg = f"{type(value).__name__} is not a JSON type"
        raise JsonataError(msg, "T0410")
    if kind == "s":
        return quoted(str(value))
    return str(value)
