"""Compiles functions and their calls."""

from __future__ import annotations

from typing import Final

from etlctl.jsonata import nodes as n
from etlctl.jsonata.analysis import bound_names, makes_functions, stays_inside
from etlctl.jsonata.calls import accepts
from etlctl.jsonata.emitter import Emitter
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.functions.builtin import Builtin
from etlctl.jsonata.functions.regex_dialect import Untranslatable
from etlctl.jsonata.functions.regexes import Regex, compile_regex
from etlctl.jsonata.functions.signature import SYMBOLS, Signature
from etlctl.jsonata.source import DEEPEST_LOOP, Atom, Context, Frame, Function, LocalVariable
from etlctl.jsonata.values import JsonataSyntaxError

_KINDS: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("sum", "max", "min", "average", "number", "abs", "floor", "ceil", "round", "sqrt", "power", "length",
         "toMillis"),
        "number",
    ),
    **dict.fromkeys(
        ("string", "substring", "substringBefore", "substringAfter", "lowercase", "uppercase", "trim", "pad", "join",
         "formatNumber", "formatBase", "formatInteger", "fromMillis", "base64encode", "base64decode", "type"),
        "string",
    ),
    **dict.fromkeys(("boolean", "not", "contains"), "boolean"),
}  # fmt: skip
"""What some functions give when they give anything."""
_SHALLOW: Final = frozenset(
    {"count", "exists", "map", "filter", "single", "reduce", "sort", "append", "reverse", "each", "sift", "keys",
     "lookup", "zip", "boolean", "not", "type", "shuffle", "spread", "merge", "error", "assert"}
)  # fmt: skip
"""Functions that do not look into the items of an array or the fields of an object."""


_PRESENT: Final = frozenset(
    {"uppercase", "lowercase", "string", "length", "trim", "substring", "substringBefore", "substringAfter", "abs",
     "floor", "ceil", "round", "contains", "pad", "join", "sqrt", "power", "formatNumber", "formatBase"}
)  # fmt: skip
"""Functions that give something when all they are given is something."""
QUICK: Final = frozenset(
    {"sum", "count", "max", "min", "average", "abs", "floor", "ceil", "round", "sqrt", "length", "substring",
     "substringBefore", "substringAfter", "lowercase", "uppercase", "trim", "exists", "boolean", "not", "number",
     "type", "join", "string", "lookup", "keys"}
)  # fmt: skip
"""Functions that take no longer and give no more than their arguments are large."""


_FITTING: Final[dict[str, frozenset[type]]] = {}


def _ends_with_call(node: n.Node) -> bool:
    """Tell whether a lambda's result may be that of a call at its end, which does not collapse."""
    if isinstance(node, n.Condition):
        return _ends_with_call(node.then) or (node.otherwise is not None and _ends_with_call(node.otherwise))
    if isinstance(node, n.Block):
        return bool(node.items) and _ends_with_call(node.items[-1])
    if isinstance(node, n.Call) and isinstance(node.function, n.Variable):
        return node.function.name not in _KINDS
    return isinstance(node, n.Call)


