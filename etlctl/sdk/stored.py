"""What a destination holds, as far as it takes to compare it with what a run would leave there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from etlctl.frozen import frozen


@frozen
class SqliteTable:
    """A table in a SQLite file: two of them are compared where they are.

    Attributes:
        file: The database.
        name: The table.
    """

    file: Path
    name: str


@frozen
class Stored:
    """What a destination holds now.

    Attributes:
        exists: The file, folder or table is there.
        records: Yields every record, in an order that is the same while nothing changes; a null is as good as no field.
        key: Fields that find a record; empty when there are none such.
        columns: Names and types, where the destination has columns of its own.
        table: Where the records are, when that is a table of a SQLite file.
    """

    exists: bool
    records: Callable[[], Iterator[Mapping[str, Any]]]
    key: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    table: SqliteTable | None = None
