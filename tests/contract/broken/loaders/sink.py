"""Loader of the golden tests."""

from etlctl.sdk import FatalError, Loader, WriteContext, Writer


class Sink(Loader):
    """Takes nothing."""

    path: str
    """Where the records would go."""

    async def open(self, ctx: WriteContext) -> Writer:
        """Refuse to open."""
        raise FatalError("the sink of the golden tests takes nothing")
