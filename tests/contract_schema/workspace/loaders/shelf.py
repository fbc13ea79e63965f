"""A destination with few options."""

from __future__ import annotations

from typing import ClassVar, Literal

from etlctl.sdk import Example, Loader, WriteContext, Writer


class Shelf(Loader):
    """Puts records nowhere."""

    examples: ClassVar[tuple[Example, ...]] = (Example("The least", "table: x"),)

    table: str
    """Where to."""
    write_method: Literal["replace", "append"] = "replace"
    """What happens to what is there."""

    async def open(self, ctx: WriteContext) -> Writer:
        """Is not needed here."""
        raise NotImplementedError
