"""Finding objects by keys and patterns. Only what stands before a pattern's first wildcard is listed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from etlctl.errors import SourceUnavailable
from etlctl.kit.objects.bucket import Bucket, Entry

_MAGIC = re.compile(r"[*?[]")


def find_objects(bucket: Bucket, patterns: Sequence[str]) -> list[Entry]:
    """Return the objects that keys and patterns name: in the order given, each in the order of keys.

    ``*``, ``?`` and ``[…]`` match within a part of the key, ``**`` any number of parts; what begins with a dot is only
    matched by a pattern that does too. An object that several patterns name is returned once.

    Args:
        bucket: Where to look.
        patterns: Whole keys, with wildcards or without.

    Raises:
        SourceUnavailable: A key does not exist, or a pattern matches nothing.
    """
    found: dict[str, Entry] = {}
    for pattern in patterns:
        matches = sorted(_matches(bucket, "", pattern.split("/")), key=lambda entry: entry.key)
        if not matches:
            what = "no object matches" if _MAGIC.search(pattern) else "there is no object"
            raise SourceUnavailable(
                f"Object not found: {what} {bucket.url(pattern)}",
                help="keys are case-sensitive; etlctl reads what is there when the run begins",
            )
        for entry in matches:
            found.setdefault(entry.key, entry)
    return list(found.values())


def _matches(bucket: Bucket, folder: str, parts: Sequence[str]) -> Iterator[Entry]:
    """Yield the objects below a folder (empty, or ending in a slash) that the parts of a pattern name."""
    fixed = next((place for place, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    folder += "".join(f"{part}/" for part in parts[:fixed])
    rest = parts[fixed:]
    if not rest:
        entry = bucket.head(folder.removesuffix("/"))
        if entry is not None:
            yield entry
    elif "**" in rest:
        for entry in bucket.below(folder):
            if _fits(entry.key.removeprefix(folder).split("/"), rest):
                yield entry
    else:
        folders, entries = bucket.level(folder)
        if len(rest) == 1:
            yield from (entry for entry in entries if _part_fits(entry.key.removeprefix(folder), rest[0]))
            return
        for name in folders:
            if _part_fits(name.rstrip("/").removeprefix(folder), rest[0]):
                yield from _matches(bucket, f"{name.rstrip('/')}/", rest[1:])


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(names) and not any(name.startswith(".") for name in names)
        return any(
            _fits(names[skipped:], parts[1:])
            for skipped in range(len(names) + 1)
            if not any(name.startswith(".") for name in names[:skipped])
        )
    return bool(names) and _part_fits(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _part_fits(name: str, part: str) -> bool:
    return fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))
