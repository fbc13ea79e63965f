"""Where reading stands in a list of files, and how that place is found again in a list that may have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlctl.errors import FatalError

_VERSION = 1


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A place in a list of files.

    Attributes:
        file: Name of the file.
        index: Its 0-based place in the list at that time.
        token: Where to go on in it; what the reader of its format made of it.
    """

    file: str
    index: int
    token: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the place as a JSON value."""
        return {"v": _VERSION, "file": self.file, "index": self.index, "at": dict(self.token)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on: the file's place in the list of today, and the token in it (None: its beginning)."""

    index: int
    token: Mapping[str, Any] | None


def find_place(position: Mapping[str, Any] | None, names: Sequence[str], warn: Callable[[str], None]) -> Place:
    """Find a place again. The files before it in the list of today count as finished.

    Args:
        position: What ``FilePosition.to_json`` gave; None: the beginning.
        names: Names of the files there are today, in reading order.
        warn: Told when files have come or gone before the place.

    Raises:
        FatalError: The file is gone, or the position is of another version.
    """
    if position is None:
        return Place(0, None)
    if position.get("v") != _VERSION:
        raise FatalError(
            f"the saved position has version {position.get('v')!r}, and this etlctl knows version {_VERSION}",
            help="resume with the etlctl that wrote it, or start the run anew",
        )
    name, before = str(position["file"]), int(position["index"])
    if name not in names:
        raise FatalError(
            f"{name}, the file in which this run stopped, is not there any more",
            help="put it back, or start the run anew without its checkpoint",
        )
    index = names.index(name)
    if index > before:
        warn(f"{index - before} file(s) that come before {name} are new since the run stopped; they are not read now")
    return Place(index, position["at"])
