"""Options that everything that speaks HTTP shares: authentication, retries, limits, what may be reached."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

DEFAULT_MAX_BODY = 64 << 20
DEFAULT_STATUSES = (429, 500, 502, 503, 504)

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class HttpModel(BaseModel):
    """Base of the options in here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class BearerAuth(HttpModel):
    """A token in the ``Authorization`` header."""

    type: Literal["bearer"]
    """Which kind of authentication."""
    token: str = Field(min_length=1, repr=False)
    """The token, such as ``${env:API_TOKEN}``."""


class BasicAuth(HttpModel):
    """User name and password (RFC 7617)."""

    type: Literal["basic"]
    """Which kind of authentication."""
    username: str
    """User name."""
    password: str = Field(default="", repr=False)
    """Password."""


class ApiKeyAuth(HttpModel):
    """A key in a header or in the query."""

    type: Literal["api_key"]
    """Which kind of authentication."""
    key: str = Field(min_length=1, repr=False)
    """The key, such as ``${env:API_KEY}``."""
    name: str = Field(default="X-API-Key", min_length=1)
    """Name of the header or of the query parameter."""
    location: Literal["header", "query"] = "header"
    """Where the key is sent."""


class OAuth2(HttpModel):
    """What both OAuth 2 grants have (RFC 6749)."""

    token_url: str
    """Where tokens are fetched; ``https`` except on this machine."""
    client_id: str
    """Id of the client."""
    client_secret: str | None = Field(default=None, repr=False)
    """Secret of the client, such as ``${env:CLIENT_SECRET}``."""
    client_auth: Literal["basic", "body"] = "basic"
    """How the client shows who it is: in the ``Authorization`` header or in the body."""
    scope: str | None = None
    """Scopes to ask for, separated by spaces."""
    token_params: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further fields of the token request, such as ``audience``."""

    @field_validator("token_url")
    @classmethod
    def _encrypted(cls, url: str) -> str:
        if "${" in url:
            return url
        parts = urlsplit(url)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme == "https" or (parts.scheme == "http" and local):
            return url
        raise ValueError("must begin with https://, or the client's secret could be read on the way")


class ClientCredentialsAuth(OAuth2):
    """OAuth 2 for machines: a token for the client itself."""

    type: Literal["oauth2_client_credentials"]
    """Which kind of authentication."""
    client_secret: str = Field(repr=False)
    """Secret of the client, such as ``${env:CLIENT_SECRET}``."""


class RefreshTokenAuth(OAuth2):
    """OAuth 2 with a refresh token that somebody has been given before."""

    type: Literal["oauth2_refresh_token"]
    """Which kind of authentication."""
    refresh_token: str = Field(min_length=1, repr=False)
    """The refresh token, such as ``${secret:REFRESH_TOKEN}``."""


Auth = Annotated[
    BearerAuth | BasicAuth | ApiKeyAuth | ClientCredentialsAuth | RefreshTokenAuth, Field(discriminator="type")
]


class CircuitBreaker(HttpModel):
    """After how many failures in a row a host is left alone for a while; shared by all runs of the process."""

    failures: int = Field(default=5, ge=1)
    """Requests without an answer, or answered with 500 and above, in a row; whoever sent them."""
    cooldown: Seconds = 30.0
    """Seconds until one request may try again."""


class Retry(HttpModel):
    """When and how often a request is repeated."""

    max_attempts: int = Field(default=3, ge=1, le=100)
    """Attempts, the first one included."""
    backoff_factor: float = Field(default=2.0, ge=0, le=1000, allow_inf_nan=False)
    """The wait after attempt n is ``backoff_factor ** (n - 1)`` seconds: 1, 2, 4 … with 2; 0 does not wait."""
    max_backoff: Seconds = 60.0
    """Longest wait in seconds, unless the server asks for more."""
    retry_on_status: list[int] = Field(default_factory=lambda: list(DEFAULT_STATUSES))
    """Statuses that are worth another attempt."""
    deadline: float = Field(default=300.0, gt=0, le=86_400, allow_inf_nan=False)
    """Seconds for one request with all its attempts, waits and redirects."""
    jitter: bool = False
    """Waits are random, between 0 and what they would be: for many clients of one server."""
    repeat_unsafe: bool = False
    """Requests that may have side effects (POST, PATCH) are repeated too when nobody knows what became of them."""
    circuit_breaker: CircuitBreaker | None = None
    """Leave a host alone after failures in a row."""


class RateLimit(HttpModel):
    """At most so many requests in any such span of time, over all runs of a host in the process."""

    requests: int = Field(ge=1, le=100_000)
    """How many requests."""
    per: float = Field(default=1.0, gt=0, le=86_400, allow_inf_nan=False)
    """In how many seconds."""


class Timeouts(HttpModel):
    """How long to wait for what."""

    connect: float = Field(default=10.0, gt=0, le=3600, allow_inf_nan=False)
    """Seconds for a connection, encryption included."""
    read: float = Field(default=60.0, gt=0, le=86_400, allow_inf_nan=False)
    """Seconds without a single byte."""


class HttpOptions(BaseModel):
    """Options of everything that speaks HTTP; ``Http(HttpOptions, Extractor)`` takes them over."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Header fields; sent to the host of the configured URL and to no other."""
    auth: Auth | None = None
    """How to authenticate; bound to the scheme, host and port of the configured URL."""
    retry: Retry = Field(default_factory=Retry)
    """When and how often a request is repeated."""
    rate_limit: RateLimit | None = None
    """At most so many requests per time."""
    timeout: float | Timeouts = Field(default_factory=Timeouts)
    """Seconds without a single byte, or ``connect`` and ``read``; the whole request has ``retry.deadline``."""
    verify_tls: bool = True
    """The certificate of the server is checked."""
    ca_file: str | None = None
    """PEM file with the certificates to trust besides the system's, relative to the contract's folder."""
    max_body_bytes: int = Field(default=DEFAULT_MAX_BODY, ge=1, le=1 << 34)
    """Largest body of a response in bytes, both as sent and decompressed."""
    max_redirects: int = Field(default=5, ge=0, le=50)
    """Redirects that are followed for one request."""
    allow_hosts: list[str] = Field(default_factory=list)
    """Hosts, addresses or networks (``10.0.0.0/8``) that may be reached although they are link-local, metadata services or otherwise refused."""  # noqa: E501
    public_only: bool = False
    """Only public addresses may be reached: not this machine, nor private networks."""
    cache: bool = False
    """Responses with ``ETag`` or ``Last-Modified`` are kept in ``.etlctl/http-cache`` and asked for only when they changed."""  # noqa: E501
    cache_with_auth: bool = False
    """Responses to requests with credentials are kept too; they stand on the disk for who may read this user's files."""  # noqa: E501

    @field_validator("timeout")
    @classmethod
    def _positive(cls, value: float | Timeouts) -> float | Timeouts:
        if isinstance(value, float | int) and not 0 < value <= 86_400:
            raise ValueError("must be more than 0 seconds and at most a day")
        return value

    @property
    def timeouts(self) -> Timeouts:
        """Return the timeouts, also when only a number is given."""
        return self.timeout if isinstance(self.timeout, Timeouts) else Timeouts(read=float(self.timeout))
