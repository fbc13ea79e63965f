"""A lazy Polars plan that neighbouring frame operations add to; the engine runs it once per batch.

The rows form of an operation is the authority. The frame form is its fast path: it may *suspect* rows it cannot
handle for certain, and the engine sends just those records, from their source, through the rows form of the whole
group, and puts the outcome back in place. So both forms agree by construction wherever a row is suspected, and the
frame form only has to be right about rows it does not suspect. When a whole column is beyond it (a type it does not
know), it raises ``FrameUnsupported`` and the batch takes the rows path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

import polars as pl
from polars.datatypes import DataTypeClass

ORDINAL = "__etlctl_ordinal"
"""Hidden column: 0-based ordinal of the source record in its batch."""
SUSPECT = "__etlctl_suspect"
"""Hidden column: this row must be decided by the rows form."""


class FrameUnsupported(Exception):  # noqa: N818
    """The frame form cannot handle this batch; the rows form can."""


def _check_names(schema: Mapping[str, pl.DataType]) -> None:
    """Refuse names that are not plain to Polars: ``*`` and ``^…$`` mean several columns or none wherever it reads them.

    Raises:
        FrameUnsupported: A column or a field of a struct has such a name, or that of a hidden column.
    """
    for name, declared in schema.items():
        if name in {"*", ORDINAL, SUSPECT} or (name.startswith("^") and name.endswith("$")):
            raise FrameUnsupported(f"column {name!r}")
        dtype = declared
        while isinstance(dtype, pl.List | pl.Array):
            dtype = _instance(dtype.inner)
        if isinstance(dtype, pl.Struct):
            _check_names({field.name: _instance(field.dtype) for field in dtype.fields})


def _instance(dtype: DataTypeClass | pl.DataType) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def _in_pieces_of(frame: pl.DataFrame, *columns: pl.Series) -> list[pl.Series]:
    """Return columns in the pieces of the frame's own: those that do not match are put together at every step."""
    if frame.n_chunks() < 2:
        return list(columns)
    lengths = frame.to_series(0).chunk_lengths()
    starts = accumulate(lengths, initial=0)
    places = list(zip(starts, lengths, strict=False))  # the last start is the end
    return [pl.concat([column.slice(*place) for place in places], rechunk=False) for column in columns]


class FramePlan:
    """A lazy plan with its column types tracked by hand, so that no step needs to collect a schema.

    Attributes:
        lazy: The plan so far, hidden columns included.
        schema: Visible columns and their types, in order.
        exact: It matters to a step whether a field is missing or null, and a number an integer or a float: records
            that the rows form decides must fit the columns as they are.
        mixed: Columns of floats that the rows form makes integers where they are whole; no step comes after that.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        _check_names(frame.schema)
        self.schema: dict[str, pl.DataType] = dict(frame.schema)
        height = frame.height
        ordinals = pl.int_range(height, dtype=pl.UInt32, eager=True).alias(ORDINAL)
        suspects = pl.repeat(value=False, n=height, dtype=pl.Boolean, eager=True).alias(SUSPECT)
        self.lazy: pl.LazyFrame = frame.with_columns(_in_pieces_of(frame, ordinals, suspects)).lazy()
        self.guarded = False
        self.exact = False
        self.mixed: frozenset[str] = frozenset()

    def suspect(self, *conditions: pl.Expr) -> None:
        """Mark rows for which any condition is true; null counts as false. Conditions see the columns as they are."""
        if not conditions:
            return
        guards = [condition.fill_null(value=False) for condition in conditions]
        self.lazy = self.lazy.with_columns(pl.any_horizontal(pl.col(SUSPECT), *guards).alias(SUSPECT))
        self.guarded = True

    def with_columns(
        self, columns: Mapping[str, tuple[pl.Expr, pl.DataType]], *, suspects: Iterable[pl.Expr] = ()
    ) -> None:
        """Set columns at once; expressions and suspects all see the columns as they were before.

        Args:
            columns: Name to expression and its exact result type.
            suspects: Conditions under which a row must be decided by the rows form.
        """
        if not columns:
            self.suspect(*suspects)
            return
        _check_names({name: dtype for name, (_, dtype) in columns.items()})
        made = [expression.alias(name) for name, (expression, _) in columns.items()]
        guards = [condition.fill_null(value=False) for condition in suspects]
        if guards:
            made.append(pl.any_horizontal(pl.col(SUSPECT), *guards).alias(SUSPECT))
            self.guarded = True
        self.lazy = self.lazy.with_columns(made)
        self.schema.update({name: dtype for name, (_, dtype) in columns.items()})

    def select(self, columns: Mapping[str, tuple[pl.Expr, pl.DataType]]) -> None:
        """Keep just these columns, in this order; hidden columns stay."""
        _check_names({name: dtype for name, (_, dtype) in columns.items()})
        made = [expression.alias(name) for name, (expression, _) in columns.items()]
        self.lazy = self.lazy.select([*made, pl.col(ORDINAL), pl.col(SUSPECT)])
        self.schema = {name: dtype for name, (_, dtype) in columns.items()}

    def filter(self, condition: pl.Expr, *, suspects: Iterable[pl.Expr] = ()) -> None:
        """Keep rows for which the condition is true; suspected rows stay for the rows form to decide."""
        self.suspect(*suspects)
        self.lazy = self.lazy.filter(condition.fill_null(value=False) | pl.col(SUSPECT))

    def explode(self, column: str, schema: Mapping[str, pl.DataType], unnested: pl.LazyFrame) -> None:
        """Replace the plan by one whose rows were multiplied over ``column``.

        Args:
            column: The list column that was multiplied out, for messages.
            schema: The visible columns after it.
            unnested: The plan after it; it must carry both hidden columns along, and keep suspected rows.
        """
        if not {ORDINAL, SUSPECT} <= set(unnested.collect_schema()):
            raise FrameUnsupported(f"exploding {column!r} lost the hidden columns")
        self.lazy = unnested
        self.schema = dict(schema)
