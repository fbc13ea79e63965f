"""JSONata behind one seam: compile an expression once, evaluate it for many inputs, on any thread.

The engine is jsonata-python. Its instances are not safe to share between threads, its limits count from the last
``set_runtime_bounds``, and anything may escape from it; none of that gets past this file.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from etlctl.errors import EtlctlError
from etlctl.types import shown, to_text

if TYPE_CHECKING:
    from jsonata import Jsonata

NOTHING = object()
"""The result of an expression that selects nothing; JSON null is None."""

_TIMEOUT = 300.0
_DEPTH = 500


class JsonataSyntaxError(EtlctlError):
    """An expression cannot be read.

    Args:
        message: What is wrong.
        offset: 0-based offset of the place in the expression.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class JsonataError(EtlctlError):
    """An expression failed on an input, or the input has no exact JSON form."""


class Evaluator:
    """A compiled expression.

    Args:
        expression: Source text, known to be well formed.
        timeout: Seconds one evaluation may take.
        depth: Nested calls one evaluation may make.
    """

    def __init__(self, expression: str, *, timeout: float = _TIMEOUT, depth: int = _DEPTH) -> None:
        self.expression = expression
        self._bounds = (int(timeout * 1000), depth)
        self._local = threading.local()

    def evaluate(self, value: Any, bindings: Mapping[str, Any] | None = None) -> Any:
        """Return the result for an input as plain JSON values, ``NOTHING`` when it selects nothing.

        Dates and times go in as ISO 8601 text, decimals as numbers.

        Raises:
            JsonataError: The evaluation failed, ran too long or too deep, or a decimal has no exact number.
        """
        engine = self._engine()
        try:
            given = _to_json(value)
            engine.environment.set_runtime_bounds(*self._bounds)
            result = engine.evaluate(given, None if bindings is None else {**bindings})
            return NOTHING if result is None else _plain(result)
        except JsonataError:
            raise
        except RecursionError as error:
            raise JsonataError("the expression or its input is nested too deep") from error
        except Exception as error:
            raise JsonataError(_reason(error)) from error

    def _engine(self) -> Jsonata:
        engine: Jsonata | None = getattr(self._local, "engine", None)
        if engine is None:
            engine = _parse(self.expression)
            engine.set_validate_input(False)
            engine.set_output_convert_nulls(False)
            self._local.engine = engine
        return engine


@lru_cache(maxsize=256)
def compile(expression: str) -> Evaluator:  # noqa: A001
    """Compile an expression.

    Raises:
        JsonataSyntaxError: It cannot be read; carries the offset.
    """
    _parse(expression)
    return Evaluator(expression)


def truthy(value: Any) -> bool:
    """Tell what ``$boolean`` makes of a result."""
    if value is NOTHING or value is None:
        return False
    if isinstance(value, list):
        return any(truthy(item) for item in value)
    return bool(value)


def _parse(expression: str) -> Jsonata:
    from jsonata import Jsonata  # noqa: PLC0415
    from jsonata.jexception import JException  # noqa: PLC0415

    try:
        engine = Jsonata(expression)
    except JException as error:
        offset = min(max(int(error.get_location() or 0), 0), len(expression))
        raise JsonataSyntaxError(_reason(error), offset) from error
    except Exception as error:
        raise JsonataSyntaxError(f"the expression cannot be read ({_reason(error)})", 0) from error
    if engine.errors:
        raise JsonataSyntaxError(_reason(engine.errors[0]), 0)
    return engine


def _reason(error: BaseException) -> str:
    from jsonata.jexception import JException  # noqa: PLC0415

    text = str(error).strip().split("\n", 1)[0]
    if isinstance(error, JException):
        return f"{text} [{error.get_error()}]"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _to_json(value: Any) -> Any:
    """Return a value in JSON terms; containers are copied only where something in them changes."""
    kind = type(value)
    if kind is str or kind is int or kind is float or kind is bool or value is None:
        return value
    if isinstance(value, dict):
        items = {key: _to_json(item) for key, item in value.items()}
        return value if all(items[key] is item for key, item in value.items()) else items
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, date | time | bytes):
        return to_text(value)
    return value


def _number(value: Decimal) -> int | float:
    if value.is_finite() and abs(value.adjusted()) < 400:
        number: int | float = int(value) if value == value.to_integral_value() else float(value)
        if Decimal(repr(number)) == value:
            return number
    raise JsonataError(f"the decimal {shown(value)} has no exact JSON number; convert it to string or float first")


def _plain(value: Any) -> Any:
    from jsonata.utils import Utils  # noqa: PLC0415

    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise JsonataError("the result contains a function, which is not a value")
