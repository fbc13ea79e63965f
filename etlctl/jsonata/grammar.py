"""jsonata-python's parser with our tokens, and with the constructs it gets wrong put right."""

from __future__ import annotations

from typing import Any

from jsonata.jexception import JException
from jsonata.parser import Parser
from jsonata.tokenizer import Tokenizer as PythonTokenizer

from etlctl.jsonata.tokens import Tokenizer
from etlctl.jsonata.values import JsonataSyntaxError


class Grammar(Parser):  # type: ignore[misc] # the base class has no types
    """A parser of one expression.

    Args:
        source: The expression.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tokens = self.lexer = Tokenizer(source)
        self.symbol_table["?:"] = _Elvis(self)
        self.symbol_table["??"] = _Coalesce(self)
        self.symbol_table["("] = _Invocation(self)
        self.symbol_table["{"] = _Braces(self)
        self.symbol_table["-"] = _Minus(self)

    def read(self, source: str) -> Any:
        """Return the parser's own tree of the expression, a ``Parser.Symbol``."""
        self.advance()
        tree = self.expression(0)
        if self.node.id != "(end)":
            raise JException("S0201", self.node.position, self.node.value)
        tree = self.process_ast(tree)
        if tree.type == "parent" or tree.seeking_parent is not None:
            raise JException("S0217", tree.position, source)
        return tree

    def process_ast(self, expr: Any) -> Any:
        """Return a node after the parser's second stage; the sign of a number is kept exactly."""
        if expr.type == "unary" and expr.value == "-":
            operand = self.process_ast(expr.expression)
            if operand.type == "number":
                operand.value = -operand.value
                result = operand
            else:
                result = Parser.Symbol(self)
                result.type, result.value, result.position, result.expression = "unary", "-", expr.position, operand
                self.push_ancestry(result, operand)
            result.keep_array = result.keep_array or expr.keep_array
            return result
        result = super().process_ast(expr)
        if expr.type == "parent":
            result.position = expr.position
        return result


def _copied(item: Any) -> Any:
    """Return a deep copy of a parser node; nodes are changed in place by the second stage, so none may be shared."""
    if isinstance(item, Parser.Symbol):
        copy = item.clone()
        for name, value in vars(item).items():
            if name not in {"_outer_instance", "prefix"}:
                setattr(copy, name, _copied(value))
        return copy
    if isinstance(item, list):
        return [_copied(each) for each in item]
    return item


class _Elvis(Parser.Infix):  # type: ignore[misc]
    """``a ?: b``."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, "?:")
        self.lbp = self.bp

    def led(self, left: Any) -> Any:
        self.type = "condition"
        self.condition, self.then = _copied(left), left
        self._else = self._outer_instance.expression(0)
        return self


class _Coalesce(Parser.Infix):  # type: ignore[misc]
    """``a ?? b``."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, "??")
        self.lbp = self.bp

    def led(self, left: Any) -> Any:
        grammar = self._outer_instance
        exists = Parser.Symbol(grammar)
        exists.type, exists.value, exists.position = "function", "(", self.position
        exists.procedure = Parser.Symbol(grammar)
        exists.procedure.type, exists.procedure.value = "variable", "exists"
        exists.procedure.position = self.position
        exists.arguments = [_copied(left)]
        self.type, self.condition, self.then = "condition", exists, left
        self._else = grammar.expression(0)
        return self


class _Minus(Parser.InfixAndPrefix):  # type: ignore[misc]
    """A difference, or a sign; the parser's own forgets where the sign stands."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, "-")
        self.lbp = self.bp

    def nud(self) -> Any:
        made = super().nud()
        made.position = self.position
        return made


class _Braces(Parser.InfixObjectConstructor):  # type: ignore[misc]
    """An object constructor, or a grouping; the parser's own forgets where it stands."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, PythonTokenizer.operators["{"])
        self.lbp = self.bp

    def nud(self) -> Any:
        made = super().nud()
        made.position = self.position
        return made

    def led(self, left: Any) -> Any:
        made = super().led(left)
        made.position = self.position
        return made


class _Invocation(Parser.InfixFunctionInvocation):  # type: ignore[misc]
    """A call, a partial application, or a lambda."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, PythonTokenizer.operators["("])
        self.lbp = self.bp

    def led(self, left: Any) -> Any:
        grammar = self._outer_instance
        self.procedure, self.type, self.arguments = left, "function", []
        while grammar.node.id != ")":
            if grammar.node.type == "operator" and grammar.node.id == "?":
                self.type = "partial"
                self.arguments.append(grammar.node)
                grammar.advance("?")
            else:
                self.arguments.append(grammar.expression(0))
            if grammar.node.id != ",":
                break
            grammar.advance(",")
            if grammar.node.id == ")":  # a comma promises another argument
                self.arguments.append(grammar.expression(0))
        grammar.advance(")", True)
        if left.type == "name" and left.value in {"function", "\u03bb"}:
            self._lambda()
        return self

    def _lambda(self) -> None:
        grammar = self._outer_instance
        for argument in self.arguments:
            if argument.type != "variable":
                raise JException("S0208", argument.position, argument.value)
        self.type = "lambda"
        if grammar.node.id == "<":
            self.signature = self._signature()
        grammar.advance("{")
        self.body = grammar.expression(0)
        grammar.advance("}")

    def _signature(self) -> str:
        grammar = self._outer_instance
        start, depth, text = grammar.node.position, 1, "<"
        while depth > 0 and grammar.node.id not in {"{", "(end)"}:
            token = grammar.advance()
            depth += (token.id == "<") - (token.id == ">")
            text += str(token.value)
        grammar.advance(">")
        _check_signature(text, start)
        return text


def _check_signature(text: str, start: int) -> None:
    """Refuse type parameters where they mean nothing; the calls themselves are checked when they happen."""
    at, before = 1, ""
    while at < len(text) and text[at] != ":":
        symbol = text[at]
        if symbol == "(":
            end = text.find(")", at)
            choice = text[at + 1 : end if end > 0 else len(text)]
            if "<" in choice:
                raise JsonataSyntaxError("Choice groups with type parameters are not supported", start + at, "S0402")
            at, before = at + len(choice) + 1, "("
        elif symbol == "<":
            if before not in {"a", "f"}:
                text = "Type parameters can only be applied to functions and arrays"
                raise JsonataSyntaxError(text, start + at, "S0401")
            at = _closing(text, at)
        elif symbol in "snblofajx":
            before = symbol
        at += 1


def _closing(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        depth += (text[at] == "<") - (text[at] == ">")
        if depth == 0:
            break
        at += 1
    return at
