"""Compiles paths: steps, predicates, orderings, groupings, bindings."""

from __future__ import annotations

from typing import Any

from etlctl.jsonata import nodes as n
from etlctl.jsonata.analysis import bound_names, is_predicate, makes_functions
from etlctl.jsonata.emitter import Emitter
from etlctl.jsonata.source import DEEPEST_LOOP, Atom, Context
from etlctl.jsonata.values import NOTHING


def is_plain_name(step: n.Step) -> bool:
    """Tell whether a step is a field name and nothing more."""
    node = step.node
    return isinstance(node, n.Name) and not (step.stages or step.binds or node.predicates or node.group)


def _is_whole(node: n.Node) -> bool:
    return isinstance(node, n.Array) and node.whole


class Paths(Emitter):
    """The part of the compiler for paths."""

    def path(self, node: n.Path, context: Context, *, final: bool) -> Atom:
        """Write the value of a path."""
        if any(step.binds for step in node.steps):
            return self._binding_path(node, context)
        keep = node.keep_singleton or node.keep_array
        current = begun = self.start(node, context)
        for number, step in enumerate(node.steps[current[1] :], current[1]):
            is_last = number == len(node.steps) - 1
            single = number == 0 and context.single
            mode = "step" if not is_last else "kept" if keep else "last"
            if node.group is not None and is_last and mode == "last":
                mode = "group"
            within = final and node.group is None
            made = self.step(step, current[0], mode, single=single, final=within, first=number == 0)
            current = (made, number + 1)
        atom = current[0]
        if node.group is not None:
            pairs = self.pair_functions(node.group.pairs, context, binding=False)
            return self.assign(f"grouped({atom.code}, {pairs})", node, "object", missing=False)
        return self._ended(node, begun[0], atom) if len(node.steps) > 1 else atom

    def _ended(self, node: n.Path, begun: Atom, atom: Atom) -> Atom:
        """Write that an array constructor without items ends the path it begins, and is what the path gives."""
        if not _is_whole(node.steps[0].node):
            return atom
        empty = "Kept([[]])" if node.keep_singleton else "[]"
        return self.assign(f"{empty} if type({begun.code}) is Whole and not {begun.code} else {atom.code}", node)

    def start(self, node: n.Path, context: Context) -> tuple[Atom, int]:
        """Write what the first step goes through, or the first step itself when it does not go through the context."""
        first = node.steps[0]
        if _is_whole(first.node):
            atom = self.value(first.node, context)
            return (self.assign(f"array_items({atom.code})", node) if len(node.steps) > 1 else atom), 1
        if isinstance(first.node, n.Variable) and len(node.steps) > 1 and not first.stages:
            return self.value(first.node, context), 1
        if isinstance(first.node, n.Variable) and not context.single:
            return self.assign(f"[{context.code}]", node), 0
        return Atom(context.code), 0

    # --- one step ----------------------------------------------------------------------------------------------------

    def step(self, step: n.Step, current: Atom, mode: str, *, single: bool, final: bool, first: bool = False) -> Atom:
        """Write a step; the mode is ``step``, ``last``, ``kept`` (last, arrays of one item stay) or ``group``."""
        node = step.node
        if isinstance(node, n.Sort):
            return self._sort(step, current, mode, single=single)
        if is_plain_name(step) and not node.keep_array:
            return self._name(node, current, mode, single=single)
        source = current.code
        items = f"({source},)" if single else f"{'tested_items' if first else 'items_of'}({source})"
        if self.inlines(step):
            return self.inlined(step, items, mode, final=final and mode == "last")
        function = self._step_function(step)
        results = f"each_last({function}, {items})"
        return self._gather(results, mode, node)

    def _gather(self, results: str, mode: str, node: n.Node) -> Atom:
        """Write what the results of a step stand for."""
        ways = {"step": "flat", "last": "last", "kept": "last_kept", "group": "last_raw"}
        return self.assign(f"{ways[mode]}({results})", node)

    def _name(self, node: n.Node, current: Atom, mode: str, *, single: bool) -> Atom:
        assert isinstance(node, n.Name)  # noqa: S101 - asked before
        code, name = current.code, repr(node.value)
        if mode in {"kept", "group"}:
            ways = {"kept": "last_kept", "group": "last_raw"}
            items = f"({code},)" if single else f"items_of({code})"
            return self.assign(f"{ways[mode]}(fields({items}, {name}))", node)
        slow = "last_name_step" if mode == "last" else "name_step"
        if single:
            slow = "last_field" if mode == "last" else "field"
        result = self.name()
        get = f"{code}.get({name}, NOTHING)"
        self.emit(f"{result} = {get} if type({code}) is dict else {slow}({code}, {name})", node.offset)
        if mode == "last":
            self.emit(f"if type({result}) is Kept: {result} = {result}[0]", node.offset)
        return Atom(result)

    def inlines(self, step: n.Step) -> bool:
        """Tell whether a step can be a loop in place."""
        if self.target.loops >= DEEPEST_LOOP or makes_functions(step.node) or step.node.keep_array:
            return False
        for stage in step.stages:
            if isinstance(stage, n.PositionBind):
                return False
            literal = isinstance(stage.expression, n.Literal)
            if makes_functions(stage.expression) or (literal and stage is not step.stages[-1]):
                return False
            if not literal and not is_predicate(stage.expression):
                return False
        return not any(bound_names(stage.expression) for stage in step.stages if isinstance(stage, n.Filter))

    def inlined(self, step: n.Step, items: str, mode: str, *, final: bool, sample: Any = NOTHING) -> Atom:
        """Write a step as a loop in place."""
        node = step.node
        results, item = self.name("o"), self.name("x")
        self.emit(f"{results} = []", node.offset)
        kind = "any"
        self._charge(items, node)
        with self.target.loop(f"for {item} in {items}:", node.offset):
            whole = isinstance(node, n.Array | n.Block) and node.whole
            mark = len(self.target.lines)
            context = Context(item, sample=sample)
            atom = self._item(node, context, final=final and not step.stages and not whole)
            self.guard(context, mark, node)
            if step.stages:
                self._stages(step, atom, results)
            else:
                kind = atom.kind
                test = f"if {atom.code} is not NOTHING: " if atom.missing else ""
                self.emit(f"{test}{results}.append({atom.code})", node.offset)
        if kind in {"number", "string", "boolean", "null", "object"}:
            if mode == "step":
                return Atom(results)
            if mode == "last" and not (final and atom.finished):
                return self.assign(f"found({results})", node)
            if mode == "last":
                return self.assign(f"found_final({results})", node, finished=True)
        if final and not step.stages and atom.finished and mode == "last":
            return self.assign(f"last_final({results})", node, finished=True)
        return self._gather(results, mode, node)

    def guard(self, context: Context, mark: int, node: n.Node) -> None:
        """Put a test of the item's shape before a loop's body, unless the body reads a field of it for sure."""
        if context.sample is NOTHING or any(holder == context.code for holder, _ in self.target.known[-1]):
            return
        wrong = "is not dict" if isinstance(context.sample, dict) else "is list"
        line = (self.target.level, f"if type({context.code}) {wrong}: raise Retry", node.offset)
        self.target.lines.insert(mark, line)

    def _charge(self, items: str, node: n.Node) -> None:
        """Write the look at the clock that a loop inside another loop or a function needs."""
        if self.target.loops or self.target.parent is not None:
            self.emit(f"run.ticks -= len({items})", node.offset)
            self.emit("if run.ticks < 0: run.late()", node.offset)

    def _item(self, node: n.Node, context: Context, *, final: bool) -> Atom:
        if isinstance(node, n.Name) and not node.predicates and node.group is None:
            code, name = context.code, repr(node.value)
            return self.assign(f"{code}.get({name}, NOTHING) if type({code}) is dict else field({code}, {name})", node)
        return self.value(node, context, final=final)

    def _stages(self, step: n.Step, atom: Atom, results: str) -> None:
        """Write predicates that are conditions, the last of them perhaps a literal index."""
        current = atom.code
        for stage in step.stages:
            assert isinstance(stage, n.Filter)  # noqa: S101 - asked before
            if isinstance(stage.expression, n.Literal) and type(stage.expression.value) in {int, float}:
                self.emit(f"{results}.append(at_index({current}, {stage.expression.value!r}))", stage.offset)
                return
            chosen, item = self.name("o"), self.name("x")
            self.emit(f"{chosen} = Sequence()", stage.offset)
            self._charge(f"tested_items({current})", step.node)
            with self.target.loop(f"for {item} in tested_items({current}):", stage.offset):
                test = self.condition(stage.expression, Context(item))
                self.emit(f"if {test}: {chosen}.append({item})", stage.offset)
            current = chosen
        self.emit(f"{results}.append({current})", step.node.offset)

    def _step_function(self, step: n.Step) -> str:
        """Write a function that evaluates a step and its predicates for one item."""
        node = step.node
        name = self.item_function(node, binding=False, arguments=1)
        if not step.stages:
            return name
        result = self.name("f")
        code = f"{name}(item)"
        for stage in step.stages:
            assert isinstance(stage, n.Filter)  # noqa: S101 - a position bind makes a path with bindings
            code = self.filter_code(stage, code)
        self.emit(f"{result} = lambda item: {code}", node.offset)
        return result

    def filter_code(self, each: n.Filter, code: str, *, binding: bool = False) -> str:
        """Write a predicate; return code of what it selects of a value."""
        expression = each.expression
        if isinstance(expression, n.Literal) and type(expression.value) in {int, float} and not expression.predicates:
            return f"{'indexed_bindings' if binding else 'at_index'}({code}, {expression.value!r})"
        if binding:
            return f"filtered_bindings({self.item_function(expression, binding=True)}, {code})"
        return f"filtered({self.item_function(expression, binding=False, arguments=1)}, {code})"

    # --- ordering ----------------------------------------------------------------------------------------------------

    def _terms(self, node: n.Sort, *, binding: bool) -> str:
        arguments = 2 if binding else 1
        terms = [
            f"({self.item_function(term.expression, binding=binding, arguments=arguments)}, {term.descending})"
            for term in node.terms
        ]
        return f"[{', '.join(terms)}]"

    def _sort(self, step: n.Step, current: Atom, mode: str, *, single: bool) -> Atom:
        node = step.node
        assert isinstance(node, n.Sort)  # noqa: S101 - asked before
        terms = self._terms(node, binding=False)
        code = f"ordered({f'[{current.code}]' if single else current.code}, {terms})"
        for stage in step.stages:
            assert isinstance(stage, n.Filter)  # noqa: S101 - a position bind makes a path with bindings
            code = self.filter_code(stage, code)
        if step.stages:
            ways = {"step": "", "last": "collapsed", "kept": "kept", "group": ""}
        else:
            ways = {"step": "", "last": "found", "kept": "found_kept", "group": ""}
        return self.assign(f"{ways[mode]}({code})", node)

    # --- bindings ----------------------------------------------------------------------------------------------------

    def _binding_path(self, node: n.Path, context: Context) -> Atom:
        """Write a path whose items carry bindings."""
        first = next(number for number, step in enumerate(node.steps) if step.binds)
        current, done = begun = self.start(node, context) if first else (Atom(context.code), 0)
        for number in range(done, first):
            current = self.step(node.steps[number], current, "step", single=number == 0 and context.single, final=False)
        step = node.steps[first]
        single = first == 0 and (context.single or isinstance(step.node, n.Variable))
        if isinstance(step.node, n.Array) and step.node.whole and first == 0:
            current, single, first = self.value(step.node, context), False, 1
        bindings = self.assign(f"bindings_of({f'[{current.code}]' if single else current.code})", node).code
        for each in node.steps[first:]:
            bindings = self._binding_step(each, bindings)
        if node.group is not None and first and not single:
            # Without items for the step that begins to bind, the reference has not begun when it groups.
            bindings = f"({bindings} if {current.code} is not NOTHING and {current.code} != [] else NOTHING)"
        result = self._binding_result(node, bindings, context)
        return result if done == 0 or node.group is not None or node.binds else self._ended(node, begun[0], result)

    def _binding_step(self, step: n.Step, bindings: str) -> str:
        node = step.node
        if isinstance(node, n.Sort):
            code = f"ordered_bindings({bindings}, {self._terms(node, binding=True)})"
            if step.position:
                code = f"positioned({code}, {step.position!r})"
        else:
            function = self.item_function(node, binding=True)
            code = f"binding_step({function}, {bindings}, {step.focus!r}, {step.position!r}, {step.ancestor!r})"
        for stage in step.stages:
            if isinstance(stage, n.PositionBind):
                code = f"positioned({code}, {stage.name!r})"
            else:
                code = self.filter_code(stage, code, binding=True)
        return self.assign(code, node).code

    def _binding_result(self, node: n.Path, bindings: str, context: Context) -> Atom:
        if node.group is not None:
            pairs = self._binding_pairs(node.group, context)
            return self.assign(f"grouped({bindings}, {pairs})", node, "object", missing=False)
        if node.binds:
            return self.assign(bindings, node)
        keep = node.keep_singleton or node.keep_array
        return self.assign(f"{'found_kept' if keep else 'found'}(values_of({bindings}))", node)

    def _binding_pairs(self, group: n.Group, context: Context) -> str:
        return self.pair_functions(group.pairs, context, binding=True)
