"""Compiles paths fitted to a sample record: fields that it has are read without a test, its arrays are gone through.

A record of another shape makes such code fail (by whatever exception), and is then evaluated by the general code. So
everything here may assume that values have the shape of the sample, and has to fail, not to differ, when they have not.
"""

from __future__ import annotations

from typing import Any

from etlctl.frozen import frozen
from etlctl.jsonata import nodes as n
from etlctl.jsonata.analysis import bound_names, is_predicate, makes_functions
from etlctl.jsonata.generate_paths import Paths, is_plain_name
from etlctl.jsonata.source import DEEPEST_LOOP, Atom, Context
from etlctl.jsonata.values import NOTHING


@frozen
class Place:
    """Where a path has got to.

    Attributes:
        code: Name of the variable: one item, or a list of items.
        sample: What the item was for the sample, the first one of a list.
        many: It is a list of items.
        single: It is the only field of one item read last, so that it is the path's value as it is.
    """

    code: str
    sample: Any
    many: bool = False
    single: bool = True


class FittedPaths(Paths):
    """The part of the compiler for paths whose context is known by a sample."""

    def path(self, node: n.Path, context: Context, *, final: bool) -> Atom:
        """Write the value of a path."""
        place, done = self._walk(node, context, len(node.steps))
        if not done:
            return super().path(node, context, final=final)
        current = Atom(place.code, missing=False, sample=place.sample if not place.many else NOTHING)
        if done == len(node.steps):
            return self._value(node, place)
        for number, step in enumerate(node.steps[done:], done):
            mode = "last" if number == len(node.steps) - 1 else "step"
            sample = place.sample if number == done else NOTHING
            if sample is not NOTHING and self._loops(step) and self.inlines(step):
                items = place.code if place.many else f"({place.code},)"
                current = self.inlined(step, items, mode, final=final and mode == "last", sample=sample)
            else:
                current = self.step(step, Atom(current.code), mode, single=False, final=final and mode == "last")
        return current

    def _value(self, node: n.Path, place: Place) -> Atom:
        if not place.many:
            return Atom(place.code, missing=False, sample=place.sample)
        if isinstance(node.steps[-1].node, n.Name) and not node.steps[-1].stages:
            result = self.assign(f"{place.code} if len({place.code}) > 1 else found({place.code})", node)
            result.items = place.code
            return result
        return self.assign(f"found({place.code})", node)

    @staticmethod
    def _loops(step: n.Step) -> bool:
        return isinstance(step.node, n.Block | n.Object | n.Array) and not step.stages

    def _walk(self, node: n.Path, context: Context, until: int) -> tuple[Place, int]:
        """Write as many steps as the sample has; return where that leads, and how many they are."""
        place, begin = Place(context.code, context.sample), 0
        first = node.steps[0]
        if isinstance(first.node, n.Variable) and len(node.steps) > 1 and first == n.Step(first.node):
            variable = self.known(first.node.name)
            if variable is None or variable.owner is not self.target:
                return place, 0
            place, begin = Place(variable.code, variable.sample), 1
        if not isinstance(place.sample, dict) or node.group or node.keep_singleton or node.keep_array:
            return place, 0
        if any(step.binds or step.node.keep_array or step.node.predicates or step.node.group for step in node.steps):
            return place, 0
        for number, step in enumerate(node.steps[begin:until], begin):
            is_last = number == len(node.steps) - 1
            after = (
                self._sorted(step, place)
                if isinstance(step.node, n.Sort)
                else self._named(step, place, is_last=is_last)
            )
            if after is None:
                return place, number if number > begin else 0
            place = after
        return place, until

    def _named(self, step: n.Step, place: Place, *, is_last: bool) -> Place | None:
        node = step.node
        if not isinstance(node, n.Name) or node.value in self.optional:
            return None
        if not isinstance(place.sample, dict) or node.value not in place.sample:
            return None
        value = place.sample[node.value]
        if is_plain_name(step):
            return self._field(node, place, value, is_last=is_last)
        if not isinstance(value, list) or place.many or not value or isinstance(value[0], list):
            return None
        return self._chosen(step, place, value)

    def _field(self, node: n.Name, place: Place, value: Any, *, is_last: bool) -> Place | None:
        if place.many:
            if isinstance(value, list) or (is_last and isinstance(value, dict)):
                return None
            item, result = self.name("x"), self.name("o")
            self.emit(f"{result} = [{item}[{node.value!r}] for {item} in {place.code}]", node.offset)
            if is_last:
                self.emit(f"if not PLAIN.issuperset(map(type, {result})): raise Retry", node.offset)
            return Place(result, value, many=True, single=False)
        code = self._read(place.code, node)
        if is_last or not isinstance(value, list):
            return Place(code, value) if is_last or isinstance(value, dict) else None
        if not value or not isinstance(value[0], dict):
            return None
        self.must_be_list(code, node)
        return Place(code, value[0], many=True)

    def _read(self, holder: str, node: n.Name) -> str:
        code = self.target.seen(holder, node.value)
        if code is None:
            code = self.assign(f"{holder}[{node.value!r}]", node).code
            self.target.known[-1][holder, node.value] = code
        return code

    def must_be_list(self, code: str, node: n.Node) -> None:
        """Write the test that a value is a list, as it was for the sample."""
        if self.target.seen(code, "[]") is None:
            self.emit(f"if type({code}) is not list: raise Retry", node.offset)
            self.target.known[-1][code, "[]"] = code

    def _chosen(self, step: n.Step, place: Place, value: list[Any]) -> Place | None:
        """Write predicates behind a field that is an array."""
        node = step.node
        assert isinstance(node, n.Name)  # noqa: S101 - asked before
        *conditions, last = [stage.expression for stage in step.stages if isinstance(stage, n.Filter)]
        index = last.value if isinstance(last, n.Literal) and type(last.value) is int else None
        if index is None:
            conditions.append(last)
        if len(step.stages) != len(conditions) + (index is not None) or self.target.loops >= DEEPEST_LOOP:
            return None
        if not all(is_predicate(each) and not makes_functions(each) and not bound_names(each) for each in conditions):
            return None
        code = self._read(place.code, node)
        self.must_be_list(code, node)
        for each in conditions:
            chosen, item = self.name("o"), self.name("x")
            self.emit(f"{chosen} = []", node.offset)
            with self.target.loop(f"for {item} in {code}:", node.offset):
                mark, context = len(self.target.lines), Context(item, sample=value[0])
                test = self.condition(each, context)
                self.guard(context, mark, node)
                self.emit(f"if {test}: {chosen}.append({item})", each.offset)
            code = chosen
        if index is None:
            return Place(code, value[0], many=True, single=False)
        result = self.assign(f"{code}[{index}]", node)
        return Place(result.code, value[0], single=False)

    def _sorted(self, step: n.Step, place: Place) -> Place | None:
        node = step.node
        if not isinstance(node, n.Sort) or step.stages or not place.many or not isinstance(place.sample, dict):
            return None
        columns = []
        for term in node.terms:
            path = term.expression
            if not isinstance(path, n.Path) or len(path.steps) != 1 or path.keep_singleton or path.group:
                return None
            key = path.steps[0].node
            if not is_plain_name(path.steps[0]) or not isinstance(key, n.Name) or key.value not in place.sample:
                return None
            if key.value in self.optional:
                return None
            item = self.name("x")
            columns.append(f"([{item}[{key.value!r}] for {item} in {place.code}], {term.descending})")
        code = self.assign(f"sorted_by({place.code}, ({', '.join(columns)},))", node).code
        return Place(code, place.sample, many=True, single=False)

    def total(self, node: n.Node, context: Context) -> Atom | None:
        """Write the sum over a path in one loop; None where that cannot be."""
        if not isinstance(node, n.Path) or len(node.steps) < 2 or self.target.loops >= DEEPEST_LOOP:
            return None
        last = node.steps[-1]
        plain_block = isinstance(last.node, n.Block) and len(last.node.items) == 1 and not makes_functions(last.node)
        if last.stages or not (is_plain_name(last) or plain_block) or bound_names(last.node):
            return None
        # What is written for nothing when the walk stops half-way is only reads of fields, which are used again.
        place, done = self._walk(node, context, len(node.steps) - 1)
        if done != len(node.steps) - 1 or not place.many:
            return None
        result, item = self.name("s"), self.name("x")
        self.emit(f"if not {place.code}: raise Retry", node.offset)
        self.emit(f"{result} = 0", node.offset)
        with self.target.loop(f"for {item} in {place.code}:", node.offset):
            mark, inner = len(self.target.lines), Context(item, sample=place.sample)
            if isinstance(last.node, n.Block):
                atom = self.computed(last.node, inner)
            else:
                atom = self.path(n.Path(offset=last.node.offset, steps=(last,)), inner, final=False)
            self.guard(inner, mark, node)
            if atom.kind != "number":
                self.emit(
                    f"if type({atom.code}) is not float and type({atom.code}) is not int: raise Retry", node.offset
                )
            elif atom.missing:
                self.emit(f"if {atom.code} is NOTHING: raise Retry", node.offset)
            self.emit(f"{result} += {atom.code}", node.offset)
        unsettled = f"({result}.is_integer() or {result} - {result} != 0.0)"
        self.emit(f"if type({result}) is float and {unsettled}: {result} = settled({result})", node.offset)
        return Atom(result, "number", missing=False, finished=True)
