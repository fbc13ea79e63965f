"""Extractor of the golden tests: its fields are known, its records do not matter."""

from collections.abc import AsyncIterator
from typing import Literal

from pydantic import Field

from etlctl.sdk import Batch, Extractor, ReadContext


class Table(Extractor):
    """A table with a header."""

    header: tuple[str, ...] = ()
    """Names of the columns."""
    path: str = "table.csv"
    """File to read."""
    page_size: int = Field(default=100, ge=1, le=1000)
    """Rows per page."""
    order: Literal["ascending", "descending"] = "ascending"
    """Order of the rows."""
    strict: bool = True
    """Refuse rows of another length."""
    token: str | None = None
    """Who may read."""
    files: str | list[str] | None = None
    """More files."""

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield nothing."""
        for _ in ():
            yield Batch.of_rows([], position={})

    def fields(self, base_dir: str) -> dict[str, str] | None:
        """The header's columns are text."""
        return dict.fromkeys(self.header, "string") or None
