"""The manifest of a data set: which of its objects count, and the last commit of every stream that writes to it.

It stands beside the data set (``lake/orders/`` has ``lake/.orders.manifest.json``) and is only ever replaced as a
whole, under the condition that it is still the one that was read. Whoever goes by it sees a data set before or after
a run, never between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from etlctl.errors import FatalError, RetryableError
from etlctl.kit.objects.bucket import Bucket
from etlctl.kit.objects.store_errors import Conflict

_VERSION = 1
_TRIES = 20

Part = Mapping[str, Any]


def manifest_key(folder: str) -> str:
    """Return the key of the manifest of a data set."""
    above, slash, name = folder.rstrip("/").rpartition("/")
    return f"{above}{slash}.{name}.manifest.json"


def read_manifest(bucket: Bucket, folder: str) -> tuple[dict[str, Any], str] | None:
    """Return a manifest and its tag; None when there is none.

    Raises:
        FatalError: It is damaged, or of a newer version.
    """
    key = manifest_key(folder)
    found = bucket.read(key)
    if found is None:
        return None
    try:
        manifest: dict[str, Any] = json.loads(found[0])
        if manifest["version"] != _VERSION:
            raise FatalError(f"{bucket.url(key)} was written by a newer etlctl", help="go on with the newer etlctl")
        _ = [part["name"] for part in manifest["parts"]], manifest["commits"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FatalError(
            f"{bucket.url(key)} is no manifest of a data set: {error!r}",
            help="restore it, or remove it: then every part-… object in the folder counts",
        ) from error
    return manifest, found[1]


def publish_manifest(
    bucket: Bucket,
    folder: str,
    make: Callable[[Mapping[str, Any] | None], Iterable[Part]],
    stream: str,
    commit: Mapping[str, Any],
) -> None:
    """Put a manifest in the place of the present one; others may do so at the same time.

    Args:
        bucket: Where the data set is.
        folder: Its key.
        make: Returns the parts that count from now on, given the present manifest.
        stream: Short name of the stream.
        commit: What ``committed`` returns from now on; it must have a ``write`` of its own.

    Raises:
        RetryableError: Others keep replacing it.
    """
    for _ in range(_TRIES):
        found = read_manifest(bucket, folder)
        before, etag = found if found is not None else (None, None)
        commits = dict(before["commits"]) if before is not None else {}
        if commits.get(stream, {}).get("write") == commit["write"]:
            return  # it was written, and only the answer had been lost
        body = {"version": _VERSION, "parts": list(make(before)), "commits": {**commits, stream: dict(commit)}}
        try:
            bucket.put_if(manifest_key(folder), json.dumps(body, indent=1).encode(), etag)
        except Conflict:
            continue
        return
    raise RetryableError(f"{bucket.url(manifest_key(folder))} is replaced by others again and again")


def committed(bucket: Bucket, folder: str, stream: str) -> Mapping[str, Any] | None:
    """Return what a stream has committed last to a data set."""
    found = read_manifest(bucket, folder)
    commit: Mapping[str, Any] | None = found[0]["commits"].get(stream) if found is not None else None
    return commit
