"""Where reading stands in a list of files, and how that place is found again in a list that may have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.sources import OpenSource

_VERSION = 1
_PART = 64 << 10
_SHORT = 10
STDIN = "-"


@frozen
class FilePosition:
    """A place in a list of files.

    Attributes:
        file: Name of the file.
        index: Its 0-based place in the list at that time.
        token: Where to go on in it; what the reader of its format made of it. None: its beginning.
        trace: How the file is recognised; None when it cannot be.
        before: The files that are done, as ``done_mark`` tells them, one after the other.
    """

    file: str
    index: int
    token: Mapping[str, Any] | None
    trace: Mapping[str, Any] | None = None
    before: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the place as a JSON value."""
        at = dict(self.token) if self.token is not None else None
        place = {"v": _VERSION, "file": self.file, "index": self.index, "at": at}
        if self.before:
            place["before"] = self.before
        return place if self.trace is None else {**place, "trace": dict(self.trace)}


def done_mark(name: str, trace: Mapping[str, Any] | None) -> str:
    """Return what a position says of a file that is done: a short hash of its name and one of its content."""
    return _short(name) + _content(trace)


def trace_of(source: OpenSource) -> Mapping[str, Any] | None:
    """Return how a file is recognised later, even if more was added at its end; None when there is no file.

    Raises:
        OSError: It cannot be read.
    """
    if source.mark is not None:
        return source.mark
    if source.path is None:
        return None
    size = source.path.stat().st_size
    return {"size": size, "ends": _ends(source.path, size)}


def check_trace(position: Mapping[str, Any] | None, source: OpenSource) -> None:
    """Make sure that a file is still the one in which reading stood; one on disk may have grown.

    Args:
        position: What ``FilePosition.to_json`` gave.
        source: The file of today.

    Raises:
        FatalError: It is another one.
        OSError: It cannot be read.
    """
    trace = (position or {}).get("trace")
    if trace is None or (source.path is None and source.mark is None):
        return
    if source.mark is not None:
        size, same = int(source.mark["size"]), dict(source.mark) == trace
    elif source.path is not None:
        size = source.path.stat().st_size
        same = size >= trace["size"] and _ends(source.path, trace["size"]) == trace["ends"]
    if not same:
        raise FatalError(
            f"{source.name} is not the file any more in which this run stopped: it was {trace['size']:,} bytes long "
            f"and is {size:,} now, with other content; the rest of it would be mixed with what was loaded of the old "
            "one",
            help="put the old file back and resume, or begin anew: etlctl run … --restart (what was loaded stays)",
        )


def _ends(path: Path, size: int) -> str:
    """Return a checksum of the first and the last part of the first ``size`` bytes of a file."""
    with path.open("rb") as file:
        first = file.read(min(size, _PART))
        file.seek(max(0, size - _PART))
        last = file.read(min(size, _PART))
    return hashlib.blake2b(first + last, digest_size=16).hexdigest()


@frozen
class Place:
    """Where to go on: the file's place in the list of today, and the token in it (None: its beginning)."""

    index: int
    token: Mapping[str, Any] | None


def find_place(
    position: Mapping[str, Any] | None, files: Mapping[str, OpenSource], warn: Callable[[str], None]
) -> Place:
    """Find a place again. The files before it in the list of today count as finished.

    Args:
        position: What ``FilePosition.to_json`` gave; None: the beginning.
        files: The files there are today by name, in reading order.
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
    name, before, names = str(position["file"]), int(position["index"]), list(files)
    if name == STDIN:
        raise FatalError(
            "standard input cannot be read from the middle: what was read of it is gone",
            help="begin anew with the whole input: etlctl run … --restart (what was loaded stays), or read from a file",
        )
    if name not in names:
        raise FatalError(
            f"{name}, the file in which this run stopped, is not there any more",
            help="put it back, or start the run anew without its checkpoint",
        )
    index = names.index(name)
    done = str(position.get("before", ""))
    finished = {done[at : at + _SHORT]: done[at + _SHORT : at + 2 * _SHORT] for at in range(0, len(done), 2 * _SHORT)}
    if not finished and index == before:
        return Place(index, position["at"])
    _refuse_moved(name, {one: files[one] for one in names[index + 1 :]}, finished, set(map(_short, names)))
    new = [one for one in names[:index] if _short(one) not in finished]
    if new:
        warn(f"{len(new)} file(s) that come before {name} are new since the run stopped; they are not read now")
    return Place(index, position["at"])


def _refuse_moved(
    name: str, later: Mapping[str, OpenSource], finished: Mapping[str, str], today: Collection[str]
) -> None:
    """A file that was read under another name, or in another place, must not be read again."""
    gone = {content for one, content in finished.items() if one not in today}
    for one, source in later.items():
        trace = trace_of(source) if gone else None
        if _short(one) in finished or (trace is not None and _content(trace) in gone):
            raise FatalError(
                f"{one} was read before {name} and comes after it now: it would be loaded a second time",
                help="give the files their old names back, or begin anew: etlctl run … --restart (what was loaded "
                "stays)",
            )


def _content(trace: Mapping[str, Any] | None) -> str:
    """Return a short hash of a file's trace; blank when there is none."""
    return _short(f"{trace['size']} {trace['ends']}") if trace is not None else " " * _SHORT


def _short(name: str) -> str:
    """Return a short hash of a name, to tell files apart in a position."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=_SHORT // 2).hexdigest()