class Calls(Emitter):
    """The part of the compiler for functions."""

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, node: n.Call, context: Context, first: Atom | None = None) -> Atom:
        """Write a call; return its raw result. ``~>`` gives the first argument."""
        if isinstance(node.function, n.Variable) and node.function.name not in {"", "$"}:
            name = node.function.name
            code, builtin = self.resolve(name)
            if name == "eval" and name not in self.bindings and code.startswith("p"):
                return self._evaluation(node, context, first)
            if builtin is not None:
                return self._builtin(node, context, builtin, first)
            function = self.assign(code, node)
        else:
            function = self.value(node.function, context)
            self._forgotten(node.function, function)
        arguments = self._arguments(node, context, first)
        return self.assign(f"call({function.code}, ({arguments}), {context.code})", node)

    def _arguments(self, node: n.Call, context: Context, first: Atom | None) -> str:
        codes = [first.code] if first is not None else []
        for each in node.arguments:
            builtin = (
                self.resolve(each.name)[1] if isinstance(each, n.Variable) and each.name not in {"", "$"} else None
            )
            if builtin is not None:
                codes.append(f"detached({self.constants.name(builtin)})")
            else:
                codes.append(self.value(each, context).code)
        return "".join(f"{code}, " for code in codes)

    def _forgotten(self, node: n.Node, function: Atom) -> None:
        """Write the check for a function name whose ``$`` was forgotten."""
        name = self._bare_name(node)
        if name:
            self.emit(f"if {function.code} is NOTHING: raise not_a_function(NOTHING, {name!r})", node.offset)

    def _bare_name(self, node: n.Node | None) -> str:
        """Return the name of the variable that a bare field name would be with ``$``."""
        if not isinstance(node, n.Path) or not isinstance(node.steps[0].node, n.Name):
            return ""
        name = node.steps[0].node.value
        return name if self.resolve(name)[0] != "NOTHING" else ""

    def _builtin(self, node: n.Call, context: Context, builtin: Builtin, first: Atom | None) -> Atom:
        name = builtin.name
        if first is None and len(node.arguments) == 1 and builtin is BUILTINS.get(name):
            inline = self._inline(node, context, name)
            if inline is not None:
                return inline
        if name in {"map", "filter"} and len(node.arguments) == 2 - (first is not None):
            inline = self._looped(node, context, first)
            if inline is not None:
                return inline
        atoms = [first] if first is not None else []
        atoms += [self.value(each, context) for each in node.arguments]
        codes = [self._admitted(atom, name, node) for atom in atoms]
        for atom, code in zip(atoms, codes, strict=True):
            self._weigh(atom, code, node)
        if name in {"uppercase", "lowercase"} and len(atoms) == 1 and type(atoms[0].sample) is str:
            slow = f"{self.constants.name(builtin.call)}({codes[0]})"
            method = f"{codes[0]}.{name[:5]}() if type({codes[0]}) is str else {slow}"
            return self.assign(method, node, "string", missing=False, finished=True)
        direct = f"{self.constants.name(builtin.call)}({', '.join(codes)})"
        complete = f"{self.constants.name(builtin)}.invoke([{', '.join(codes)}], admit({context.code}))"
        if not accepts(builtin, len(codes)):
            code = complete
        elif not builtin.signature.may_use_context(len(codes)):
            code = direct
        else:
            # The context stands in for the first argument when the arguments do not fit as they stand.
            fitting = zip(codes, self._fitting(builtin), strict=False)
            tests = [f"type({each}) in {self.constants.name(kinds)}" for each, kinds in fitting]
            code = f"{direct} if {' and '.join(tests)} else {complete}" if tests else complete
        kind = _KINDS.get(name, "any")
        missing = name not in _PRESENT or any(atom.missing for atom in atoms) or not atoms
        return self.assign(code, node, kind, missing=missing, finished=kind != "any")

    def _weigh(self, atom: Atom, code: str, node: n.Node) -> None:
        """Write the count of what a function goes through, inside a loop or a lambda."""
        inside = self.target.loops or self.target.parent is not None
        if inside and atom.kind in {"any", "array"} and code.isidentifier() and not code.startswith("K"):
            self.emit(f"if isinstance({code}, list): run.weigh({code})", node.offset)

    @staticmethod
    def _fitting(builtin: Builtin) -> list[frozenset[type]]:
        """Return the types to look for in the first arguments, to know that none is missing; empty when in doubt.

        The first one decides, unless it could be a later one too: ``$split(",", 2)`` splits the context.
        """
        first, *others = builtin.signature.parameters
        if not first.context or any(each.context for each in others):
            return []
        mistaken = any("?" not in each.pattern and set(first.kinds) & set(each.kinds) - {"m"} for each in others)
        return [
            _FITTING.setdefault(each.kinds, frozenset(kind for kind, symbol in SYMBOLS.items() if symbol in each.kinds))
            for each in ([first, *others] if mistaken else [first])
        ]

    def _admitted(self, atom: Atom, name: str, node: n.Node) -> str:
        """Write the conversion of an argument into JSON terms."""
        if atom.kind != "any" and (atom.kind not in {"array", "object"} or atom.finished):
            return atom.code
        if atom.code.startswith("K"):
            return atom.code
        test = "SHALLOW" if name in _SHALLOW else "PLAIN"
        if atom.code.startswith("r") and atom.code != "root":
            self.emit(
                f"if {self.unless(atom)}type({atom.code}) not in {test}: {atom.code} = admit({atom.code})", node.offset
            )
            return atom.code
        result = self.name()
        self.emit(f"{result} = {atom.code} if type({atom.code}) in {test} else admit({atom.code})", node.offset)
        return result

    def _inline(self, node: n.Call, context: Context, name: str) -> Atom | None:
        """Write a call of one argument in place."""
        argument = node.arguments[0]
        if name == "exists":
            atom = self.value(argument, context)
            test = f"{atom.code} is not NOTHING" if atom.missing else "True"
            return self.assign(test, node, "boolean", missing=False, finished=True)
        if name in {"sum", "max", "min", "average"}:
            return (self.total(argument, context) if name == "sum" else None) or self._aggregated(node, context, name)
        if name == "not":
            atom = self.value(argument, context)
            code = f"{f'NOTHING if {atom.code} is NOTHING else ' if atom.missing else ''}not {self._truth(atom)}"
            return self.assign(code, node, "boolean", missing=atom.missing, finished=True)
        if name == "count":
            atom = self.value(argument, context)
            if isinstance(atom.sample, list):
                self.must_be_list(atom.code, node)
                return Atom(f"len({atom.code})", "number", missing=False, finished=True)
            single = f"int({atom.code} is not NOTHING)" if atom.missing else "1"
            code = f"len({atom.code}) if isinstance({atom.code}, list) else {single}"
            return self.assign(code, node, "number", missing=False, finished=True)
        return None

    def _looped(self, node: n.Call, context: Context, first: Atom | None) -> Atom | None:
        """Write ``$map`` or ``$filter`` with a lambda in place as a loop."""
        function = node.arguments[-1]
        name = node.function.name if isinstance(node.function, n.Variable) else ""
        if (
            not isinstance(function, n.Lambda)
            or function.signature is not None
            or function.predicates
            or function.group
        ):
            return None
        if makes_functions(function.body) or self.target.loops >= DEEPEST_LOOP or _ends_with_call(function.body):
            return None
        if not 1 <= len(set(function.parameters)) == len(function.parameters) <= 2:
            return None
        atom = first or self.value(node.arguments[0], context)
        items, item, made, index = self.name("i"), self.name("x"), self.name("o"), self.name("n")
        self.emit(f"{items} = items_of({atom.code})", node.offset)
        self.emit(f"run.ticks -= len({items})", node.offset)
        self.emit("if run.ticks < 0: run.late()", node.offset)
        self.emit(f"{made} = Sequence()", node.offset)
        frame = self.frame
        counted = len(function.parameters) == 2
        head = f"for {index}, {item} in enumerate({items}):" if counted else f"for {item} in {items}:"
        with self.target.loop(head, node.offset):
            self.frame = inner = Frame(frame)
            for parameter, code in zip(function.parameters, (item, index), strict=False):
                inner.variables[parameter] = LocalVariable(code, self.target, definite=True, raw=True)
            if isinstance(atom.sample, list) and atom.sample:
                inner.variables[function.parameters[0]].sample = atom.sample[0]
            for each in bound_names(function.body):
                if each not in inner.variables:
                    inner.variables[each] = LocalVariable(self.name("v"), self.target, self.target.branches)
                    self.emit(f"{inner.variables[each].code} = UNBOUND", node.offset)
            if name == "filter":
                self.emit(f"if {self.condition(function.body, context)}: {made}.append({item})", function.offset)
            else:
                result = self.value(function.body, context)
                test = f"if {result.code} is not NOTHING: " if result.missing else ""
                self.emit(f"{test}{made}.append({result.code})", function.offset)
        self.frame = frame
        return self.assign(f"{made} if {atom.code} is not NOTHING else NOTHING", node) if atom.missing else Atom(made)

    def _aggregated(self, node: n.Call, context: Context, name: str) -> Atom:
        """Write an aggregate, of one number in place."""
        atom = self.value(node.arguments[0], context)
        function = self.constants.name(BUILTINS[name].call)
        self._weigh(atom, atom.code, node)
        one = f"settled({atom.code}) if type({atom.code}) is float else {function}(admit({atom.code}))"
        code = f"{atom.code} if type({atom.code}) is int else {one}"
        return self.assign(code, node, "number", finished=True)

    def _truth(self, atom: Atom) -> str:
        return atom.code if atom.kind == "boolean" else f"truthy({atom.code})"

    def _evaluation(self, node: n.Call, context: Context, first: Atom | None) -> Atom:
        codes = [first.code] if first is not None else []
        codes += [self.value(each, context).code for each in node.arguments]
        if not 1 <= len(codes) <= 2:
            arguments = ", ".join(codes)
            return self.assign(f"{self.resolve('eval')[0]}.invoke([{arguments}], {context.code})", node)
        focus = codes[1] if len(codes) == 2 else "NOTHING"
        visible = ", ".join(f"{name!r}: {self._bound(name)}" for name in self._visible())
        return self.assign(f"evaluated({codes[0]}, {focus}, {context.code}, {{{visible}}}, run)", node)

    def _bound(self, name: str) -> str:
        return self.resolve(name)[0]

    def _visible(self) -> list[str]:
        names: dict[str, None] = {}
        frame = self.frame
        while frame is not None:
            if isinstance(frame, Frame):
                names.update(dict.fromkeys(frame.variables))
            frame = frame.parent
        return [name for name in names if self.resolve(name)[1] is None]

    def apply(self, node: n.Apply, context: Context) -> Atom:
        """Write ``left ~> right``; return its raw result."""
        left = self.value(node.left, context)
        right = node.right
        if isinstance(right, n.Call) and not right.predicates and right.group is None:
            return self.call(right, context, left)
        function = self.value(right, context)
        return self.assign(f"applied({left.code}, {function.code}, {context.code})", node)

    # --- functions ---------------------------------------------------------------------------------------------------

    def regex(self, node: n.Regex) -> Regex:
        """Return the function value of a regular expression."""
        try:
            return compile_regex(node.pattern, node.flags)
        except JsonataSyntaxError as error:
            raise JsonataSyntaxError(error.message, node.offset + 1 + error.offset, error.code) from error
        except Untranslatable as error:
            text = f"the regular expression cannot be evaluated here: {error}"
            raise JsonataSyntaxError(text, node.offset) from error

    def function(self, node: n.Lambda, context: Context) -> Atom:
        """Write a lambda."""
        name = self.name("l")
        outer, frame = self.target, self.frame
        self.target = Function(outer)
        self.frame = inner = Frame(frame)
        parameters: dict[str, str] = {}
        for each in node.parameters:
            code = self.name("a")
            parameters[code] = each
            inner.variables[each] = LocalVariable(code, self.target, 0, definite=True, raw=True)
        for each in bound_names(node.body):
            if each not in inner.variables:
                variable = inner.variables[each] = LocalVariable(self.name("v"), self.target, 0)
                self.emit(f"{variable.code} = UNBOUND", node.offset)
        self.emit("run.ticks -= 1", node.offset)
        self.emit("if run.ticks < 0: run.late()", node.offset)
        self.tail(node.body, context)
        child, self.target, self.frame = self.target, outer, frame
        self.target.adopt(child, name, ", ".join([*(f"{code}=NOTHING" for code in parameters), "*_"]), node.offset)
        signature = f", {self.constants.name(self._signature(node))}" if node.signature is not None else ""
        return self.assign(f"Lambda({name}, {len(node.parameters)}{signature})", node, missing=False)

    def _signature(self, node: n.Lambda) -> Signature:
        try:
            return Signature(node.signature or "<>")
        except JsonataSyntaxError as error:
            raise JsonataSyntaxError(error.message, node.offset, error.code) from error

    def tail(self, node: n.Node, context: Context) -> None:
        """Write the return of a lambda's result; what a call at the end gives is returned as it is."""
        plain = not node.predicates and node.group is None and not node.keep_array
        if isinstance(node, n.Call) and node.tail and plain:
            self._tail_call(node, context)
        elif isinstance(node, n.Condition) and plain:
            self.emit(f"if {self.condition(node.test, context)}:", node.offset)
            with self.target.indented():
                self.tail(node.then, context)
            if node.otherwise is None:
                self.emit("return NOTHING", node.offset)
            else:
                self.tail(node.otherwise, context)
        elif isinstance(node, n.Block) and plain and node.items:
            frame = self.frame
            if names := bound_names(*node.items):
                self.open_frame(names)
            for item in node.items[:-1]:
                self.value(item, context)
            self.tail(node.items[-1], context)
            self.frame = frame
        else:
            atom = self.value(node, context)
            if atom.kind == "any" and isinstance(node, n.Path):
                self.emit(f"if type({atom.code}) not in SHALLOW: {atom.code} = admit({atom.code})", node.offset)
            self.emit(f"return {atom.code}", node.offset)

    def _tail_call(self, node: n.Call, context: Context) -> None:
        if isinstance(node.function, n.Variable) and node.function.name not in {"", "$"}:
            code, builtin = self.resolve(node.function.name)
            if builtin is not None or node.function.name == "eval":
                self.emit(f"return {self.call(node, context).code}", node.offset)
                return
            function = self.assign(code, node)
        else:
            function = self.value(node.function, context)
            self._forgotten(node.function, function)
        arguments = self._arguments(node, context, None)
        self.emit(f"return tail_call({function.code}, ({arguments}), {context.code})", node.offset)

    def partial(self, node: n.Partial, context: Context) -> Atom:
        """Write a partial application."""
        given = ["None" if each is None else f"({self.value(each, context).code},)" for each in node.arguments]
        function = self.value(node.function, context)
        name = self._bare_name(node.function)
        return self.assign(f"partial({function.code}, [{', '.join(given)}], {name!r})", node, missing=False)

    def transform(self, node: n.Transform, context: Context) -> Atom:  # noqa: ARG002 - it has a context of its own
        """Write a transform operator."""
        parts = [node.pattern, node.update, *([node.delete] if node.delete is not None else [])]
        names = [self.item_function(each, binding=False, arguments=1) for each in parts]
        clone, builtin = self.resolve("clone")
        copy = "None" if builtin is not None else f"cloner({clone})"
        delete = names[2] if node.delete is not None else "None"
        code = f"transformer({names[0]}, {names[1]}, {delete}, {copy}, closed={stays_inside(node.pattern)})"
        return self.assign(code, node, missing=False)
