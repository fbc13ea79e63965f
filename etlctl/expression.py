"""The two tiny languages of contracts: ``${...}`` templates, and the expressions of the ``add`` operation.

Both are read to plain values here; nothing is looked up, imported or evaluated. There is no attribute access.

* template: ``${NAME}``, ``${env:NAME}``, ``${param:NAME}``, ``${secret:NAME}``, each with ``:-default`` or
  ``:?message``; ``$${`` is a literal ``${``
* expression: a template, or one call ``function(argument, …)`` that spans the whole text. Arguments are quoted text
  (again a template), numbers, ``true``, ``false``, ``null``, ``${field}``, calls, and bare names where a function
  takes the name of something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

from etlctl.errors import EtlctlError
from etlctl.frozen import frozen

Scope: TypeAlias = Literal["env", "param", "secret"]

SCOPES: tuple[Scope, ...] = ("env", "param", "secret")


@frozen
class Reference:
    """A ``${...}`` in a text.

    Attributes:
        scope: ``env``, ``param`` or ``secret``; None for a bare name (a field, a parameter, ``cursor``, ``run_date``).
        name: What is referred to.
        default: Text after ``:-``; None when there is none.
        message: Text after ``:?``; None when there is none.
        start: Offset of the ``$``.
        end: Offset after the ``}``.
    """

    scope: Scope | None
    name: str
    default: str | None
    message: str | None
    start: int
    end: int


@frozen
class Template:
    """A text cut into literal parts and references."""

    parts: tuple[str | Reference, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        """The references, in order."""
        return tuple(part for part in self.parts if isinstance(part, Reference))


@frozen
class Constant:
    """A value that stands for itself."""

    value: Any


@frozen
class Name:
    """A bare word, the argument of a function that takes a name."""

    name: str
    start: int


@frozen
class Call:
    """A function with its arguments."""

    function: str
    arguments: tuple[Expression, ...]
    start: int


Expression: TypeAlias = Constant | Name | Template | Call


@frozen
class Function:
    """What a function of the ``add`` language takes.

    Attributes:
        least: Fewest arguments.
        most: Most arguments; None when there is no limit.
        usage: How it is written, for messages and documentation.
        named: The first argument is a name.
    """

    least: int
    most: int | None
    usage: str
    named: bool = False


FUNCTIONS: dict[str, Function] = {
    "now": Function(0, 1, "now() or now('%Y-%m-%d')"),
    "uuid": Function(0, 0, "uuid()"),
    "env": Function(1, 2, "env(NAME) or env(NAME, 'default')", named=True),
    "lower": Function(1, 1, "lower(${field})"),
    "upper": Function(1, 1, "upper(${field})"),
    "trim": Function(1, 1, "trim(${field})"),
    "len": Function(1, 1, "len(${field})"),
    "concat": Function(1, None, "concat(${a}, '-', ${b})"),
    "coalesce": Function(1, None, "coalesce(${a}, ${b}, 'default')"),
    "date": Function(1, 2, "date(${field}) or date(${field}, '%d.%m.%Y')"),
    "datetime": Function(1, 2, "datetime(${field}) or datetime(${field}, '%d.%m.%Y %H:%M')"),
    "int": Function(1, 1, "int(${field})"),
    "float": Function(1, 1, "float(${field})"),
    "str": Function(1, 1, "str(${field})"),
    "bool": Function(1, 1, "bool(${field})"),
}
"""Every function by name."""


class TemplateError(EtlctlError):
    """A template cannot be read or resolved.

    Args:
        message: What is wrong.
        offset: 0-based offset of the place in the text.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class UnsetVariable(TemplateError):  # noqa: N818
    """A reference has no value and no default."""

    def __init__(self, message: str, reference: Reference) -> None:
        super().__init__(message, reference.start)
        self.reference = reference


