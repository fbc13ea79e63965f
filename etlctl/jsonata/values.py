"""The value model of JSONata evaluation: plain JSON values, "nothing" beside null, and sequences.

null is None; booleans, int, float, str, list and dict are themselves; an expression that selects nothing gives
``NOTHING``. A ``Sequence`` is what the reference implementation calls a sequence: a list whose only item stands for
itself, and that stands for nothing when it is empty. Function values are ``Closure`` objects.
Semantics follow jsonata.js 2.2; integers stay exact at any size where that one rounds to doubles.
"""

from __future__ import annotations

from typing import Any, Final

from etlctl.errors import EtlctlError


class Nothing:
    """The type of ``NOTHING``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"

    def __bool__(self) -> bool:
        return False


NOTHING: Final = Nothing()
"""The result of an expression that selects nothing; JSON null is None."""


class Sequence(list[Any]):
    """A list that collapses when it leaves the place it was made in: no item is nothing, one item is that item."""

    __slots__ = ()

    def collapsed(self) -> Any:
        """Return what the sequence stands for."""
        if not self:
            return NOTHING
        return self[0] if len(self) == 1 else self


class Kept(Sequence):
    """A sequence of one item that ``[]`` keeps an array."""

    __slots__ = ()

    def collapsed(self) -> Any:
        """Return the sequence itself."""
        return self or NOTHING


class Whole(list[Any]):
    """An array built by ``[…]`` as a step of a path: one item of the result, not many."""

    __slots__ = ()


class JsonataSyntaxError(EtlctlError):
    """An expression cannot be read.

    Args:
        message: What is wrong.
        offset: 0-based offset of the offending token in the expression.
        code: JSONata's own code, such as ``S0203``; empty when there is none.

    Attributes:
        end: Offset of the first character after the offending token.
    """

    def __init__(self, message: str, offset: int, code: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.end = offset
        self.code = code


class JsonataError(EtlctlError):
    """An expression failed on an input, ran past a limit, or the input has no exact JSON form.

    Args:
        message: What is wrong, with the offending value.
        code: JSONata's own code, such as ``T2001``; empty when there is none.
        offset: 0-based offset of the place in the expression; None when it is not known.
    """

    def __init__(self, message: str, code: str = "", offset: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.offset = offset

    def explained(self, expression: str) -> str:
        """Return the message with JSONata's code and the line and column in the expression."""
        where = ""
        if self.offset is not None:
            before = expression[: self.offset]
            column = self.offset - before.rfind("\n")
            line = before.count("\n") + 1
            where = f"at line {line}, column {column}" if "\n" in expression.strip() else f"at column {column}"
        marks = ", ".join(part for part in (self.code, where) if part)
        return f"{self.message} ({marks})" if marks else self.message
