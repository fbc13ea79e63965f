"""Operation ``custom_function``: change records with the user's own Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from etlctl.batch import frame_to_rows, rows_to_frame
from etlctl.errors import ConversionError
from etlctl.kit.calling import CalledFunction
from etlctl.kit.user_code import source_of
from etlctl.kit.user_function import FunctionPlace, Refusal
from etlctl.sdk import Example, FatalError, FieldProblem, FieldSet, Record, RowSlice, Scope, StepContext
from etlctl.sdk.whole_frame import WholeFrame

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.isolation import IsolatedFunction


class CustomFunction(WholeFrame):
    """Changes records with a Python function or class of your own, sync or async.

    ``mode: batch`` (default) calls it with the list of all records and takes a list, or None for none.
    ``mode: record`` calls it with one record and takes a record, a list of records, or None to drop the record; an
    exception rejects the record (``custom_function.raised``). ``mode: frame`` calls it with a ``polars.DataFrame`` and
    takes one. A generator does for a list.
    A class is made into one object per run, with those ``kwargs`` that its constructor names; the method ``optimize``,
    ``run`` or ``__call__`` is called with the others. Async functions are awaited one call after the other, all in one
    event loop. Calls come from one thread that is the function's own; what it prints goes to stderr. With ``workers``
    each process has an object of its own.
    The module is looked for in the contract's folder, then in the workspace, then among the installed packages, and is
    imported only when a run gets to it.
    """

    module: str | None = None
    """Dotted name of the module."""
    function: str | None = None
    """Function or class in the module."""
    callable: str | None = None
    """Both at once: ``module.function``."""
    mode: Literal["record", "batch", "frame"] = "batch"
    """Call it with one record, or with the list (``batch``) or Polars frame (``frame``) of all: the data set in full mode, one batch in streaming."""  # noqa: E501
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of each call, and of the constructor of a class."""
    timeout: float | None = Field(default=None, gt=0, le=86_400, strict=False)
    """Seconds one call may take; past it the record is rejected (``custom_function.timeout``), in the other modes the batch fails. What hangs outside of Python code can only be ended with ``isolate``."""  # noqa: E501
    isolate: bool = False
    """Run it in a process of its own: a crash rejects the record in hand (``custom_function.crashed``), in the other modes the batch fails; the run goes on with a new process."""  # noqa: E501

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "A function beside the contract",
            "{module: my_transforms, function: optimize, kwargs: {factor: 2}}",
            files={"my_transforms.py": "def optimize(records, factor):\n    return records\n"},
        ),
        Example("Installed code, one record at a time", "{callable: copy.copy, mode: record}", [{"a": 1}], [{"a": 1}]),
        Example(
            "A Polars frame in, a Polars frame out",
            "{callable: my_transforms.per_month, mode: frame}",
            files={"my_transforms.py": "def per_month(frame):\n    return frame\n"},
        ),
        Example(
            "Code that may crash or hang",
            "{callable: my_transforms.parse_pdf, mode: record, isolate: true, timeout: 10}",
            files={"my_transforms.py": "def parse_pdf(record):\n    return record\n"},
        ),
    )

    _called: Any = PrivateAttr(default=None)

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
        """The whole batch, unless it is called record by record."""
        return Scope.record if self.mode == "record" else Scope.batch

    @property
    def takes_frames(self) -> bool:
        """Tell whether the function wants a frame."""
        return self.mode == "frame"

    def frame_reason(self) -> str | None:
        """Say that only ``mode: frame`` works on a frame."""
        return None if self.takes_frames else f"custom_function in {self.mode} mode calls Python with records"

    @property
    def path(self) -> str:
        """Dotted path of the function."""
        return self.callable or f"{self.module}.{self.function}"

    def code(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the file of the function, when it is the user's own."""
        found = source_of(self.path.rpartition(".")[0], base_dir)
        return () if found is None else (found,)

    def file_problems(self, base_dir: Path) -> tuple[FieldProblem, ...]:
        """Return what is wrong with the function's file, as far as that can be told without importing it."""
        from etlctl.kit.function_glance import trouble_with  # noqa: PLC0415 - only contracts with functions pay for it

        module, _, name = self.path.rpartition(".")
        found = trouble_with(module, name, base_dir)
        if found is None:
            return ()
        option = "callable" if self.callable else "module" if found.of_module else "function"
        meant = module if found.of_module else name
        return (FieldProblem("unusable-file", found.message, (option,), found.candidates, meant),)

    def fresh(self) -> CustomFunction:
        """Return a copy that looks the function up anew, so that no object outlives its run."""
        return self.model_copy()

    def close(self) -> None:
        """End the function's thread or process."""
        if self._called is not None:
            self._called.close()
            self._called = None

    def _function(self, ctx: StepContext) -> CalledFunction | IsolatedFunction:
        if self._called is None:
            place = FunctionPlace(self.path, self.kwargs, ctx.base_dir, self.timeout)
            self._called = _isolated(place) if self.isolate else CalledFunction(place)
        return cast("CalledFunction | IsolatedFunction", self._called)

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Call the function for each record, or once for all."""
        if not rows.records:
            return
        function = self._function(ctx)
        if self.mode == "record":
            _each(rows, function)
        elif self.mode == "batch":
            _exchange(rows, function.batch(rows.records))
        else:
            _exchange(rows, frame_to_rows(function.frame(self.as_frame(rows.records))))

    def change(self, frame: pl.DataFrame, ctx: StepContext) -> pl.DataFrame:
        """Call the function with a frame."""
        return self._function(ctx).frame(frame) if frame.height else frame

    def as_frame(self, records: list[Record]) -> pl.DataFrame:
        """Turn records into the frame that the function wants.

        Raises:
            FatalError: They do not fit into columns.
        """
        try:
            return rows_to_frame(records)
        except ConversionError as error:
            raise FatalError(
                f"custom function {self.path} wants a frame, and the records do not make one: {error}",
                help=f"{error.help or 'give each field one type'}; or use mode: batch",
            ) from error

    def effect(self, known: FieldSet) -> FieldSet:
        """What comes out is not known."""
        return known.opaque()


def _isolated(place: FunctionPlace) -> IsolatedFunction:
    from etlctl.kit.isolation import IsolatedFunction  # noqa: PLC0415 - few functions are

    return IsolatedFunction(place)


def _each(rows: RowSlice, function: CalledFunction | IsolatedFunction) -> None:
    for position, outcome in enumerate(function.each(rows.records)):
        if type(outcome) is dict:
            rows.records[position] = outcome
        elif outcome is None:
            rows.drop(position)
        elif isinstance(outcome, Refusal):
            rows.reject(position, outcome.rule, outcome.message)
        elif isinstance(outcome, list):
            rows.replace(position, outcome)


def _exchange(rows: RowSlice, records: list[Record]) -> None:
    rows.exchange(records)
    if len({id(record) for record in records}) < len(records):
        # One object given twice is two records: later steps change each in its place.
        rows.records = [record.copy() for record in records]
