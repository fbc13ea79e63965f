"""Calling JSONata functions: lambdas with tail calls, partial application, chains, the transform operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.builtin import Builtin
from etlctl.jsonata.functions.signature import SYMBOLS, Signature
from etlctl.jsonata.limits import Budget
from etlctl.jsonata.navigation import collapsed
from etlctl.jsonata.operators import admit, settled
from etlctl.jsonata.values import NOTHING, JsonataError
from etlctl.types import shown

TICKS: Final = 20_000
"""Loop turns and calls between two looks at the clock."""


class Run:
    """One evaluation.

    Args:
        budget: Its limits.
        millis: The instant ``$now`` and ``$millis`` give, in milliseconds since 1970 UTC.
        bindings: Values of variables from outside.

    Attributes:
        ticks: Loop turns and calls until the clock is looked at again.
    """

    __slots__ = ("bindings", "budget", "millis", "ticks")

    def __init__(self, budget: Budget, millis: int, bindings: Mapping[str, Any]) -> None:
        self.budget = budget
        self.millis = millis
        self.bindings = bindings
        self.ticks = TICKS

    def late(self) -> None:
        """Look at the clock and the memory; raise D1012 when the time is over, D2015 when there is too much."""
        self.ticks = TICKS
        self.budget.check()

    def weigh(self, items: list[Any]) -> None:
        """Take note that a function goes through an array."""
        self.ticks -= len(items)
        if self.ticks < 0:
            self.late()


class Lambda(Closure):
    """A lambda.

    Args:
        code: The generated function; may return a ``Tail``.
        arity: Number of parameters.
        signature: The compiled signature, or None.
    """

    __slots__ = ("code",)

    def __init__(self, code: Callable[..., Any], arity: int, signature: Signature | None = None) -> None:
        super().__init__(self._as_value, arity, signature)
        self.code = code

    def _as_value(self, *args: Any) -> Any:
        signature = self.signature
        result = self.code(*args) if signature is None else self.code(*signature.bind(list(args), None, ""))
        while type(result) is Tail:
            result = result.function.step(result.args, result.context)
        return result

    def step(self, args: tuple[Any, ...], context: Any) -> Any:
        """Return the result of a call, or the ``Tail`` call it ends with."""
        signature = self.signature
        return self.code(*args) if signature is None else self.code(*signature.bind(list(args), context, ""))


SYMBOLS[Lambda] = "f"


@dataclass(slots=True)
class Tail:
    """A call of a lambda that stands last in another: made by the caller, so that the stack does not grow."""

    function: Lambda
    args: tuple[Any, ...]
    context: Any


def call(function: Any, args: tuple[Any, ...], context: Any) -> Any:
    """Return the raw result of a call."""
    if type(function) is Lambda:
        result = function.code(*args) if function.signature is None else function.step(args, context)
        while type(result) is Tail:
            result = result.function.step(result.args, result.context)
        return result
    if isinstance(function, Builtin):
        return function.invoke(list(args), context)
    if isinstance(function, Closure):
        return function(*args)
    raise not_a_function(function)


def tail_call(function: Any, args: tuple[Any, ...], context: Any) -> Any:
    """Return the call for the caller to make when it is one of a lambda, else its raw result."""
    return Tail(function, args, context) if type(function) is Lambda else call(function, args, context)


def not_a_function(value: Any, name: str = "") -> JsonataError:
    """Return the error of calling something else than a function."""
    if name:
        return JsonataError(f"Attempted to invoke a non-function. Did you mean ${name}?", "T1005")
    what = "nothing" if value is NOTHING else shown(value)
    return JsonataError(f"Attempted to invoke a non-function: {what}", "T1006")


def detached(function: Any) -> Any:
    """Return a function as its callee sees it: without the context of the call it came from."""
    return (
        Closure(function.function, function.arity, None, function.name) if isinstance(function, Builtin) else function
    )


def accepts(builtin: Builtin, count: int) -> bool:
    """Tell whether so many arguments can go straight to a built-in function's Python function."""
    parameters = inspect.signature(builtin.call).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return True
    required = sum(1 for each in parameters if each.default is each.empty)
    return required <= count <= len(parameters) and count <= len(builtin.signature.parameters)


def applied(left: Any, right: Any, context: Any) -> Any:
    """Return ``left ~> right`` for a right side that is no call."""
    if not isinstance(right, Closure):
        raise JsonataError("The right side of the function application operator ~> must be a function", "T2006")
    if isinstance(left, Closure):
        return Lambda(lambda value=NOTHING, *_: call(right, (collapsed(call(left, (value,), context)),), context), 1)
    return call(right, (left,), None)


