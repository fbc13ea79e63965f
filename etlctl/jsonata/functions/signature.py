"""Signatures of JSONata functions such as ``<s-nn?:s>``: what a call's arguments become, or why they do not fit.

The reference turns a signature into a regular expression over one symbol per argument. Here the usual call (one fitting
argument per parameter) is decided by type look-ups; only other calls use the regular expression, once per shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError, Kept, Nothing, Sequence, Whole

_ANY: Final = "asnblfom"
_KINDS: Final = {
    "s": "sm",
    "n": "nm",
    "b": "bm",
    "l": "lm",
    "o": "om",
    "a": _ANY,
    "f": "f",
    "j": "asnblom",
    "x": _ANY,
}
_PLURALS: Final = {
    "a": "arrays", "b": "booleans", "f": "functions", "n": "numbers", "o": "objects", "s": "strings",
}  # fmt: skip
SYMBOLS: Final[dict[type, str]] = {
    str: "s", int: "n", float: "n", bool: "b", type(None): "l", list: "a", Sequence: "a", Kept: "a", Whole: "a",
    dict: "o", Nothing: "m", Closure: "f",
}  # fmt: skip
_SHAPES: Final = 256


def symbol(value: Any) -> str:
    """Return the symbol of a value's type: one of ``s n b l a o f``, or ``m`` for nothing."""
    known = SYMBOLS.get(type(value))
    if known is not None:
        return known
    if isinstance(value, Closure):
        return "f"
    for kind, letter in ((bool, "b"), (str, "s"), (int, "n"), (float, "n"), (list, "a"), (dict, "o")):
        if isinstance(value, kind):
            return letter
    return "m"


def shown(value: Any) -> str:
    """Return a value as messages show it, cut to 60 characters."""
    if value is NOTHING:
        return "nothing"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


@dataclass(slots=True)
class Parameter:
    """One parameter of a signature.

    Attributes:
        kinds: The symbols it takes.
        pattern: The same as a regular expression, with its quantifier.
        kind: Its letter; a choice keeps its parentheses.
        context: The context value stands in for a missing argument.
        subtype: What its items must be; None when anything will do.
    """

    kinds: str
    pattern: str
    kind: str
    context: bool = False
    subtype: str | None = None


class Signature:
    """A compiled signature; ``bind`` is what calls use.

    Args:
        definition: The text, angle brackets included.

    Raises:
        JsonataSyntaxError: S0401 or S0402, with the offset in the definition.
    """

    __slots__ = ("_expression", "_plain", "_shapes", "definition", "parameters")

    def __init__(self, definition: str) -> None:
        self.definition = definition
        self.parameters: tuple[Parameter, ...] = tuple(_parse(definition))
        self._expression = re.compile("".join(f"({parameter.pattern})" for parameter in self.parameters))
        self._plain: dict[str, list[Nothing]] = {}
        self._shapes: dict[str, tuple[str, ...] | None] = {}

    def may_use_context(self, count: int) -> bool:
        """Tell whether a call with so many arguments can take the context value for one that is missing."""
        return count < len(self.parameters) and any(parameter.context for parameter in self.parameters)

    def bind(self, args: list[Any], context: Any = NOTHING, name: str = "") -> list[Any]:
        """Return one value per parameter (more for ``+``), as the reference passes them on.

        Args:
            args: Evaluated arguments.
            context: The context value of the call.
            name: Of the function, for messages.

        Raises:
            JsonataError: T0410, T0411 or T0412.
        """
        shape = "".join([SYMBOLS.get(type(arg)) or symbol(arg) for arg in args])
        missing = self._plain.get(shape)
        if missing is not None:
            return args + missing
        groups = self._shapes[shape] if shape in self._shapes else self._match(shape)
        if groups is None:
            raise self._mismatch(args, shape, name)
        bound: list[Any] = []
        at = 0
        for parameter, group in zip(self.parameters, groups, strict=True):
            if not group:
                if parameter.context:
                    bound.append(_from_context(parameter, context, at, name))
                    continue
                bound.append(args[at] if at < len(args) else NOTHING)
                at += 1
                continue
            for letter in group:
                value = args[at] if at < len(args) else NOTHING
                if parameter.kind == "a" and letter != "m":
                    value = _as_array(parameter, value, group, at, name)
                bound.append(value)
                at += 1
        return bound

    def _match(self, shape: str) -> tuple[str, ...] | None:
        found = self._expression.fullmatch(shape)
        groups = None if found is None else found.groups()
        if len(self._shapes) < _SHAPES and len(shape) < 16:
            self._shapes[shape] = groups
            count = len(shape)
            if groups is not None and all(map(_as_it_is, self.parameters[:count], groups)):
                rest = self.parameters[count:]
                if not any(groups[count:]) and not any(parameter.context for parameter in rest):
                    self._plain[shape] = [NOTHING] * len(rest)
        return groups

    def _mismatch(self, args: list[Any], shape: str, name: str) -> JsonataError:
        """Return the error that names the first argument that does not fit."""
        good = 0
        pattern = ""
        for parameter in self.parameters:
            pattern += parameter.pattern
            found = re.match(pattern, shape)
            if found is None:
                break
            good = found.end()
        value = args[good] if good < len(args) else NOTHING
        msg = f"argument {good + 1} of {_called(name)} does not match its signature {self.definition}: {shown(value)}"
        return JsonataError(msg, "T0410")


