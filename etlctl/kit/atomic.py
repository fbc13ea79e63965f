"""Files that appear whole or not at all: flush to disk, rename, flush the folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from etlctl.errors import FatalError
from etlctl.faults import fault

_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on disk."""
    # Windows flushes only through a handle that may write.
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk; does nothing where the system cannot (Windows)."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)


def publish(draft: Path, final: Path) -> None:
    """Give a finished file its final name; until then, and if this fails, the old content stands there.

    An existing file's permissions are kept. Both must be on the same file system.
    """
    with suppress(FileNotFoundError):
        draft.chmod(stat.S_IMODE(final.stat().st_mode))
    sync_file(draft)
    draft.replace(final)
    sync_folder(final.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it is there completely, durably, or not at all."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content)
    publish(draft, path)


_VERSION = 1


def write_sealed(path: Path, body: Mapping[str, Any], point: str | None = None) -> None:
    """Write JSON values with a checksum, durably: they are there completely or not at all.

    Args:
        path: Where to.
        body: JSON values.
        point: The fault point right before the new content takes its place.
    """
    text = json.dumps(body)
    sealed = {"version": _VERSION, "sha256": hashlib.sha256(text.encode()).hexdigest(), "body": text}
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(sealed), encoding="utf-8")
    sync_file(draft)
    if point is not None:
        fault(point)
    draft.replace(path)
    sync_folder(path.parent)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return what ``write_sealed`` wrote; None when there is no such file.

    Raises:
        FatalError: It is damaged, or a newer version wrote it.
    """
    try:
        sealed = json.loads(path.read_bytes())
        version, told, text = sealed["version"], sealed["sha256"], sealed["body"]
        if version == _VERSION and hashlib.sha256(text.encode()).hexdigest() != told:
            raise ValueError("its checksum does not fit")
        body: dict[str, Any] = json.loads(text) if version == _VERSION else {}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FatalError(
            f"{path} is damaged: {error}",
            help=f"what the run had safe there cannot be gone by: move {path.parent} away and look at the destination, "
            "then run again from the beginning",
        ) from error
    if version != _VERSION:
        raise FatalError(
            f"{path} was written by a newer etlctl (version {version} of its format, this one knows {_VERSION})",
            help="go on with the newer etlctl",
        )
    return body


_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders change their names in one step; False where the system cannot (only Linux can)."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done: int = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


_REASONS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another disk, then run again"),
    errno.EFBIG: ("the file became larger than the system allows", "raise the file size limit (ulimit -f)"),
    errno.EACCES: ("permission denied", "give this user the right to write in the folder, or choose another path"),
    errno.EPERM: ("the operation is not permitted", "give this user the right to write there, or choose another path"),
    errno.EROFS: ("the file system is read-only", "choose a path that can be written"),
    errno.ENOENT: ("the folder does not exist", "create the folder, or set make_dirs: true"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "correct the path"),
    errno.EISDIR: ("the path is a folder", "add a file name to the path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter file name"),
    errno.EMFILE: ("too many open files", "raise the limit of open files (ulimit -n)"),
}
if hasattr(errno, "EDQUOT"):
    _REASONS[errno.EDQUOT] = ("the disk quota is used up", "free some space or have the quota raised, then run again")


def os_error_number(error: BaseException) -> int | None:
    """Return the system's number of an error, also when a library hid it in a text ``… (os error 28)``."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found and sys.platform != "win32" else None


def write_failure(error: BaseException, path: Path | str) -> FatalError:
    """Return the error that tells a person why a path cannot be written and what to do."""
    number = os_error_number(error)
    first_line = str(error).split("\n", 1)[0]
    reason, advice = _REASONS.get(number or 0, (first_line or type(error).__name__, None))
    return FatalError(f"cannot write {path}: {reason}", help=advice)