def partial(function: Any, given: list[Any], name: str = "") -> Lambda:
    """Return a function of the parameters left open (None) of another.

    Args:
        function: What is applied.
        given: One entry per argument: a value in a tuple of one, or None for ``?``.
        name: Of a built-in function that the ``$`` was forgotten of.
    """
    if not isinstance(function, Closure):
        hint = f". Did you mean ${name}?" if name else f": {shown(function) if function is not NOTHING else 'nothing'}"
        raise JsonataError(f"Attempted to partially apply a non-function{hint}", "T1007" if name else "T1008")
    arity = function.arity
    if isinstance(function, Builtin):
        arity = max(function.arity, len(function.signature.parameters))
    slots = [*given[:arity], *[(NOTHING,)] * (arity - len(given))]
    code = (
        function.code if isinstance(function, Lambda) else function.call if isinstance(function, Builtin) else function
    )
    while (
        isinstance(function, Builtin)
        and len(slots) > 1
        and slots[-1] == (NOTHING,)
        and not accepts(function, len(slots))
    ):
        slots.pop()
    opened = sum(1 for slot in slots if slot is None)

    def filled(*args: Any) -> Any:
        rest = iter([*args, *[NOTHING] * (opened - len(args))])
        return code(*[next(rest) if slot is None else slot[0] for slot in slots])

    return Lambda(filled, opened)


def cloned(value: Any) -> Any:
    """Return a deep copy of a value as ``$clone`` makes it, by way of its text: numbers keep 15 digits."""
    value = admit(value)
    if not isinstance(value, dict | list):
        (value,) = CLONE.bind([value])  # it refuses what is no object and no array
    return NOTHING if value is NOTHING else _copied(value)


def _copied(item: Any) -> Any:
    """Return a deep copy; ``admit`` has gone through the value, so its size is within the limits."""
    kind = type(item)
    if kind is str or kind is int or kind is bool or item is None:
        return item
    if kind is float:
        # A number that has at most 15 digits is its own text; asking costs less than making the text.
        return (
            item
            if round(item, 6) == item and -1e8 < item < 1e8 and not item.is_integer()
            else settled(float(f"{item:.15g}"))
        )
    if isinstance(item, dict):
        return {key: _copied(each) for key, each in item.items()}
    if isinstance(item, list):
        return [_copied(each) for each in item]
    return "" if isinstance(item, Closure) else None if item is NOTHING else item


CLONE: Final = Builtin("clone", Signature("<(oa)-:o>"), cloned, 1)


def cloner(function: Any) -> Callable[[Any], Any]:
    """Return what the transform operator copies with where ``$clone`` is another function."""
    if not isinstance(function, Closure):
        raise JsonataError("The transform expression needs $clone, which is not a function here", "T2013")
    return lambda value: collapsed(call(function, (value,), None))


_TRANSFORM: Final = Signature("<(oa):o>")


def transformer(
    pattern: Callable[[Any], Any],
    update: Callable[[Any], Any],
    delete: Callable[[Any], Any] | None,
    clone: Callable[[Any], Any] | None,
    *,
    closed: bool = False,
) -> Lambda:
    """Return the function that ``|pattern|update,delete|`` stands for.

    Args:
        pattern: Finds what to change, in the copy.
        update: Gives what to put into each place.
        delete: Gives the fields to take away; None when there is no such clause.
        clone: Copies the argument; None for ``$clone`` itself.
        closed: The pattern cannot lead out of the copy.
    """
    copy = clone or cloned

    def transformed(value: Any = NOTHING, *_: Any) -> Any:
        if value is NOTHING:
            return NOTHING
        result = copy(admit(value))
        places = pattern(result)
        found = places if isinstance(places, list) else [] if places is NOTHING else [places]
        if not closed:
            _check_inside(found, result)
        for place in found:
            _change(place, update(place), delete)
        return result

    return Lambda(transformed, 1, _TRANSFORM)


def _check_inside(places: list[Any], copy: Any) -> None:
    """Refuse to change what is not part of the copy: the reference would change the input behind everyone's back."""
    inside: set[int] = set()
    waiting = [copy]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list) and id(item) not in inside:
            inside.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    if any(isinstance(place, dict) and id(place) not in inside for place in places):
        text = "The transform expression would change an object that is not part of what it is given"
        raise JsonataError(f"{text}; let its pattern begin at the context, without $$ or other variables", "T2011")


def _change(place: Any, changes: Any, delete: Callable[[Any], Any] | None) -> None:
    if changes is not NOTHING:
        if not isinstance(changes, dict):
            text = f"The insert/update clause of the transform expression must be an object, not {shown(changes)}"
            raise JsonataError(text, "T2011")
        if isinstance(place, dict):
            place.update(changes)
        elif changes and not isinstance(place, list):
            raise JsonataError(f"The transform expression cannot change {shown(place)}, which is no object", "T2011")
    names = NOTHING if delete is None else delete(place)
    if names is NOTHING:
        return
    listed = names if isinstance(names, list) else [names]
    if not all(isinstance(name, str) for name in listed):
        text = f"The delete clause of the transform expression must be a text or an array of texts, not {shown(names)}"
        raise JsonataError(text, "T2012")
    if isinstance(place, dict):
        for name in listed:
            place.pop(name, None)