class ExpressionError(TemplateError):
    """An expression cannot be read.

    Args:
        message: What is wrong.
        offset: 0-based offset of the place in the text.
        name: The unknown name, when that is the problem.
        candidates: Names that exist in its place.
    """

    def __init__(self, message: str, offset: int, *, name: str | None = None, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message, offset)
        self.name = name
        self.candidates = candidates


# --- templates -------------------------------------------------------------------------------------------------------


def parse_template(text: str) -> Template:
    """Cut a text into literal parts and references.

    Raises:
        TemplateError: A ``${`` is not closed, names nothing, or has an unknown scope.
    """
    parts: list[str | Reference] = []
    literal, position = "", 0
    while (found := text.find("${", position)) >= 0:
        if found > position and text[found - 1] == "$":
            literal += text[position : found - 1] + "${"
            position = found + 2
            continue
        literal += text[position:found]
        if literal:
            parts.append(literal)
        literal = ""
        reference = _reference(text, found)
        parts.append(reference)
        position = reference.end
    literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    return Template(tuple(parts))


def _reference(text: str, start: int) -> Reference:
    close = text.find("}", start)
    if close < 0:
        raise TemplateError("this ${ is not closed by a }; write $${ for a literal ${", start)
    inner = text[start + 2 : close]
    nested = inner.find("${")
    if nested >= 0:
        raise TemplateError("a variable cannot stand inside another one", start + 2 + nested)
    mark = re.search(r":[-?]", inner)
    head, default, message = inner, None, None
    if mark is not None:
        head, tail = inner[: mark.start()], inner[mark.end() :]
        default, message = (tail, None) if mark[0] == ":-" else (None, tail)
    scope, colon, name = head.rpartition(":") if head.partition(":")[0] not in SCOPES else head.partition(":")
    name = name.strip()
    if not name:
        raise TemplateError("this ${…} names nothing", start)
    return Reference(_scope(scope, colon, start), name, default, message, start, close + 1)


def _scope(scope: str, colon: str, start: int) -> Scope | None:
    if not colon:
        return None
    for known in SCOPES:
        if scope.strip() == known:
            return known
    raise TemplateError(f"unknown scope {scope!r} in a variable; there are {', '.join(SCOPES)}", start)


def resolve(template: Template, lookup: Callable[[Reference], str | None]) -> str:
    """Return the text of a template.

    Args:
        template: The template.
        lookup: Returns the value of a reference, None when it is unset.

    Raises:
        UnsetVariable: A reference is unset without a default (or, with ``:?``, unset or empty).
    """
    return "".join(part if isinstance(part, str) else _value(part, lookup(part)) for part in template.parts)


def _value(reference: Reference, value: str | None) -> str:
    if reference.default is not None:
        return value or reference.default
    if reference.message is not None and not value:
        raise UnsetVariable(reference.message or f"{described(reference)} is required", reference)
    if value is None:
        raise UnsetVariable(f"{described(reference)} is not set and has no default", reference)
    return value


def described(reference: Reference) -> str:
    """Return what a reference refers to, for messages."""
    words = {"env": "environment variable", "param": "parameter", "secret": "secret", None: "variable"}
    return f"{words[reference.scope]} {reference.name!r}"