def _as_it_is(parameter: Parameter, group: str) -> bool:
    """Tell whether an argument stands alone in its place and needs neither a look inside nor an array around it."""
    return len(group) == 1 and (parameter.kind != "a" or group == "m" or (group == "a" and parameter.subtype is None))


def _called(name: str) -> str:
    return f"${name}" if name else "the function"


def _from_context(parameter: Parameter, context: Any, at: int, name: str) -> Any:
    if symbol(context) in parameter.kinds:
        return context
    msg = f"the context value is not of a type that argument {at + 1} of {_called(name)} takes: {shown(context)}"
    raise JsonataError(msg, "T0411")


def _as_array(parameter: Parameter, value: Any, group: str, at: int, name: str) -> list[Any]:
    subtype = parameter.subtype
    letter = SYMBOLS.get(type(value)) or symbol(value)
    if subtype is not None:
        if letter != "a":
            fits = group == subtype
        else:
            wanted = subtype[:1]
            fits = all((SYMBOLS.get(type(item)) or symbol(item)) == wanted for item in value)
        if not fits:
            kind = _PLURALS.get(subtype, subtype)
            msg = f"argument {at + 1} of {_called(name)} must be an array of {kind}: {shown(value)}"
            raise JsonataError(msg, "T0412")
    return value if letter == "a" else [value]


def _parse(definition: str) -> list[Parameter]:
    parameters: list[Parameter] = []
    at = 1
    while at < len(definition):
        letter = definition[at]
        if letter == ":":
            break
        if letter in _KINDS:
            kinds = _KINDS[letter]
            parameters.append(Parameter(kinds, f"[{kinds}]", letter))
        elif letter == "(":
            end = _closing(definition, at, "(", ")")
            parameters.append(_choice(definition[at + 1 : end], at))
            at = end
        elif letter == "<":
            at = _subtype(definition, at, parameters)
        elif parameters:
            _modify(parameters[-1], letter)
        at += 1
    return parameters


def _modify(parameter: Parameter, letter: str) -> None:
    if letter == "-":
        parameter.context = True
        parameter.pattern += "?"
    elif letter in "?+":
        parameter.pattern += letter


def _choice(choice: str, at: int) -> Parameter:
    if "<" in choice:
        msg = f"a choice of parameterized types is not supported in signatures: ({choice})"
        raise JsonataSyntaxError(msg, at, "S0402")
    kinds = choice + "m"
    return Parameter(kinds, f"[{re.escape(kinds)}]", f"({choice})")


def _subtype(definition: str, at: int, parameters: list[Parameter]) -> int:
    if not parameters or parameters[-1].kind not in ("a", "f"):
        msg = "only functions and arrays take a type parameter in a signature"
        raise JsonataSyntaxError(msg, at, "S0401")
    end = _closing(definition, at, "<", ">")
    parameters[-1].subtype = definition[at + 1 : end]
    return end


def _closing(text: str, at: int, opening: str, closing: str) -> int:
    depth = 1
    while at < len(text):
        at += 1
        letter = text[at : at + 1]
        if letter == closing:
            depth -= 1
            if depth == 0:
                break
        elif letter == opening:
            depth += 1
    return at
