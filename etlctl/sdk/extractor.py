"""An extractor reads batches from a source, each with the position to read next."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import ClassVar

from etlctl.batch import Batch
from etlctl.sdk.component import Component
from etlctl.sdk.context import ReadContext


class Extractor(Component):
    """Reads a source.

    The law of positions: reading from the beginning, and reading from any yielded position, give exactly the same
    records after that position, in the same order. A position is a JSON value that the extractor alone understands.
    """

    tabular: ClassVar[bool | None] = None
    """True: yields frames; False: yields rows; None: depends on the options."""

    sends_params: ClassVar[str | None] = None
    """Option (a mapping) that gets the parameters of the contract that nothing refers to; None: they go nowhere."""

    @abstractmethod
    def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield batches from ``ctx.position`` on, of any size: the engine cuts and joins them.

        ``Batch.of_position`` has no records and only says where reading can begin from here on.

        Raises:
            RetryableError: The source may answer later.
            FatalError: It will not.
        """

    def fields(self, base_dir: str) -> dict[str, str] | None:  # noqa: ARG002
        """Return field names and types (``string`` and so on) when they can be told without network and user code.

        Used by ``validate`` to check field names; must be cheap (a header line), and None when in doubt.
        """
        return None
