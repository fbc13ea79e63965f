"""The evaluator for expressions that have no compiled form: jsonata-python, made safe on threads and bounded.

Its instances are not safe to share between threads, its limits count from the last ``set_runtime_bounds``, and anything
may escape from it; none of that gets past this file.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etlctl.jsonata.operators import admit
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError

if TYPE_CHECKING:
    from jsonata import Jsonata


class Engine:
    """An expression evaluated by jsonata-python.

    Args:
        expression: Source text, known to be well formed.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._local = threading.local()

    def evaluate(self, value: Any, bindings: Mapping[str, Any], *, seconds: float, depth: int) -> Any:
        """Return the result for an input as plain JSON values, ``NOTHING`` when it selects nothing.

        Args:
            value: The input.
            bindings: Values of variables from outside.
            seconds: How long it may take.
            depth: How deep calls may nest.

        Raises:
            JsonataError: The evaluation failed, ran too long or too deep, or a decimal has no exact number.
        """
        try:
            engine = self._engine()
            engine.environment.set_runtime_bounds(max(1, int(seconds * 1000)), depth)
            result = engine.evaluate(admit(value), {**bindings})
            return NOTHING if result is None else _plain(result)
        except (JsonataError, JsonataSyntaxError):
            raise
        except RecursionError as error:
            raise JsonataError("the expression or its input is nested too deep", "D1011") from error
        except Exception as error:
            raise _failure(error) from error

    def _engine(self) -> Jsonata:
        engine: Jsonata | None = getattr(self._local, "engine", None)
        if engine is None:
            from jsonata import Jsonata  # noqa: PLC0415 - only few expressions need it

            engine = Jsonata(self.expression)
            engine.set_validate_input(False)
            engine.set_output_convert_nulls(False)
            self._local.engine = engine
        return engine


def _failure(error: Exception) -> JsonataError:
    from jsonata.jexception import JException  # noqa: PLC0415

    text = str(error).strip().split("\n", 1)[0]
    if isinstance(error, JException):
        return JsonataError(text, str(error.get_error()), max(int(error.get_location() or 0), 0))
    return JsonataError(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _plain(value: Any) -> Any:
    from jsonata.utils import Utils  # noqa: PLC0415

    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    raise JsonataError("the result contains a function, which is not a value")