# --- expressions -----------------------------------------------------------------------------------------------------

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\(")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BLANK = re.compile(r"\s*")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_DEEPEST = 32


def parse_expression(text: str) -> Expression:
    """Read a value of the ``add`` operation.

    Raises:
        ExpressionError: Unknown function, wrong number of arguments, or a text that cannot be read.
        TemplateError: A ``${`` is not closed, names nothing, or has an unknown scope.
    """
    opening = _CALL.match(text)
    if opening is None:
        return _as_expression(parse_template(text))
    close = _closing(text, opening.end())
    if close is None and opening[1] in FUNCTIONS:
        raise ExpressionError(f"the parenthesis of {opening[1]}( is not closed", opening.end() - 1)
    if close is None or text[close + 1 :].strip():
        return _as_expression(parse_template(text))
    reader = _Reader(text)
    return reader.expression()


def _as_expression(template: Template) -> Expression:
    if len(template.parts) == 1 and isinstance(template.parts[0], str):
        return Constant(template.parts[0])
    return template


def _closing(text: str, position: int) -> int | None:
    """Return the offset of the parenthesis that closes the one before ``position``; None when there is none."""
    depth, quote = 1, ""
    while position < len(text):
        char = text[position]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif text.startswith("${", position) and (end := text.find("}", position)) >= 0:
            position = end
        else:
            depth += (char == "(") - (char == ")")
            if depth == 0:
                return position
        position += 1
    return None


class _Reader:
    """Reads one expression from a text, left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.depth = 0

    def skip(self) -> str:
        """Skip blanks and return the next character, empty at the end."""
        blank = _BLANK.match(self.text, self.position)
        self.position = blank.end() if blank else self.position
        return self.text[self.position : self.position + 1]

    def expression(self) -> Expression:
        char = self.skip()
        if char in {"'", '"'} and char:
            return self._quoted(char)
        if self.text.startswith("${", self.position):
            reference = _reference(self.text, self.position)
            self.position = reference.end
            return Template((reference,))
        if number := _NUMBER.match(self.text, self.position):
            self.position = number.end()
            return Constant(_number(number[0]))
        name = _NAME.match(self.text, self.position)
        if name is None:
            raise ExpressionError(
                f"expected a value, found {char!r}; text needs quotes" if char else "a value is missing", self.position
            )
        self.position = name.end()
        if self.text.startswith("(", self.position):
            return self._call(name[0], name.start())
        return Constant(_WORDS[name[0]]) if name[0] in _WORDS else Name(name[0], name.start())

    def _quoted(self, quote: str) -> Expression:
        start = self.position + 1
        end = self.text.find(quote, start)
        if end < 0:
            raise ExpressionError(f"the text that starts with {quote} is not closed", self.position)
        self.position = end + 1
        try:
            return _as_expression(parse_template(self.text[start:end]))
        except TemplateError as error:
            error.offset += start
            raise

    def _call(self, name: str, start: int) -> Call:
        function = FUNCTIONS.get(name)
        if function is None:
            known = tuple(FUNCTIONS)
            raise ExpressionError(f"unknown function {name!r}", start, name=name, candidates=known)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ExpressionError(f"functions are nested more than {_DEEPEST} deep", start)
        self.position += 1
        arguments = tuple(self._arguments(name))
        self.depth -= 1
        if len(arguments) < function.least or (function.most is not None and len(arguments) > function.most):
            raise ExpressionError(f"{name} takes other arguments: {function.usage}", start)
        self._refuse_names(function, arguments)
        return Call(name, arguments, start)

    def _arguments(self, name: str) -> Iterator[Expression]:
        if self.skip() == ")":
            self.position += 1
            return
        while True:
            yield self.expression()
            char = self.skip()
            if char not in {",", ")"}:
                shown = repr(char) if char else "the end"
                raise ExpressionError(f"expected , or ) in the arguments of {name}, found {shown}", self.position)
            self.position += 1
            if char == ")":
                return

    @staticmethod
    def _refuse_names(function: Function, arguments: tuple[Expression, ...]) -> None:
        for number, argument in enumerate(arguments):
            if isinstance(argument, Name) and not (function.named and number == 0):
                text = f"{argument.name!r} is neither text nor field: write '{argument.name}' or ${{{argument.name}}}"
                raise ExpressionError(text, argument.start)


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)


def references(expression: Expression) -> tuple[Reference, ...]:
    """Return every reference in an expression, in order."""
    if isinstance(expression, Template):
        return expression.references
    if isinstance(expression, Call):
        return tuple(reference for argument in expression.arguments for reference in references(argument))
    return ()
