"""One bucket of an object store: the few requests that etlctl makes, with errors that say what to do. Synchronous."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from etlctl.errors import MissingExtraError
from etlctl.frozen import frozen
from etlctl.kit.objects.options import Location, StoreOptions
from etlctl.kit.objects.store_errors import Conflict, Gone, Unsupported, told
from etlctl.redact import Redactor

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_BYTES = 8 << 20
"""Bytes of an upload that travel at once; what is smaller is sent in one request."""

_SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az", "local": "local"}
_MOST_PARTS = 9_000
_AT_ONCE = 3
_HOLDING: set[Location] = set()
_IGNORING: set[Location] = set()


@frozen
class Entry:
    """An object.

    Attributes:
        key: Its key.
        size: Bytes.
        etag: What changes with its content.
        tag: What a conditional write names it by: the etag, on GCS with its generation.
        meta: What was stored beside it; only ``Bucket.head`` tells.
    """

    key: str
    size: int
    etag: str
    tag: str
    meta: Mapping[str, str] | None = None


class Bucket:
    """A bucket, a container, or a folder that stands for one.

    Args:
        store: The library's store.
        location: Where it is.
        redactor: Knows the secrets.

    Attributes:
        conditional: The store holds to the conditions of writes (If-None-Match, If-Match), as far as is known.
        probed: That is known for certain, because it was tried or need not be.
        keeps_meta: It keeps values beside an object.
    """

    def __init__(self, store: ObjectStore, location: Location, redactor: Redactor) -> None:
        self._store = store
        self._location = location
        self._redactor = redactor
        self.keeps_meta = location.provider != "local"
        self.conditional = self.keeps_meta and location not in _IGNORING
        self.probed = not self.conditional or location in _HOLDING

    def url(self, key: str) -> str:
        """Return what messages call an object."""
        return f"{_SCHEMES[self._location.provider]}://{self._location.bucket.rstrip('/')}/{key}"

    def head(self, key: str) -> Entry | None:
        """Return an object without its content; None when there is none."""
        try:
            with told(self.url(key), self._redactor):
                if not self.keeps_meta:
                    return _entry(self._store.head(key))
                found = self._store.get(key, options={"head": True})
                return _entry(found.meta, dict(found.attributes))
        except Gone:
            return None

    def fetch(self, key: str, start: int, end: int, etag: str | None) -> bytes:
        """Return the bytes from ``start`` up to ``end``.

        Raises:
            Conflict: The object is not the one with that etag any more.
            Gone: It is not there any more.
        """
        options: dict[str, Any] = {"range": (start, end)}
        if etag is not None and etag.startswith('"'):
            options["if_match"] = etag
        with told(self.url(key), self._redactor):
            return self._store.get(key, options=cast("Any", options)).bytes().to_bytes()

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return the content of a small object, and its tag; None when there is none."""
        try:
            with told(self.url(key), self._redactor):
                found = self._store.get(key)
                return found.bytes().to_bytes(), _tag(found.meta)
        except Gone:
            return None

    def below(self, prefix: str) -> Iterator[Entry]:
        """Yield every object whose key begins with a folder's name and a slash, page by page; all for an empty one."""
        with told(self.url(prefix), self._redactor):
            for page in self._store.list(prefix.rstrip("/") or None, chunk_size=1_000):
                for found in page:
                    yield _entry(found)

    def level(self, prefix: str) -> tuple[list[str], list[Entry]]:
        """Return the folders and the objects right below a folder."""
        with told(self.url(prefix), self._redactor):
            found = self._store.list_with_delimiter(prefix.rstrip("/") or None)
            return [str(one) for one in found["common_prefixes"]], [_entry(one) for one in found["objects"]]

    def put(self, key: str, data: bytes, meta: Mapping[str, str] | None = None) -> str:
        """Write a small object; return its tag."""
        with told(self.url(key), self._redactor):
            made = self._store.put(key, data, attributes=self._attributes(meta), use_multipart=False)
        return _tag(made)

    def put_if(self, key: str, data: bytes, tag: str | None, meta: Mapping[str, str] | None = None) -> str:
        """Write a small object if it is still the one with that tag (None: if there is none); return its new tag.

        Raises:
            Conflict: It is another one; nothing was written.
        """
        if not self.conditional:
            found = self.head(key)
            if (found.tag if found is not None else None) != tag:
                raise Conflict(f"{self.url(key)}: something else has changed it in this moment")
            return self.put(key, data, meta)
        etag, _, version = (tag or "").partition("#")
        mode: Any = "create" if tag is None else {"e_tag": etag, **({"version": version} if version else {})}
        with told(self.url(key), self._redactor):
            made = self._store.put(key, data, attributes=self._attributes(meta), mode=mode, use_multipart=False)
        return _tag(made)

    def upload(self, key: str, chunks: Iterable[bytes], size: int, meta: Mapping[str, str] | None = None) -> None:
        """Write an object of any size, in memory for a few parts; it appears when ``chunks`` has ended, or not at all.

        Args:
            key: Of the object.
            chunks: Its content; what this raises ends the upload.
            size: Bytes of all chunks together, to choose the size of parts.
            meta: Stored beside it.
        """
        if size <= PART_BYTES:
            self.put(key, b"".join(chunks), meta)
            return
        part = max(PART_BYTES, size // _MOST_PARTS + 1)
        with told(self.url(key), self._redactor), ThreadPoolExecutor(1, "etlctl-upload") as thread:
            self._store.put(
                key,
                _elsewhere(chunks, thread),
                attributes=self._attributes(meta),
                chunk_size=part,
                max_concurrency=_AT_ONCE,
            )

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store."""
        with told(self.url(source), self._redactor):
            self._store.copy(source, target)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; what is not there is fine."""
        if not keys:
            return
        try:
            with told(self.url(keys[0]), self._redactor):
                self._store.delete(list(keys))
        except Gone:
            for key in keys if len(keys) > 1 else ():
                self.delete([key])

    def probe(self, key: str, data: bytes, tag: str) -> str:
        """Find out whether the store holds to conditions, on an object whose content is ``data``; return its tag.

        Both writes must be refused; should the store take them, the object is what it was.
        """
        for wrong in (None, '"00000000000000000000000000000000"#1'):
            try:
                tag = self.put_if(key, data, wrong)
            except Conflict:
                continue
            except Unsupported:
                pass
            self.conditional = False
        self.probed = True
        (_HOLDING if self.conditional else _IGNORING).add(self._location)
        return tag

    def trust_no_condition(self) -> None:
        """Do as if the store did not hold to conditions."""
        self.conditional, self.probed = False, True

    def _attributes(self, meta: Mapping[str, str] | None) -> dict[str, str] | None:
        return dict(meta) if meta and self.keeps_meta else None


def _entry(found: Mapping[str, Any], meta: Mapping[str, str] | None = None) -> Entry:
    etag = found["e_tag"] or found["version"] or found["last_modified"].isoformat()
    return Entry(str(found["path"]), int(found["size"]), str(etag), _tag(found), meta)


def _tag(found: Mapping[str, Any]) -> str:
    """Return what a conditional write names an object by; versions that only say that there are none are left out."""
    etag, version = found["e_tag"] or "", found["version"]
    return f"{etag}#{version}" if version and version.isdigit() else etag


def open_bucket(options: StoreOptions, base_dir: Path, *, make: bool = False) -> tuple[Bucket, str]:
    """Return the bucket that options name, and the key that all paths start from. Nothing is sent yet.

    Args:
        options: As in the contract.
        base_dir: Folder that relative paths of this machine start at.
        make: Make the folder that stands for a bucket.

    Raises:
        MissingExtraError: The library is not installed.
        FatalError: The options do not fit together.
    """
    try:
        import obstore.store as stores  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("type: cloud_storage", "cloud") from error
    location, redactor = options.location(), Redactor(options.secrets())
    if location.provider == "local":
        folder = base_dir / Path(location.bucket).expanduser()
        with told(str(folder), redactor):
            store = stores.LocalStore(folder, mkdir=make, automatic_cleanup=True)
            return Bucket(store, location, redactor), location.key
    common: dict[str, Any] = {
        "client_options": {"allow_http": options.allow_http, "timeout": timedelta(seconds=options.timeout)},
        "retry_config": {"max_retries": options.max_retries, "retry_timeout": timedelta(seconds=180)},
    }
    kind = cast("Callable[..., ObjectStore]", getattr(stores, _CLASSES[location.provider]))
    config = {name: value for name, value in _config(options, location, base_dir).items() if value is not None}
    with told(f"{_SCHEMES[location.provider]}://{location.bucket}", redactor):
        return Bucket(kind(location.bucket, **config, **common), location, redactor), location.key


def _elsewhere(chunks: Iterable[bytes], thread: ThreadPoolExecutor) -> Iterator[bytes]:
    """Yield chunks made on another thread: the library cannot be called from the one in which it asks for them."""
    items = iter(chunks)
    while (block := thread.submit(next, items, None).result()) is not None:
        yield block


_CLASSES = {"s3": "S3Store", "gcs": "GCSStore", "azure": "AzureStore"}


def _config(options: StoreOptions, location: Location, base_dir: Path) -> dict[str, Any]:
    """Return the library's settings of one kind of store; None leaves it to the environment."""
    anonymous = options.anonymous or None
    if location.provider == "s3":
        return {
            "endpoint": options.endpoint,
            "region": options.region,
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
            "session_token": options.session_token,
            "skip_signature": anonymous,
        }
    if location.provider == "azure":
        return {
            "endpoint": options.endpoint,
            "account_name": options.account_name or location.account,
            "account_key": options.account_key,
            "sas_key": options.sas_token,
            "skip_signature": anonymous,
        }
    path = options.service_account_path
    return {
        "service_account_path": None if path is None else str(base_dir / Path(path).expanduser()),
        "base_url": options.endpoint,
        "skip_signature": anonymous,
    }
