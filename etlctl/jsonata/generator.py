"""Compiles a syntax tree into Python source: constants, variables, blocks, conditions, constructors.

Each method writes the lines that compute a node's value and returns an ``Atom`` that names it. Paths, operators and
calls have files of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from etlctl.jsonata import nodes as n
from etlctl.jsonata.analysis import bound_names, carries_bindings
from etlctl.jsonata.calls import CLONE
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.functions.builtin import Builtin
from etlctl.jsonata.generate_calls import Calls
from etlctl.jsonata.generate_fitted import FittedPaths
from etlctl.jsonata.generate_operators import Operators
from etlctl.jsonata.source import NOTHING_ATOM, Atom, BindingFrame, Context, Frame, Function, LocalVariable
from etlctl.jsonata.surroundings import SURROUNDINGS
from etlctl.jsonata.values import NOTHING


class Generator(FittedPaths, Operators, Calls):
    """Writes the Python function of one expression."""

    def write(self, tree: n.Node, *, final: bool = True, sample: Any = NOTHING) -> None:
        """Write the body of the outermost function: ``root`` is the input, ``run`` the evaluation.

        With a sample the code is fitted to inputs of its shape; for others it fails in any way.
        """
        self.open_frame(bound_names(tree))
        if sample is not NOTHING:
            self.emit("if type(root) is not dict: raise Retry", tree.offset)
        atom = self.value(tree, Context("root", single=True, sample=sample), final=final)
        self.emit(f"return {atom.code}", tree.offset)

    # --- values ------------------------------------------------------------------------------------------------------

    def value(self, node: n.Node, context: Context, *, final: bool = False) -> Atom:
        """Write the value of a node; a final one is part of the result and comes out as plain JSON."""
        plain = not node.predicates and (node.group is None or isinstance(node, n.Path)) and not node.keep_array
        if plain or isinstance(node, n.Path):
            atom = self._plain(node, context, final=final)
        else:
            atom = self._decorated(node, context)
        if final and not atom.finished and not atom.items:
            atom = self._finished(atom, node)
        return atom

    def _finished(self, atom: Atom, node: n.Node) -> Atom:
        name = atom.code
        if not name.startswith("r") or name == "root":
            name = self.assign(atom.code, node).code
        self.emit(f"if {self.unless(atom)}type({name}) not in PLAIN: {name} = finished({name})", node.offset)
        return Atom(name, atom.kind, atom.missing, finished=True)

    def _plain(self, node: n.Node, context: Context, *, final: bool) -> Atom:  # noqa: PLR0911 - one case per node
        match node:
            case n.Literal():
                return self.literal(node.value)
            case n.Path():
                return self.path(node, context, final=final)
            case n.Variable():
                return self._variable(node, context)
            case n.Binary():
                return self.binary(node, context)
            case n.Condition():
                return self._condition(node, context, final=final)
            case n.Block():
                return self._block(node, context, final=final)
            case n.Object():
                return self._object(node, context, final=final)
            case n.Array():
                return self._array(node, context, final=final)
            case n.Call():
                return self.collapse(self.call(node, context), node)
            case _:
                return self._other(node, context)

    def _other(self, node: n.Node, context: Context) -> Atom:  # noqa: C901, PLR0911 - one case per kind of node
        match node:
            case n.Negate():
                return self.negate(node, context)
            case n.Bind():
                return self._bind(node, context)
            case n.Lambda():
                return self.function(node, context)
            case n.Partial():
                return self.partial(node, context)
            case n.Apply():
                return self.collapse(self.apply(node, context), node)
            case n.Transform():
                return self.transform(node, context)
            case n.Regex():
                return Atom(self.constants.name(self.regex(node)), missing=False)
            case n.Parent():
                return self.assign(self.resolve(node.label)[0], node)
            case n.Wildcard():
                return self.collapse(self.raw(node, context), node)
            case n.Descendants():
                return self.assign(f"descendants({context.code})", node)
            case n.Name():
                return self.assign(f"field({context.code}, {node.value!r})", node)
        raise NotImplementedError(type(node).__name__)

    def raw(self, node: n.Node, context: Context) -> Atom:
        """Write a node's own value, before predicates and grouping, without collapsing it."""
        if isinstance(node, n.Call):
            return self.call(node, context)
        if isinstance(node, n.Apply):
            return self.apply(node, context)
        if isinstance(node, n.Wildcard):
            return self.assign(f"wildcard({context.code})", node)
        if isinstance(node, n.Name):
            return self.assign(f"lookup({context.code}, {node.value!r})", node)
        return self._plain(node, context, final=False)

    def _decorated(self, node: n.Node, context: Context) -> Atom:
        code = self.raw(node, context).code
        binding = carries_bindings(node)
        for each in node.predicates:
            code = self.filter_code(each, code, binding=binding)
        if node.group is not None:
            pairs = self.pair_functions(node.group.pairs, context, binding=binding)
            return self.assign(f"grouped({code}, {pairs})", node)
        if node.keep_array:
            code = f"kept({code})"
        return self.collapse(self.assign(code, node), node)

    def collapse(self, atom: Atom, node: n.Node) -> Atom:
        """Write the collapse of a raw result."""
        if atom.kind in {"any", "array"} and not atom.finished:
            self.emit(f"if type({atom.code}) is Sequence: {atom.code} = {atom.code}.collapsed()", node.offset)
            return Atom(atom.code, "any", missing=True)
        return atom

    # --- variables ---------------------------------------------------------------------------------------------------

    def open_frame(self, names: list[str]) -> Frame:
        """Begin a frame in which these variables get bound."""
        frame = Frame(self.frame)
        for name in names:
            variable = LocalVariable(self.name("v"), self.target, self.target.branches)
            frame.variables[name] = variable
            self.emit(f"{variable.code} = UNBOUND", 0)
        self.frame = frame
        return frame

    def resolve(self, name: str) -> tuple[str, Builtin | None]:
        """Return code that looks a variable up, and the built-in function when it can be nothing else."""
        frame = self.frame
        tests: list[tuple[str, str]] = []
        code, builtin = "NOTHING", None
        while frame is not None:
            if isinstance(frame, BindingFrame):
                tests.append((f"{frame.code}[{name!r}]", f"{name!r} in {frame.code}"))
            elif (variable := frame.variables.get(name)) is not None:
                if variable.definite:
                    code = variable.code
                    break
                tests.append((variable.code, f"{variable.code} is not UNBOUND"))
            frame = frame.parent
        else:
            code, builtin = self._outside(name)
        for found, test in reversed(tests):
            code, builtin = f"({found} if {test} else {code})", None
        return code, builtin

    def _outside(self, name: str) -> tuple[str, Builtin | None]:
        if name in self.bindings:
            return self.prologue(f"run.bindings[{name!r}]"), None
        if name in SURROUNDINGS:
            return self.prologue(f"surrounding({name!r}, run)"), None
        builtin = CLONE if name == "clone" else BUILTINS.get(name)
        if builtin is not None:
            return self.constants.name(builtin), builtin
        return "NOTHING", None

    def _variable(self, node: n.Variable, context: Context) -> Atom:  # noqa: PLR0911 - every way to say which
        if node.name == "$":
            return Atom("root")
        if node.name == "":
            if context.single or context.sample is not NOTHING:
                return Atom(context.code, sample=context.sample)
            return self.collapse(self.assign(context.code, node), node)
        code, builtin = self.resolve(node.name)
        if builtin is not None:
            return Atom(code, missing=False)
        if code == "NOTHING":
            return NOTHING_ATOM
        known = self.known(node.name)
        if known is not None and (not known.raw or known.sample is not NOTHING):
            return Atom(code, sample=known.sample)
        return self.collapse(self.assign(code, node), node)

    def known(self, name: str) -> LocalVariable | None:
        """Return the variable a name stands for when there is no doubt."""
        frame = self.frame
        while isinstance(frame, Frame) and name not in frame.variables:
            frame = frame.parent
        variable = frame.variables[name] if isinstance(frame, Frame) else None
        return variable if variable is not None and variable.definite else None

    def _bind(self, node: n.Bind, context: Context) -> Atom:
        frame = self.frame
        while isinstance(frame, BindingFrame):
            frame = frame.parent
        assert frame is not None  # noqa: S101 - the outermost frame is one of variables
        variable = frame.variables[node.name]
        sure = variable.owner is self.target and variable.level == self.target.branches
        if sure and isinstance(node.value, n.Lambda):
            variable.definite = True
        atom = self.value(node.value, context)
        if variable.owner is not self.target:
            self.target.nonlocals.add(variable.code)
        self.emit(f"{variable.code} = {atom.code}", node.offset)
        if sure:
            variable.definite = True
        return Atom(variable.code, atom.kind, atom.missing) if variable.owner is self.target else atom

    # --- control -----------------------------------------------------------------------------------------------------

    def _block(self, node: n.Block, context: Context, *, final: bool) -> Atom:
        if not node.items:
            return NOTHING_ATOM
        outer = self.frame
        names = bound_names(*node.items)
        if names:
            self.open_frame(names)
        for item in node.items[:-1]:
            self.value(item, context)
        atom = self.value(node.items[-1], context, final=final)
        self.frame = outer
        return atom

    def _condition(self, node: n.Condition, context: Context, *, final: bool) -> Atom:
        result = self.name()
        test = self.condition(node.test, context)
        self.emit(f"if {test}:", node.offset)
        with self.target.indented():
            then = self.value(node.then, context, final=final)
            self.emit(f"{result} = {then.code}", node.then.offset)
        self.emit("else:", node.offset)
        with self.target.indented():
            otherwise = NOTHING_ATOM
            if node.otherwise is not None:
                otherwise = self.value(node.otherwise, context, final=final)
            self.emit(f"{result} = {otherwise.code}", node.offset)
        kind = then.kind if then.kind == otherwise.kind else "any"
        if otherwise.kind == "nothing":
            kind = then.kind
        missing = then.missing or otherwise.missing
        return Atom(result, kind, missing, finished=then.finished and otherwise.finished)

    # --- constructors ------------------------------------------------------------------------------------------------

    def literal(self, value: Any) -> Atom:
        """Return the atom of a literal."""
        kinds = {str: "string", bool: "boolean", type(None): "null"}
        return Atom(repr(value), kinds.get(type(value), "number"), missing=False, finished=True)

    def _array(self, node: n.Array, context: Context, *, final: bool) -> Atom:
        result = self.name()
        atoms = [self.value(item, context, final=final) for item in node.items]
        if len(atoms) == 1 and atoms[0].items and not node.whole:
            return Atom(atoms[0].items, "array", missing=False, finished=True)
        self.emit(f"{result} = []", node.offset)
        finished = True
        for item, atom in zip(node.items, atoms, strict=True):
            finished = finished and atom.finished
            self._add(result, atom, item)
        if self.target.parent is not None or any(not isinstance(item, n.Path | n.Literal) for item in node.items):
            self.emit(f"if len({result}) > 100000: run.budget.check_items(len({result}))", node.offset)
        if node.whole and not final:
            self.emit(f"{result} = Whole({result})", node.offset)
        return Atom(result, "array", missing=False, finished=finished)

    def _add(self, result: str, atom: Atom, item: n.Node) -> None:
        code = atom.code
        single = isinstance(item, n.Array) and not item.predicates
        if atom.kind not in {"any", "array"} or (single and item.group is None):
            test = f"if {code} is not NOTHING: " if atom.missing else ""
            self.emit(f"{test}{result}.append({code})", item.offset)
            return
        if isinstance(item, n.Array):
            self.emit(f"if {code} is not NOTHING: {result}.append({code})", item.offset)
            return
        self.emit(f"if isinstance({code}, list): {result}.extend({code})", item.offset)
        self.emit(f"elif {code} is not NOTHING: {result}.append({code})", item.offset)

    def _object(self, node: n.Object, context: Context, *, final: bool) -> Atom:
        keys = [self._key(key) for key, _ in node.pairs]
        if None in keys:
            pairs = self.pair_functions(node.pairs, context, binding=False)
            code = f"[{context.code}]" if context.single else context.code
            return self.assign(f"grouped({code}, {pairs})", node)
        inner = Context(context.code, sample=context.sample)
        if not context.single and node.pairs and not isinstance(context.sample, dict):
            name = self.name("x")
            self.emit(
                f"{name} = joined({context.code}) if isinstance({context.code}, list) else {context.code}", node.offset
            )
            inner = Context(name)
        result = self.name("d")
        for key in keys:
            if keys.count(key) > 1 or key in {"_jsonata_lambda", "_jsonata_function"}:
                self.emit(f"{'same_key' if keys.count(key) > 1 else 'checked_key'}({key!r})", node.offset)
        values = [
            (key, value, self.value(value, inner, final=final))
            for key, (_, value) in zip(keys, node.pairs, strict=True)
        ]
        sure = list(takewhile(lambda each: not each[2].missing, values))
        self.emit(f"{result} = {{{', '.join(f'{key!r}: {atom.code}' for key, _, atom in sure)}}}", node.offset)
        for key, value, atom in values[len(sure) :]:
            test = f"if {atom.code} is not NOTHING: " if atom.missing else ""
            self.emit(f"{test}{result}[{key!r}] = {atom.code}", value.offset)
        return Atom(result, "object", missing=False, finished=all(atom.finished for _, _, atom in values))

    @staticmethod
    def _key(node: n.Node) -> str | None:
        """Return the text that a key is, None when it is computed."""
        plain = isinstance(node, n.Literal) and not node.predicates and node.group is None
        return node.value if plain and isinstance(node, n.Literal) and isinstance(node.value, str) else None

    def pair_functions(self, pairs: Sequence[n.Pair], context: Context, *, binding: bool) -> str:  # noqa: ARG002
        """Write the key and value functions of a grouping; return code of the list of them."""
        made = []
        for key, value in pairs:
            key_name = self.item_function(key, binding=binding)
            made.append(f"({key_name}, {self.item_function(value, binding=binding)})")
        return f"[{', '.join(made)}]"

    def item_function(self, node: n.Node, *, binding: bool, arguments: int = 2) -> str:
        """Write a function of an item (and the binding it comes with); return its name."""
        name, item = self.name("f"), self.name("x")
        outer, frame = self.target, self.frame
        self.target = Function(outer)
        parameters = item
        if arguments == 2:
            carried = self.name("t")
            parameters = f"{item}, {carried}"
            if binding:
                self.frame = BindingFrame(self.frame, carried)
                self.open_frame(bound_names(node))
        atom = self.value(node, Context(item))
        self.emit(f"return {atom.code}", node.offset)
        child, self.target, self.frame = self.target, outer, frame
        self.target.adopt(child, name, parameters, node.offset)
        return name
