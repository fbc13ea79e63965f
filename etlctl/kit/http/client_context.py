"""What the client needs of a component's context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol


class ClientContext(Protocol):
    """``etlctl.sdk.Context`` has all of this; the kit stands below it and cannot name it."""

    @property
    def base_dir(self) -> Path:
        """Folder that relative paths start at."""

    @property
    def environ(self) -> Mapping[str, str]:
        """Environment variables, for the proxy."""

    @property
    def warn(self) -> Callable[[str], None]:
        """Reports something the user should know."""
