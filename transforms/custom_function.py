"""Operation ``custom_function``: change records with the user's own Python."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from etlctl.errors import UnexpectedError
from etlctl.kit.user_code import load_callable, source_of
from etlctl.sdk import Example, FatalError, FieldSet, Operation, Record, RowSlice, Scope, StepContext
from etlctl.types import kind_of

_METHODS = ("optimize", "run", "__call__")


class CustomFunction(Operation):
    """Changes records with a Python function or class of your own, sync or async.

    ``mode: batch`` (default) calls it with the list of all records and takes a list, or None for none.
    ``mode: record`` calls it with one record and takes a record, a list of records, or None to drop the record; an
    exception rejects the record (``custom_function.raised``). Of a class, the method ``optimize``, ``run`` or
    ``__call__`` is called. The module is looked for in the contract's folder, then in the workspace, then among the
    installed packages, and is imported only when a run gets to it.
    """

    module: str | None = None
    """Dotted name of the module."""
    function: str | None = None
    """Function or class in the module."""
    callable: str | None = None
    """Both at once: ``module.function``."""
    mode: Literal["record", "batch"] = "batch"
    """Call it with one record, or with the list of all: the data set in full mode, one batch in streaming."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of each call."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example("A function beside the contract", "{module: my_transforms, function: optimize, kwargs: {factor: 2}}"),
        Example("Installed code, one record at a time", "{callable: copy.copy, mode: record}", [{"a": 1}], [{"a": 1}]),
    )

    _function: Callable[..., Any] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _named(self) -> CustomFunction:
        pair = (self.module is not None, self.function is not None)
        if self.callable is None and pair != (True, True):
            text = "custom_function requires either 'callable' or 'module' + 'function'"
            raise PydanticCustomError("bad_callable", text)
        if self.callable is not None and any(pair):
            raise PydanticCustomError("bad_callable", "give either 'callable' or 'module' + 'function', not both")
        if self.callable is not None and not all(self.callable.rpartition(".")[::2]):
            text = "Invalid callable path: {path}. Use 'module.function' format."
            raise PydanticCustomError("bad_callable", text, {"path": self.callable})
        return self

    @property
    def scope(self) -> Scope:
        """The whole batch in batch mode."""
        return Scope.batch if self.mode == "batch" else Scope.record

    @property
    def path(self) -> str:
        """Dotted path of the function."""
        return self.callable or f"{self.module}.{self.function}"

    def code(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the file of the function, when it is the user's own."""
        found = source_of(self.path.rpartition(".")[0], base_dir)
        return () if found is None else (found,)

    def fresh(self) -> CustomFunction:
        """Return a copy that looks the function up anew, so that no object outlives its run."""
        return self.model_copy()

    def resolve(self, ctx: StepContext) -> Callable[..., Any]:
        """Import the function, once per run.

        Raises:
            FatalError: It cannot be found, imported or called.
        """
        if self._function is None:
            module, _, name = self.path.rpartition(".")
            self._function = _bind(load_callable(module, name, ctx.base_dir), self.path)
        return self._function

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Call the function for each record, or once for all."""
        if not rows.records:
            return
        function = self.resolve(ctx)
        if self.mode == "batch":
            self._batch(rows, function)
        else:
            self._each(rows, function)

    def _batch(self, rows: RowSlice, function: Callable[..., Any]) -> None:
        _own_nested(rows.records)
        try:
            (result,) = _call(function, [list(rows.records)], self.kwargs)
        except _Raised as raised:
            error = raised.error
            raise UnexpectedError(f"custom function {self.path} raised {type(error).__name__}: {error}") from error
        if result is None:
            result = []
        if not isinstance(result, list | tuple) or not all(isinstance(record, dict) for record in result):
            raise FatalError(
                f"custom function {self.path} returned {_described(result)}",
                help="in batch mode it must return a list of records (dict), or None for none",
            )
        rows.exchange(list(result))

    def _each(self, rows: RowSlice, function: Callable[..., Any]) -> None:
        _own_nested(rows.records)
        for position, result in enumerate(_call(function, rows.records, self.kwargs, keep_errors=True)):
            if isinstance(result, _Raised):
                text = f"custom function {self.path} raised {type(result.error).__name__}: {result.error}"
                rows.reject(position, "custom_function.raised", text)
            elif result is None:
                rows.drop(position)
            elif isinstance(result, dict):
                rows.records[position] = result
            elif isinstance(result, list | tuple) and all(isinstance(record, dict) for record in result):
                rows.replace(position, list(result))
            else:
                text = (
                    f"custom function {self.path} returned {_described(result)}, not a record, list of records or None"
                )
                rows.reject(position, "custom_function.result", text)

    def effect(self, known: FieldSet) -> FieldSet:
        """What comes out is not known."""
        return known.opaque()


class _Raised(Exception):  # noqa: N818
    """The user's code raised something."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _bind(found: Any, path: str) -> Callable[..., Any]:
    """Return what to call: the function itself, or a method of one instance of the class."""
    if not inspect.isclass(found):
        return found  # type: ignore[no-any-return]
    try:
        instance = found()
    except Exception as error:
        raise FatalError(f"custom function {path}: making the object raised {type(error).__name__}: {error}") from error
    method = next((getattr(instance, name) for name in _METHODS if hasattr(instance, name)), None)
    if method is None:
        raise FatalError(f"class {path} has none of the methods {', '.join(_METHODS)}")
    return method  # type: ignore[no-any-return]


def _call(
    function: Callable[..., Any], inputs: list[Any], kwargs: dict[str, Any], *, keep_errors: bool = False
) -> list[Any]:
    """Call the function for each input, in order; one event loop serves all that turn out to be async."""
    results: list[Any] = []
    pending = False
    for each in inputs:
        try:
            result = function(each, **kwargs)
        except (Exception, SystemExit) as error:
            if not keep_errors:
                raise _Raised(error) from error
            result = _Raised(error)
        pending = pending or inspect.isawaitable(result)
        results.append(result)
    return _on_a_loop(_settle(results, keep_errors=keep_errors)) if pending else results


async def _settle(results: list[Any], *, keep_errors: bool) -> list[Any]:
    settled: list[Any] = []
    for result in results:
        try:
            settled.append(await result if isinstance(result, Awaitable) else result)
        except (Exception, SystemExit) as error:
            if not keep_errors:
                raise _Raised(error) from error
            settled.append(_Raised(error))
    return settled


def _on_a_loop(work: Any) -> list[Any]:
    """Run a coroutine to its end from synchronous code, on another thread when this one has a running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001
            outcome.append(error)

    thread = threading.Thread(target=run, name="etlctl-custom-function")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]  # type: ignore[no-any-return]


def _own_nested(records: list[Record]) -> None:
    """Give the function nested values of its own: those in the record still belong to the source."""
    for record in records:
        for name, value in record.items():
            if isinstance(value, dict | list):
                record[name] = _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _described(result: Any) -> str:
    if isinstance(result, list | tuple):
        wrong = next(item for item in result if not isinstance(item, dict))
        return f"a list with a {kind_of(wrong)} in it"
    return f"a {kind_of(result)}"
