"""Expressions as the rest of etlctl uses them: compiled once, evaluated for many inputs, within limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from etlctl.frozen import frozen
from etlctl.jsonata.analysis import has_regex
from etlctl.jsonata.calls import TICKS, Run
from etlctl.jsonata.engine import Engine
from etlctl.jsonata.limits import BUDGET, Budget
from etlctl.jsonata.operators import admit
from etlctl.jsonata.program import NotCompiled, Program, program
from etlctl.jsonata.syntax import parse
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError


@frozen
class Limits:
    """What one evaluation may use; beyond it ends as a ``JsonataError``.

    Attributes:
        seconds: Time.
        items: Items of one array, or of one result at all depths.
        characters: Characters of one text.
        depth: Calls inside calls, for the evaluator of what is not compiled; compiled code has Python's own limit.
        memory_mb: MiB the process may grow by, as far as the system tells.
    """

    seconds: float = 10.0
    items: int = 10_000_000
    characters: int = 50_000_000
    depth: int = 500
    memory_mb: int = 1024


DEFAULT_LIMITS: Final = Limits()


class Expression:
    """A compiled expression.

    Args:
        text: The expression.

    Attributes:
        text: The expression.

    Raises:
        JsonataSyntaxError: It cannot be read; carries code, offset and end of the offending token.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._engine: Engine | None = None
        self._reason = ""
        try:
            program(text, frozenset())
        except NotCompiled as error:
            if has_regex(parse(text)):
                # The engine's regular expressions cannot be stopped, so they would be out of every limit.
                raise JsonataSyntaxError(f"the expression cannot be evaluated: {error}", 0) from error
            self._engine = Engine(text)
            self._reason = str(error)

    @property
    def form(self) -> Literal["compiled", "engine"]:
        """How it runs: as Python code, or by the evaluator for the rest."""
        return "compiled" if self._engine is None else "engine"

    @property
    def reason(self) -> str:
        """Why it is not compiled; empty when it is."""
        return self._reason

    @property
    def source(self) -> str:
        """The generated Python; empty when it is not compiled."""
        return program(self.text, frozenset()).source if self._engine is None else ""

    def evaluate(
        self,
        value: Any,
        bindings: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
        limits: Limits | None = None,
    ) -> Any:
        """Return the result for an input as plain JSON values, ``NOTHING`` when it selects nothing.

        Dates and times go in as ISO 8601 text, decimals as numbers, where the expression looks at them.

        Args:
            value: The input.
            bindings: Values of variables: ``{"rate": 2}`` is ``$rate`` in the expression.
            now: The instant of ``$now()`` and ``$millis()``; the present when None.
            limits: What the evaluation may use.

        Raises:
            JsonataError: It failed or ran past a limit; carries code and offset.
        """
        return self.prepared(bindings, now=now, limits=limits)(value)

    def prepared(
        self,
        bindings: Mapping[str, Any] | None = None,
        *,
        now: datetime | None = None,
        limits: Limits | None = None,
    ) -> Callable[[Any], Any]:
        """Return the quick way to evaluate many inputs: a function of the input; see ``evaluate``.

        The function may be called on one thread at a time.
        """
        limits = limits or DEFAULT_LIMITS
        given = {name: admit(value) for name, value in (bindings or {}).items()}
        if self._engine is not None:
            return _by_engine(self._engine, given, limits)
        compiled = program(self.text, frozenset(given))
        instant = now or datetime.now(UTC)
        millis = int(instant.timestamp() * 1000 // 1)
        budget = Budget(items=limits.items, characters=limits.characters, memory=limits.memory_mb * 2**20, now=millis)
        run = Run(budget, millis, given)
        return _quick(compiled, run) if compiled.bounded else _watched(compiled, run, limits.seconds)


def _by_engine(engine: Engine, bindings: Mapping[str, Any], limits: Limits) -> Callable[[Any], Any]:
    def evaluated(value: Any) -> Any:
        return engine.evaluate(value, bindings, seconds=limits.seconds, depth=limits.depth)

    return evaluated


def _quick(compiled: Program, run: Run) -> Callable[[Any], Any]:
    def evaluated(value: Any) -> Any:
        try:
            return compiled.fitted(value, run)  # type: ignore[misc] # None fails, and is dealt with below
        except Exception as error:  # noqa: BLE001 - any failure means that the general code has to do it
            return _general(compiled, value, run, error)

    return evaluated


def _general(compiled: Program, value: Any, run: Run, error: Exception) -> Any:
    """Return what the general code gives for an input that the fitted code is missing or failed for."""
    compiled.missed(value, None if compiled.fitted is None else error)
    return compiled.raw(value, run)


def _watched(compiled: Program, run: Run, seconds: float) -> Callable[[Any], Any]:
    budget = run.budget

    def evaluated(value: Any) -> Any:
        budget.begin(seconds)
        run.ticks = TICKS
        token = BUDGET.set(budget)
        try:
            return compiled.fitted(value, run)  # type: ignore[misc] # None fails, and is dealt with below
        except Exception as error:  # noqa: BLE001 - any failure means that the general code has to do it
            return _general(compiled, value, run, error)
        finally:
            BUDGET.reset(token)

    return evaluated


@lru_cache(maxsize=512)
def compile(expression: str) -> Expression:  # noqa: A001 - the name that users of JSONata expect
    """Compile an expression; the same text gives the same object.

    Raises:
        JsonataSyntaxError: It cannot be read; carries code, offset and end of the offending token.
    """
    return Expression(expression)


def evaluate(expression: str, data: Any, bindings: Mapping[str, Any] | None = None) -> Any:
    """Return the result of an expression for some data; None when it selects nothing.

    Args:
        expression: The expression.
        data: A JSON value.
        bindings: Values of variables.

    Raises:
        JsonataSyntaxError: The expression cannot be read.
        JsonataError: It failed; carries JSONata's code and the offset in the expression.
    """
    result = compile(expression).evaluate(data, bindings)
    return None if result is NOTHING else result


__all__ = ["DEFAULT_LIMITS", "Expression", "JsonataError", "Limits", "compile", "evaluate"]
