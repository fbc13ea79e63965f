"""What is to be loaded into a table, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.sql.drift import DriftPolicy
from etlctl.kit.sql.methods import Method
from etlctl.kit.sql.tables import Declared, Table
from etlctl.quality import Drift


@frozen
class Job:
    """What is to be loaded where, and how.

    Attributes:
        table: Name of the table.
        method: What a record does to it.
        key: Fields that find a row.
        create: Make the table when it does not exist.
        evolution: What happens when records and table have drifted apart.
        drift: Told of every difference between records and table.
        resumed: An attempt before has seen records, too.
        fields: The declared fields of the records.
        warn: Reports something the user should know without stopping the run.
    """

    table: str
    method: Method
    key: tuple[str, ...] = ()
    create: bool = False
    evolution: DriftPolicy = field(default_factory=DriftPolicy)
    fields: Mapping[str, Declared] = field(default_factory=dict)
    warn: Callable[[str], None] = lambda _message: None
    drift: Callable[[Drift], None] = lambda _drift: None
    resumed: bool = False

    @property
    def may_make_table(self) -> bool:
        """The method makes sense on a table that is new."""
        return self.method in {Method.insert, Method.upsert, Method.replace}

    @property
    def makes_table(self) -> bool:
        """The table is made when it does not exist."""
        return self.create and self.may_make_table

    def require_key(self, table: Table) -> None:
        """Make sure that a table has the columns of the key.

        Raises:
            FatalError: It lacks one.
        """
        for name in self.key:
            if table.column(name) is None:
                raise FatalError(
                    f"table {table.name!r} has no column {name!r}, which primary_key names",
                    help=f"its columns: {', '.join(table.names)}",
                )
