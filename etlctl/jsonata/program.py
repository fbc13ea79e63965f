"""From an expression to a Python function: the generated source, compiled, and where each of its lines stands."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

from etlctl.jsonata import calls, constructors, navigation, operators, surroundings
from etlctl.jsonata.calls import Run
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.generate_calls import QUICK
from etlctl.jsonata.generator import Generator
from etlctl.jsonata.nodes import Node
from etlctl.jsonata.source import Retry, TooDeep
from etlctl.jsonata.syntax import parse
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError, Kept, Sequence, Whole

FILE: Final = "<jsonata>"
FITTED: Final = "<jsonata, fitted>"
_LONGEST: Final = 200_000
_PATIENCE: Final = 30
"""Records evaluated before code is fitted to them: a few evaluations are not worth it."""
_TIRED: Final = 10_000
"""Records that the fitted code fails for before it is given up."""
_OPTIONAL: Final = 32
"""Fields that turn out to be missing now and then for which the code is fitted anew."""
_UNBOUND: Final = object()
_NAMES: Final[dict[str, Any]] = {
    **{
        name: value
        for module in (operators, navigation, constructors, calls, surroundings)
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", module.__name__) == module.__name__
    },
    "NOTHING": NOTHING,
    "UNBOUND": _UNBOUND,
    "Sequence": Sequence,
    "Kept": Kept,
    "Whole": Whole,
    "Retry": Retry,
    "PLAIN": operators.PLAIN,
    "SHALLOW": operators.SHALLOW,
    "LARGEST": operators.LARGEST,
}
_LOOPS: Final = ("grouped(", "ordered(", "filtered(", "each_last(", "bindings(")
"""What goes through items; one of them alone takes no longer than the input is large."""
_WATCHED: Final = ("run.", "call(", "applied(", "numbers_from(", "bounded(", "descendants(")


class NotCompiled(Exception):  # noqa: N818 - another engine takes the expression
    """An expression has no compiled form; says why."""


class Program:
    """A compiled expression.

    Args:
        expression: Its text.
        bindings: Names of the variables that come from outside.
        final: Results come out as plain JSON values.

    Attributes:
        source: The generated Python.
        function: Takes the input and the ``Run``.
        fitted: The same for inputs like those seen so far, faster; it fails for any other. None when there is none.
        fitted_source: Its generated Python.
        bounded: It cannot run long or grow much: a time limit need not be set up for it.

    Raises:
        JsonataSyntaxError: The expression cannot be read.
        NotCompiled: It is beyond what Python source can hold.
    """

    def __init__(self, expression: str, bindings: Collection[str] = (), *, final: bool = True) -> None:
        self.expression = expression
        self.bindings = bindings
        self.fitted: Callable[[Any, Run], Any] | None = None
        self.fitted_source = ""
        self._misses = 0
        self._optional: set[str] = set()
        tree = self._tree = parse(expression)
        self._offsets: list[int] = []
        try:
            self.source, constants = self._written(tree, bindings, final=final)
            namespace = {**_NAMES, **constants}
            exec(compile(self.source, FILE, "exec"), namespace)  # noqa: S102 - generated here; see source.py
        except TooDeep:
            raise NotCompiled("it nests too deeply for compiled code") from None
        except (RecursionError, MemoryError, SyntaxError, OverflowError) as error:
            raise NotCompiled(f"it is too large for compiled code ({type(error).__name__})") from error
        self.function: Callable[[Any, Run], Any] = namespace["evaluate"]
        self.bounded = self._is_bounded(constants)

    def _written(self, tree: Node, bindings: Collection[str], *, final: bool) -> tuple[str, dict[str, Any]]:
        generator = Generator(bindings)
        generator.write(tree, final=final)
        source, self._offsets = _assembled(generator, tree)
        return source, generator.constants.values

    # --- code fitted to the records ----------------------------------------------------------------------------------

    def missed(self, value: Any, error: Exception | None) -> None:
        """Take note that the fitted code did not do for a record; fit it (anew) when that is worth it.

        Args:
            value: The record.
            error: What the fitted code failed with; None when there was none.
        """
        self._misses += 1
        if self._misses < _PATIENCE or self.fitted is self.function:
            return
        if not isinstance(value, dict):
            self.fitted = self.function if error is None else self.fitted
        elif error is None:
            self._fit(value)
        elif isinstance(error, KeyError) and isinstance(error.args[0], str) and len(self._optional) < _OPTIONAL:
            self._optional.add(error.args[0])
            self._fit(value)
        elif self._misses > _TIRED:
            self.fitted = self.function

    def _fit(self, sample: dict[str, Any]) -> None:
        generator = Generator(self.bindings, self._optional)
        try:
            generator.write(self._tree, sample=sample)
            source, _ = _assembled(generator, self._tree)
            namespace = {**_NAMES, **generator.constants.values}
            exec(compile(source, FITTED, "exec"), namespace)  # noqa: S102 - generated here; see source.py
        except Exception:  # noqa: BLE001 - the general code is always there
            self.fitted = self.function
            return
        self.fitted_source = source
        self.fitted = namespace["evaluate"]

    def _is_bounded(self, constants: dict[str, Any]) -> bool:
        loops = sum(self.source.count(mark) for mark in _LOOPS)
        if loops > 1 or any(mark in self.source for mark in _WATCHED):
            return False
        quick = {id(BUILTINS[name]) for name in QUICK} | {id(BUILTINS[name].call) for name in QUICK}
        return all(id(value) in quick or isinstance(value, frozenset) for value in constants.values())

    def raw(self, value: Any, run: Run) -> Any:
        """Return the result for an input; every failure is a ``JsonataError`` with its place."""
        try:
            return self.function(value, run)
        except Exception as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> JsonataError:
        """Return the JSONata error that an exception of the function stands for."""
        if isinstance(error, JsonataError):
            found = error
        elif isinstance(error, RecursionError):
            found = JsonataError("calls or values are nested too deeply; look for a recursion without end", "D1011")
        elif isinstance(error, OverflowError) or (isinstance(error, ValueError) and "integer string" in str(error)):
            # Python refuses to write out whole numbers of thousands of digits.
            found = JsonataError("Number out of range", "D1001")
        elif isinstance(error, MemoryError):
            found = JsonataError("the result does not fit into memory", "D2015")
        elif isinstance(error, JsonataSyntaxError):
            found = JsonataError(error.message, error.code)
        else:
            text = str(error).strip().split("\n", 1)[0]
            found = JsonataError(f"the expression cannot be evaluated ({type(error).__name__}: {text})")
        if found.offset is None:
            found.offset = self.place(error.__traceback__)
        return found

    def place(self, traceback: TracebackType | None) -> int | None:
        """Return the offset of the innermost generated line in a traceback."""
        offset = None
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_code.co_filename == FILE and frame.f_globals is self.function.__globals__:
                offset = self._offsets[min(traceback.tb_lineno, len(self._offsets) - 1)]
            traceback = traceback.tb_next
        return offset


def _assembled(generator: Generator, tree: Node) -> tuple[str, list[int]]:
    """Return the source of a written function, and the offset in the expression of each of its lines."""
    lines = ["def evaluate(root, run):"]
    lines += ["    " + line for line in generator.prologue_lines]
    offsets = [tree.offset] * (len(lines) + 1)
    for level, text, offset in generator.target.lines:
        lines.append(" " * (level + 4) + text)
        offsets.append(offset)
    source = "\n".join(lines) + "\n"
    if len(source) > _LONGEST:
        raise NotCompiled("it is too long for compiled code")
    return source, offsets


@lru_cache(maxsize=512)
def program(expression: str, bindings: frozenset[str] = frozenset(), *, final: bool = True) -> Program:
    """Return the compiled form of an expression; see ``Program``."""
    return Program(expression, bindings, final=final)
