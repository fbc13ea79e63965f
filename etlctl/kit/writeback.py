"""Let the system begin to put written bytes on disk while more are made, so that the ``fsync`` at the end is short."""

from __future__ import annotations

import os

_STEP = 8 << 20


class Writeback:
    """Follows one file that grows.

    A hint only: nothing is durable before ``fsync``. ``POSIX_FADV_DONTNEED`` makes Linux start writing the dirty pages
    of a range without waiting for them (mm/fadvise.c). Where the call does not exist nothing happens.
    """

    def __init__(self) -> None:
        self._begun = 0

    def grown(self, descriptor: int, length: int) -> None:
        """Begin to write what came since the last time, when it is worth it.

        Args:
            descriptor: The open file.
            length: Bytes it has now.
        """
        if length - self._begun < _STEP or not hasattr(os, "posix_fadvise"):
            return
        os.posix_fadvise(descriptor, self._begun, length - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = length
