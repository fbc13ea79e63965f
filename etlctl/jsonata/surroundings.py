"""Functions that need the evaluation they run in: ``$now``, ``$millis``, ``$random``, ``$eval``."""

from __future__ import annotations

import random
from typing import Any, Final

from etlctl.jsonata.calls import Run
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.functions.builtin import Builtin
from etlctl.jsonata.functions.signature import Signature
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError

_LONGEST: Final = 20_000
SURROUNDINGS: Final = {
    "now": Signature("<s?s?:s>"),
    "millis": Signature("<:n>"),
    "random": Signature("<:n>"),
    "eval": Signature("<sx?:x>"),
}


def surrounding(name: str, run: Run) -> Builtin:
    """Return one of the functions as a value, for one evaluation."""
    if name == "now":

        def call(picture: Any = NOTHING, timezone: Any = NOTHING) -> Any:
            return BUILTINS["fromMillis"].call(run.millis, picture, timezone)

        return Builtin(name, SURROUNDINGS[name], call, 2)
    if name == "millis":
        return Builtin(name, SURROUNDINGS[name], lambda: run.millis, 0)
    if name == "random":
        return Builtin(name, SURROUNDINGS[name], random.random, 0)
    return Builtin(name, SURROUNDINGS[name], lambda text, focus=NOTHING: evaluated(text, focus, NOTHING, {}, run), 2)


def evaluated(text: Any, focus: Any, context: Any, variables: dict[str, Any], run: Run) -> Any:
    """Return what ``$eval`` gives.

    Args:
        text: The expression; nothing for nothing.
        focus: What it is evaluated for; nothing for the context of the call.
        context: The context of the call.
        variables: Variables visible where the call stands.
        run: The evaluation.
    """
    from etlctl.jsonata.program import NotCompiled, program  # noqa: PLC0415 - it compiles with what stands here

    text, focus = SURROUNDINGS["eval"].bind([text, focus], context, "eval")
    if text is NOTHING:
        return NOTHING
    value = context if focus is NOTHING else focus
    # Reading and compiling takes its time, and cannot be interrupted.
    run.ticks -= 100 + len(text)
    if len(text) > _LONGEST:
        msg = f"The expression passed to $eval has {len(text)} characters, more than the limit of {_LONGEST}"
        raise JsonataError(msg, "D3121")
    if run.ticks < 0:
        run.late()
    known = {name: item for name, item in variables.items() if item is not NOTHING}
    bindings = {**run.bindings, **known}
    try:
        function = program(text, frozenset(bindings), final=False)
    except JsonataSyntaxError as error:
        raise JsonataError(f"Syntax error in the expression passed to $eval: {error.message}", "D3120") from error
    except NotCompiled as error:
        raise JsonataError(f"The expression passed to $eval cannot be evaluated: {error}", "D3121") from error
    try:
        inner = Run(run.budget, run.millis, bindings)
        return function.raw(value, inner)
    except JsonataError as error:
        raise JsonataError(f"The expression passed to $eval failed: {error.message}", "D3121") from error
