"""Records that are still in the form the source has them in, to be read slice by slice where they are used.

A slice that is read, worked on, written out and forgotten before the next one stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from etlctl.frozen import frozen

T = TypeVar("T")
U = TypeVar("U")


@frozen
class Deferred(Generic[T]):
    """Records that were not read yet, all of them readable by the look of it.

    Attributes:
        count: How many there are, if all can be read.
        size: Bytes they take in the source's form.
        read: Returns records ``start`` up to ``end``, new ones at each call; None when one of them cannot be read
            or needs a closer look: then ``whole`` knows.
        whole: Reads all of them with care, and tells which cannot be read.
    """

    count: int
    size: int
    read: Callable[[int, int], list[dict[str, Any]] | None]
    whole: Callable[[], T]

    def then(self, change: Callable[[T], U]) -> Deferred[U]:
        """Return the same records, with ``whole`` followed by a function."""
        return Deferred(self.count, self.size, self.read, lambda: change(self.whole()))

    def one(self, index: int) -> dict[str, Any]:
        """Return a record that was read before."""
        records = self.read(index, index + 1)
        return records[0] if records else {}
