"""What readers of databases need to know of the run they read for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etlctl.cursor import Window


class ReadingContext(Protocol):
    """The part of ``etlctl.sdk.ReadContext`` that readers use."""

    @property
    def warn(self) -> Callable[[str], None]:
        """Reports something the user should know without stopping the run."""

    @property
    def window(self) -> Window | None:
        """What an incremental run is about."""

    @property
    def chunk_bytes(self) -> int:
        """Bytes worth reading at once."""

    @property
    def step(self) -> str:
        """Name of the place in the contract, for rejections."""

    @property
    def conceals(self) -> bool:
        """What ends the run must not quote a row."""
