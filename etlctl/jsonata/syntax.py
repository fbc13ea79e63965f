"""Reads a JSONata expression into the syntax tree of ``nodes``.

The grammar is that of jsonata-python's parser. What is ours: the tokens (with exact places), ``?:`` and ``??`` (that
parser lets both branches share nodes, and a sign gets lost), lambda signatures, negative numbers (exact at any size)
and the translation into typed nodes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from etlctl.jsonata.tree import read_tree
from etlctl.jsonata.values import JsonataSyntaxError

if TYPE_CHECKING:
    from etlctl.jsonata.nodes import Node

_LONGEST: Final = 200_000


@lru_cache(maxsize=256)
def parse(expression: str) -> Node:
    """Return the syntax tree of an expression.

    Raises:
        JsonataSyntaxError: It cannot be read; carries the code and the offset of the offending token.
    """
    if len(expression) > _LONGEST:
        text = f"the expression has {len(expression)} characters, more than the limit of {_LONGEST}"
        raise JsonataSyntaxError(text, _LONGEST)
    tree, _ = _read(expression)
    return tree


def syntax_problem(expression: str) -> tuple[str, int, int] | None:
    """Return message, start and end of the first syntax error of an expression, or None."""
    try:
        parse(expression)
    except JsonataSyntaxError as error:
        return error.message, error.offset, max(error.end, error.offset + 1)
    return None


def _read(expression: str) -> tuple[Node, Any]:
    from jsonata.jexception import JException  # noqa: PLC0415 - only contracts with JSONata pay for it

    from etlctl.jsonata.grammar import Grammar  # noqa: PLC0415

    grammar = Grammar(expression)
    try:
        return read_tree(grammar.read(expression)), grammar
    except JException as error:
        offset = min(max(error.location, 0), len(expression))
        problem = JsonataSyntaxError(f"{_message(error, expression)} [{error.error}]", offset, error.error)
        problem.end = grammar.tokens.ends.get(offset, offset + 1)
        raise problem from None
    except JsonataSyntaxError as error:
        problem = JsonataSyntaxError(f"{error.message} [{error.code}]", error.offset, error.code)
        problem.end = max(error.end, grammar.tokens.ends.get(error.offset, error.offset + 1))
        raise problem from None
    except RecursionError:
        raise JsonataSyntaxError("the expression is nested too deeply", 0) from None


def _message(error: Any, expression: str) -> str:
    code, token, value = error.error, _shown(error.current), _shown(error.expected)
    # The parser names what it wanted first where a token was expected, what it found elsewhere.
    messages = {
        "S0201": f"Syntax error: {token}",
        "S0202": f"Expected {token}, got {value}",
        "S0203": f"Expected {token} before end of expression",
        "S0206": f"Unknown expression type: {token}",
        "S0207": "Unexpected end of expression",
        "S0208": f"Parameter {token} of the function definition must be a variable name (start with $)",
        "S0209": "A predicate cannot follow a grouping expression in a step",
        "S0210": "Each step can only have one grouping expression",
        "S0211": f"The symbol {token} cannot be used as a unary operator",
        "S0212": "The left side of := must be a variable name (start with $)",
        "S0213": f"The literal value {token} cannot be used as a step within a path expression",
        "S0214": f"The right side of {token} must be a variable name (start with $)",
        "S0215": "A context variable binding must precede any predicates on a step",
        "S0216": "A context variable binding must precede the order-by clause on a step",
        "S0217": "The object representing the parent (%) cannot be derived from this expression",
        "S0401": "Type parameters can only be applied to functions and arrays",
        "S0402": "Choice groups containing parameterized types are not supported",
    }
    text = messages.get(code, str(error).split("\n", 1)[0])
    return text if expression.strip() else "the expression is empty"


def _shown(token: Any) -> str:
    names = {True: "true", False: "false", None: "null"}
    if isinstance(token, str):
        return "the end of the expression" if token == "(end)" else token  # noqa: S105 - a token of the language
    return names[token] if token is None or isinstance(token, bool) else str(token)
