"""What the extractor and the loader of object stores have in common: where the objects are, and how to get in."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from etlctl.frozen import frozen

Provider = Literal["s3", "gcs", "azure", "local"]

_SCHEMES: dict[str, Provider] = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "azure": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
_OWN: dict[str, tuple[Provider, ...]] = {
    "access_key_id": ("s3",),
    "secret_access_key": ("s3",),
    "session_token": ("s3",),
    "region": ("s3",),
    "account_name": ("azure",),
    "account_key": ("azure",),
    "sas_token": ("azure",),
    "service_account_path": ("gcs",),
    "endpoint": ("s3", "azure", "gcs"),
    "allow_http": ("s3", "azure", "gcs"),
    "anonymous": ("s3", "azure", "gcs"),
}
SECRETS = ("access_key_id", "secret_access_key", "session_token", "account_key", "sas_token")
"""Options whose values must not be in any message."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._$-]{1,221}")


@frozen
class Location:
    """A place in an object store.

    Attributes:
        provider: Which kind of store.
        bucket: The bucket (S3, GCS), container (Azure) or folder (local).
        key: The key, or what keys begin with; may be empty.
        account: The Azure account a URL names.
        endpoint: Of a store that is not the provider's own.
    """

    provider: Provider
    bucket: str
    key: str
    account: str | None = None
    endpoint: str | None = None


def parse_url(url: str) -> Location:
    """Return what a URL such as ``s3://bucket/folder/file.csv`` names; its key is taken as it stands.

    Raises:
        ValueError: It is no URL of an object store.
    """
    scheme, separator, rest = url.partition("://")
    provider = _SCHEMES.get(scheme.lower())
    if not separator or provider is None:
        raise ValueError(f"url: {url!r} names no object store; write s3://…, gs://… or az://…")
    bucket, _, key = rest.partition("/")
    bucket, _, host = bucket.partition("@")
    if not bucket:
        raise ValueError(f"url: {url!r} names no bucket; write {scheme}://bucket/…")
    return Location(provider, bucket, key, host.partition(".")[0] or None)


class StoreOptions(BaseModel):
    """Where the objects are, and how to get in.

    What is not given is taken from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
    ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME``, …) or from the machine's own role.
    """

    url: str | None = Field(default=None, min_length=1)
    """The place as a URL: ``s3://bucket/…``, ``gs://bucket/…`` or ``az://container/…``; instead of ``provider`` and ``bucket``."""  # noqa: E501
    provider: Provider | None = None
    """Kind of store; ``local`` is a folder of this machine in the place of a bucket, to try things out."""
    bucket: str | None = Field(default=None, min_length=1)
    """The bucket, the container (Azure), or the folder (``local``), relative to the contract's folder."""
    prefix: str | None = None
    """What all keys begin with; ``path`` is relative to it."""
    endpoint: str | None = Field(default=None, min_length=1)
    """URL of a store that is not the provider's own, such as MinIO."""
    allow_http: bool = False
    """Let an ``endpoint`` be ``http://``: everything sent there can be read on the way."""
    region: str | None = Field(default=None, min_length=1)
    """s3: region of the bucket; ``us-east-1`` when neither this nor the environment tells."""
    access_key_id: str | None = Field(default=None, min_length=1, repr=False)
    """s3: the access key, such as ``${env:MY_KEY_ID}``."""
    secret_access_key: str | None = Field(default=None, min_length=1, repr=False)
    """s3: its secret, such as ``${secret:MY_SECRET}``."""
    session_token: str | None = Field(default=None, min_length=1, repr=False)
    """s3: the token of temporary credentials."""
    account_name: str | None = Field(default=None, min_length=1)
    """azure: the storage account."""
    account_key: str | None = Field(default=None, min_length=1, repr=False)
    """azure: its key."""
    sas_token: str | None = Field(default=None, min_length=1, repr=False)
    """azure: a shared access signature instead of the key."""
    service_account_path: str | None = Field(default=None, min_length=1)
    """gcs: file with the service account's key, relative to the contract's folder."""
    anonymous: bool = False
    """Sign no request: for objects that everybody may read."""
    timeout: float = Field(default=60, gt=0, le=3_600, allow_inf_nan=False)
    """Seconds that one request may take."""
    max_retries: int = Field(default=6, ge=0, le=100)
    """How often a request is repeated when the store does not answer or has trouble."""

    @model_validator(mode="after")
    def _place_is_told(self) -> Self:
        if self.url is not None:
            if self.provider is not None or self.bucket is not None:
                raise ValueError("url says where the objects are already; remove provider and bucket")
        elif self.provider is None or self.bucket is None:
            raise ValueError("say where the objects are: url: s3://bucket/…, or provider and bucket")
        if "${" not in f"{self.url}{self.bucket}{self.prefix}":
            self.location()
        self._check_own()
        if self.endpoint is not None and "${" not in self.endpoint:
            if not self.endpoint.startswith(("http://", "https://")):
                raise ValueError(f"endpoint: {self.endpoint!r} is no URL; write https://…")
            if self.endpoint.startswith("http://") and not self.allow_http:
                raise ValueError(
                    "endpoint: http:// sends everything in plain text; use https://, or add allow_http: true"
                )
        return self

    def _check_own(self) -> None:
        provider = self._provider()
        if provider is None:
            return
        for name, providers in _OWN.items():
            given = getattr(self, name)
            if given is not None and given is not False and provider not in providers:
                raise ValueError(f"{name} means nothing to provider {provider}; it belongs to {', '.join(providers)}")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: give both or none")
        if self.account_key is not None and self.sas_token is not None:
            raise ValueError("account_key and sas_token are both given; keep one")

    def _provider(self) -> Provider | None:
        if self.url is None or "${" in self.url.partition("://")[0]:
            return self.provider
        return parse_url(self.url).provider

    def location(self) -> Location:
        """Return the place that all keys of the options start from.

        Raises:
            ValueError: A URL that came from a variable is none.
        """
        if self.url is not None:
            found = parse_url(self.url)
        elif self.provider is not None and self.bucket is not None:
            found = Location(self.provider, self.bucket, "")
        else:
            raise ValueError("say where the objects are: url: s3://bucket/…, or provider and bucket")
        if found.provider != "local" and not _NAME.fullmatch(found.bucket):
            raise ValueError(f"{found.bucket!r} is no name of a bucket")
        key = joined(found.key, self.prefix or "")
        return Location(found.provider, found.bucket, key, found.account, self.endpoint)

    def secrets(self) -> tuple[str, ...]:
        """Return the values that must not be in any message."""
        return tuple(value for name in SECRETS if (value := getattr(self, name)))


def joined(prefix: str, path: str) -> str:
    """Return a key put together from what it begins with and the rest, with one slash between them."""
    if not prefix or not path:
        return (prefix or path).lstrip("/")
    return f"{prefix.strip('/')}/{path.lstrip('/')}"
