"""An operation that evaluates a JSONata expression says so, and ``validate`` looks for mistakes in it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection

from pydantic_core import PydanticCustomError

from etlctl.frozen import frozen
from etlctl.sdk.operation import Operation


def readable(expression: str) -> str:
    """Return an expression that can be read; for validators of options.

    Raises:
        PydanticCustomError: It cannot be read; its context has the problem and the offset.
    """
    from etlctl import jsonata  # noqa: PLC0415 - only contracts with JSONata pay for it

    try:
        jsonata.compile(expression)
    except jsonata.JsonataSyntaxError as error:
        context = {"problem": error.message, "offset": error.offset}
        raise PydanticCustomError("bad_jsonata", "the JSONata cannot be read: {problem}", context) from error
    return expression


@frozen
class Evaluated:
    """A JSONata expression of an operation.

    Attributes:
        option: The option it stands in.
        text: The expression, one that can be read.
        bindings: Names of variables from outside.
        whole: It sees the array of all records.
    """

    option: str
    text: str
    bindings: Collection[str] = ()
    whole: bool = False


class Evaluating(Operation):
    """An operation that may evaluate JSONata."""

    @abstractmethod
    def evaluated(self) -> Evaluated | None:
        """Return its expression; None when it has none."""
