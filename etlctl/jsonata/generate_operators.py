"""Compiles operators: the usual operand types in place, everything else through ``operators``."""

from __future__ import annotations

from etlctl.jsonata import nodes as n
from etlctl.jsonata.emitter import Emitter
from etlctl.jsonata.source import Atom, Context

_COMPARISONS = {"<", "<=", ">", ">="}


def number_test(atom: Atom) -> str:
    """Return code that tells whether a value is a number; empty when it is for sure."""
    if atom.kind == "number":
        return f"{atom.code} is not NOTHING" if atom.missing else ""
    if type(atom.sample) in {int, float}:
        return f"type({atom.code}) is {type(atom.sample).__name__}"
    return f"(type({atom.code}) is float or type({atom.code}) is int)"


class Operators(Emitter):
    """The part of the compiler for operators."""

    def binary(self, node: n.Binary, context: Context) -> Atom:  # noqa: PLR0911 - one case per operator
        """Write a binary operator."""
        sign = node.operator
        if sign in {"and", "or"}:
            return self._logical(node, context)
        if sign == "&":
            return self._concatenation(node, context)
        if sign in {"+", "-", "*", "/", "%"}:
            return self.arithmetic(node, context)
        left, right = self.pair(node, context)
        if sign in _COMPARISONS:
            return self._comparison(node, left, right)
        if sign in {"=", "!="}:
            return self._equality(node, left, right)
        if sign == "in":
            return self.assign(f"includes({left.code}, {right.code})", node, "boolean", missing=False, finished=True)
        return self.assign(f"numbers_from({left.code}, {right.code})", node)

    def pair(self, node: n.Binary, context: Context) -> tuple[Atom, Atom]:
        """Write both operands."""
        return self.value(node.left, context), self.value(node.right, context)

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def arithmetic(self, node: n.Binary, context: Context, *, raw: bool = False) -> Atom:
        """Write an arithmetic operator; a raw result need not be in its final form, for it is computed with again."""
        operand = self.value if node.operator == "/" else self._operand  # a quotient hides an operand out of range
        left, right = (operand(each, context) for each in (node.left, node.right))
        result = self.name()
        tests = " and ".join(test for test in map(number_test, (left, right)) if test)
        slow = f"{result} = arithmetic({node.operator!r}, {left.code}, {right.code})"
        if any(atom.kind not in {"any", "number"} for atom in (left, right)) or node.operator == "%":
            self.emit(slow, node.offset)
            return Atom(result, "number", finished=True)
        if not tests:
            self._compute(node, result, left, right, raw=raw)
            return Atom(result, "number", missing=False, finished=not raw)
        self.emit(f"if {tests}:", node.offset)
        with self.target.indented():
            self._compute(node, result, left, right, raw=raw)
        self.emit(f"else: {slow}", node.offset)
        return Atom(result, "number", finished=not raw)

    def computed(self, node: n.Node, context: Context) -> Atom:
        """Write the value of a node that is computed with again."""
        return self._operand(node, context)

    def _operand(self, node: n.Node, context: Context) -> Atom:
        plain = isinstance(node, n.Block) and len(node.items) == 1 and not node.predicates and not node.group
        inner = node.items[0] if isinstance(node, n.Block) and plain and not node.keep_array else node
        if (
            isinstance(inner, n.Binary)
            and inner.operator in {"+", "-", "*"}
            and not inner.predicates
            and not inner.group
        ):
            return self.arithmetic(inner, context, raw=True)
        return self.value(node, context)

    def _compute(self, node: n.Binary, result: str, left: Atom, right: Atom, *, raw: bool) -> None:
        if node.operator == "/":
            # A whole quotient of two floats or small integers is exact; ``divide`` does the rest.
            self.emit(f"{result} = divide({left.code}, {right.code})", node.offset)
        else:
            self.emit(f"{result} = {left.code} {node.operator} {right.code}", node.offset)
        if raw:
            return
        self.emit(f"if type({result}) is float:", node.offset)
        with self.target.indented():
            self.emit(
                f"if {result}.is_integer() or {result} - {result} != 0.0: {result} = settled({result})", node.offset
            )
        if node.operator == "*":
            self.emit(f"elif not -LARGEST <= {result} <= LARGEST: out_of_range({result})", node.offset)

    def negate(self, node: n.Negate, context: Context) -> Atom:
        """Write a unary minus."""
        atom = self.value(node.operand, context)
        return self.assign(f"negate({atom.code})", node, "number", finished=True)

    # --- comparisons -------------------------------------------------------------------------------------------------

    def _comparison(self, node: n.Binary, left: Atom, right: Atom) -> Atom:
        sign = node.operator
        fast, slow = f"{left.code} {sign} {right.code}", f"compare({sign!r}, {left.code}, {right.code})"
        for one, other in ((left, right), (right, left)):
            if one.kind == "string" and one.code[0] in "'\"" and one.code.isascii() and other.kind in {"any", "string"}:
                return self._tested(node, f"type({other.code}) is str", fast, slow)
        if any(atom.kind not in {"any", "number"} for atom in (left, right)):
            return self.assign(slow, node, "boolean", finished=True)
        tests = " and ".join(test for test in map(number_test, (left, right)) if test)
        return self._tested(node, tests, fast, slow)

    def _tested(self, node: n.Node, test: str, fast: str, slow: str) -> Atom:
        if not test:
            return self.assign(fast, node, "boolean", missing=False, finished=True)
        return self.assign(f"{fast} if {test} else {slow}", node, "boolean", finished=True)

    def _equality(self, node: n.Binary, left: Atom, right: Atom) -> Atom:
        function = "equal" if node.operator == "=" else "unequal"
        sign = "==" if node.operator == "=" else "!="
        slow = f"{function}({left.code}, {right.code})"
        fast, test = slow, ""
        for one, other in ((left, right), (right, left)):
            if one.kind == "string" and not one.missing:
                fast, test = f"{left.code} {sign} {right.code}", f"type({other.code}) is str"
                break
            if one.kind == "number" and not one.missing:
                fast, test = f"{left.code} {sign} {right.code}", number_test(other)
                break
        code = f"{fast} if {test} else {slow}" if test else fast
        return self.assign(code, node, "boolean", missing=False, finished=True)

    # --- truth -------------------------------------------------------------------------------------------------------

    def condition(self, node: n.Node, context: Context) -> str:
        """Write a node's value; return code that Python tests for its truth."""
        atom = self.value(node, context)
        return self.truth(atom)

    def truth(self, atom: Atom) -> str:
        """Return code that Python tests for the truth of a value."""
        if atom.kind in {"boolean", "string", "null", "nothing"}:
            return atom.code
        return f"({atom.code} if type({atom.code}) is bool else truthy({atom.code}))"

    def _logical(self, node: n.Binary, context: Context) -> Atom:
        result = self.name()
        left = self.value(node.left, context)
        self.emit(f"{result} = {self._boolean(left)}", node.offset)
        self.emit(f"if {result}:" if node.operator == "and" else f"if not {result}:", node.offset)
        with self.target.indented():
            right = self.value(node.right, context)
            self.emit(f"{result} = {self._boolean(right)}", node.offset)
        return Atom(result, "boolean", missing=False, finished=True)

    def _boolean(self, atom: Atom) -> str:
        if atom.kind == "boolean":
            return f"{atom.code} is True" if atom.missing else atom.code
        return f"truthy({atom.code})"

    # --- texts -------------------------------------------------------------------------------------------------------

    def _concatenation(self, node: n.Binary, context: Context) -> Atom:
        parts: list[str] = []
        growing = False
        for operand in self._operands(node):
            growing = growing or isinstance(operand, n.Variable | n.Call | n.Block)
            atom = self.value(operand, context)
            if atom.kind == "string" and not atom.missing:
                parts.append(atom.code)
            else:
                parts.append(f"({atom.code} if type({atom.code}) is str else text({atom.code}))")
        code = " + ".join(parts) if len(parts) < 4 else f"''.join(({', '.join(parts)}))"
        atom = self.assign(code, node, "string", missing=False, finished=True)
        if growing or self.target.parent is not None:
            self.emit(f"if len({atom.code}) > 1000000: bounded({atom.code})", node.offset)
        return atom

    def _operands(self, node: n.Node) -> list[n.Node]:
        """Return the operands of a chain of ``&``."""
        waiting, found = [node], list[n.Node]()
        while waiting:
            each = waiting.pop()
            plain = not each.predicates and not each.group
            if isinstance(each, n.Binary) and each.operator == "&" and plain and len(found) + len(waiting) < 100:
                waiting.extend((each.right, each.left))
            else:
                found.append(each)
        return found
