"""A built-in function: its name, its signature, and the Python function that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.signature import SYMBOLS, Signature, shown
from etlctl.jsonata.values import NOTHING, JsonataError

Implementation = TypeVar("Implementation", bound=Callable[..., Any])


class Builtin(Closure):
    """A built-in function; also the function value that ``$name`` stands for.

    Three ways to call it. ``call(*args)`` takes arguments that are in their places: it decides well-typed ones by exact
    type and sends all others through ``bind`` without a context. ``bind(args, context)`` applies the signature, so
    ``call(*bind(args, context))`` is a complete call, and ``invoke(args, context)`` is short for it. Only where
    ``signature.may_use_context(count)`` is true can the context matter. Results may be a ``Sequence``, which collapses
    where the call stands, except when a higher-order function made the call. As a function value it has no context.

    Args:
        name: Without the ``$``.
        signature: Such as ``<s-nn?:s>``.
        call: The Python function.
        arity: How many arguments higher-order functions pass, as the reference counts them.
    """

    __slots__ = ("call",)

    def __init__(self, name: str, signature: Signature, call: Callable[..., Any], arity: int) -> None:
        super().__init__(self._as_value, arity, signature, name)
        self.call = call

    def bind(self, args: list[Any], context: Any = NOTHING) -> list[Any]:
        """Return the arguments as the signature arranges them; raise T0410, T0411 or T0412."""
        bound: list[Any] = self.signature.bind(args, context, self.name)
        return bound

    def invoke(self, args: list[Any], context: Any = NOTHING) -> Any:
        """Return the function's result for evaluated arguments and the context value of the call."""
        return self.call(*self.signature.bind(args, context, self.name))

    def _as_value(self, *args: Any) -> Any:
        if len(args) == len(self.signature.parameters):
            return self.call(*args)
        return self.call(*self.signature.bind(list(args), None, self.name))


SYMBOLS[Builtin] = "f"


class Registry(dict[str, Builtin]):
    """Built-in functions by name, filled by ``define``."""

    def define(self, name: str, signature: str, arity: int | None = None) -> Callable[[Implementation], Implementation]:
        """Return a decorator that registers a function.

        Args:
            name: Without the ``$``.
            signature: Its JSONata signature.
            arity: What higher-order functions see; None for the number of parameters in the signature.
        """
        compiled = Signature(signature)

        def register(function: Implementation) -> Implementation:
            count = len(compiled.parameters) if arity is None else arity
            self[name] = Builtin(name, compiled, function, count)
            return function

        return register


BUILTINS = Registry()
"""Every built-in function by its name without ``$``; ``etlctl.jsonata.functions`` fills it."""


def unusual(name: str, *args: Any) -> Any:
    """Return the result for arguments that are not of the usual types: coerced, or nothing for nothing.

    Raises:
        JsonataError: The signature's errors; T0410 too for a value that is not of JSON's types.
    """
    bound = BUILTINS[name].bind(list(args))
    first = bound[0]
    if first is NOTHING:
        return NOTHING
    if len(bound) == len(args) and all(new is old for new, old in zip(bound, args, strict=True)):
        msg = f"an argument of ${name} is missing or not a JSON value: {', '.join(map(shown, args))}"
        raise JsonataError(msg, "T0410")
    return BUILTINS[name].call(*bound)
