"""Function values of JSONata: lambdas, built-in functions, regular expressions and partial applications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Closure:
    """A function value; call it with evaluated arguments.

    Args:
        function: What is called; it has validated its arguments itself when the function value has a signature.
        arity: How many parameters it declares. Higher-order functions pass as many of (value, index, array) as that.
        signature: The compiled signature; None when any arguments will do.
        name: For messages, without the ``$``; empty for a lambda.
    """

    __slots__ = ("arity", "function", "name", "signature")

    def __init__(self, function: Callable[..., Any], arity: int, signature: Any = None, name: str = "") -> None:
        self.function = function
        self.arity = arity
        self.signature = signature
        self.name = name

    def __call__(self, *args: Any) -> Any:
        """Return the function's result for evaluated arguments (``NOTHING`` for a missing one)."""
        return self.function(*args)

    def __repr__(self) -> str:
        return f"<JSONata function {self.name or 'λ'}/{self.arity}>"
