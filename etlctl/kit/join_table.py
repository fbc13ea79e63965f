"""The right side of a join: all its records in memory, found by key, as rows and where possible as a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, Record, frame_to_rows, rows_to_frame
from etlctl.errors import ConversionError, FatalError
from etlctl.kit.keys import key

if TYPE_CHECKING:
    import polars as pl

MATCHED = "__etlctl_matched"
"""Hidden column of the right side: true."""
MANY = "__etlctl_many"
"""Hidden column of the right side: there are several records of this key."""
KEY = "__etlctl_key"
"""Hidden columns of the right side: its key fields, numbered."""


def row_key(record: Mapping[str, Any], fields: Sequence[str]) -> Any:
    """Return the key of a record; None when one of its fields is null: null is nobody's match."""
    if len(fields) == 1:
        value = record.get(fields[0])
        return value if type(value) is str else None if value is None else key(value)
    values = [record.get(name) for name in fields]
    return None if None in values else tuple(map(key, values))


class JoinTable:
    """The right side of a join.

    Args:
        chunks: Its records, as they were read.
        on: Its key fields.
        taken: Fields to take along, with the names they get; None: all but the key, under their own names.
        rename: Gives a field its name in the result, for those that ``taken`` does not name.
    """

    def __init__(
        self, chunks: Sequence[Batch], on: Sequence[str], taken: Mapping[str, str] | None, rename: Any
    ) -> None:
        self._on = list(on)
        self._frame = _joined(chunks)
        self._records = [record for chunk in chunks for record in chunk.to_rows()] if self._frame is None else None
        if self._frame is None:
            self._frame = _exact_frame(self._records or [])
        self._length = self._frame.height if self._frame is not None else len(self._records or ())
        names = self._names()
        self._check(names, [*on, *(taken or ())])
        self.taken = dict(taken) if taken is not None else {name: rename(name) for name in names if name not in on}
        """Names in the result by field."""
        self._index: dict[Any, list[int]] | None = None
        self._payload: list[Record] = []
        self._framed: dict[str, pl.DataFrame] = {}

    def __len__(self) -> int:
        return self._length

    def _names(self) -> list[str]:
        if self._frame is not None:
            return self._frame.columns
        names: dict[str, None] = {}
        for record in self._records or ():
            names.update(dict.fromkeys(record))
        return list(names)

    def _check(self, names: Sequence[str], wanted: Sequence[str]) -> None:
        """Refuse fields that no record has; of a table without records nobody knows what it has."""
        unknown = [name for name in wanted if name not in names]
        if unknown and names:
            raise FatalError(
                f"the right side of the join has no field {unknown[0]!r}",
                help=f"its fields are {', '.join(sorted(names))}",
            )

    # --- rows

    @property
    def index(self) -> dict[Any, list[int]]:
        """Places of the records by key, in order."""
        if self._index is None:
            records = self._records if self._records is not None else frame_to_rows(self._require_frame())
            index: dict[Any, list[int]] = {}
            for place, record in enumerate(records):
                found = row_key(record, self._on)
                if found is not None:
                    index.setdefault(found, []).append(place)
            self._payload = [{new: record.get(old) for old, new in self.taken.items()} for record in records]
            self._keys = [[record.get(name) for name in self._on] for record in records]
            self._index, self._records = index, []
        return self._index

    def payload(self, place: int) -> Record:
        """Return the fields that a record brings along, under their names in the result."""
        return self._payload[place]

    def key_values(self, place: int) -> list[Any]:
        """Return the key of a record as it is."""
        return self._keys[place]

    # --- frame

    def _require_frame(self) -> pl.DataFrame:
        if self._frame is None:
            raise FatalError("the right side of the join was read as rows")
        return self._frame

    def framed(self, on_many: str) -> pl.DataFrame | None:
        """Return the right side as a frame to join with: key columns, hidden columns, fields under their new names.

        Args:
            on_many: ``multiply`` keeps all records of a key, anything else the first.

        Returns:
            None when it has no frame form.
        """
        import polars as pl  # noqa: PLC0415

        if self._frame is None or not len(self._frame.columns):
            return None
        if on_many not in self._framed:
            frame = self._frame
            absent = [name for name in (*self._on, *self.taken) if name not in frame.columns]
            if absent:
                return None
            keys = [frame.get_column(name).alias(f"{KEY}{number}") for number, name in enumerate(self._on)]
            fields = [frame.get_column(old).alias(new) for old, new in self.taken.items()]
            made = pl.DataFrame([*keys, *fields]).with_columns(pl.lit(value=True).alias(MATCHED))
            names = [column.name for column in keys]
            made = made.with_columns(pl.struct(names).is_duplicated().alias(MANY))
            if on_many != "multiply":
                made = made.unique(subset=names, keep="first", maintain_order=True)
            self._framed[on_many] = made
        return self._framed[on_many]


def _joined(chunks: Sequence[Batch]) -> pl.DataFrame | None:
    """Return chunks that are all frames of the same columns as one."""
    frames = [chunk.frame for chunk in chunks if chunk.frame is not None]
    if not frames or len(frames) < len(chunks) or any(frame.schema != frames[0].schema for frame in frames):
        return None
    import polars as pl  # noqa: PLC0415

    return pl.concat(frames, how="vertical")


def _exact_frame(records: Sequence[Record]) -> pl.DataFrame | None:
    """Return records as a frame that gives back the very same values; None when there is none."""
    import polars as pl  # noqa: PLC0415

    try:
        frame = rows_to_frame(records)
    except ConversionError:
        return None
    kinds: dict[Any, type] = {pl.String: str, pl.Int64: int, pl.Float64: float, pl.Boolean: bool}
    for name, dtype in frame.schema.items():
        kind = kinds.get(dtype.base_type())
        if dtype != pl.Null and (kind is None or any(type(r.get(name)) not in {kind, type(None)} for r in records)):
            return None
    return frame
