"""What an object store and its library report, in words that say what to do. No address with a query, no secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etlctl.errors import ComponentError, EtlctlError, FatalError, RetryableError, SourceUnavailable
from etlctl.frozen import frozen
from etlctl.redact import Redactor

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")
_JSON_REASON = re.compile(r'"reason":\s*"([A-Za-z]+)"')
_TOLD = re.compile(r"<Message>([^<]{1,400})", re.DOTALL)
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>")
_QUERY = re.compile(r"\?[^\s\"']+")
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "ResourceNotFound"})
_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthenticationFailed",
     "TokenRefreshRequired", "InvalidAuthenticationInfo", "authError"}
)  # fmt: skip
_REGIONS = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_BUSY = frozenset({"SlowDown", "RequestTimeout", "ServerBusy", "OperationTimedOut", "InternalError"})


class Conflict(FatalError):  # noqa: N818 - what happens next decides whether it is an error
    """A conditional write was refused: the object is there already, or is not the one expected."""


class Gone(FatalError):  # noqa: N818
    """There is no such object."""


class Unsupported(FatalError):  # noqa: N818
    """The store cannot do that."""


@contextmanager
def told(place: str, redactor: Redactor) -> Iterator[None]:
    """Turn what the library raises into errors that say what to do.

    Args:
        place: The object or bucket, as messages call it.
        redactor: Knows the secrets of the store.

    Raises:
        Conflict: A condition of the request does not hold.
        Gone: There is no such object.
        Unsupported: The store cannot do that.
        RetryableError: Trying again may help.
        FatalError: It will not.
    """
    try:
        yield
    except EtlctlError:
        raise
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        if kind in {"AlreadyExistsError", "PreconditionError"}:
            raise Conflict(f"{place}: something else has changed it in this moment") from None
        if isinstance(error, NotImplementedError) or kind == "NotSupportedError":
            raise Unsupported(f"{place}: the store cannot do that") from None
        if isinstance(error, FileNotFoundError) and _code(text) not in _NO_BUCKET:
            raise Gone(f"{place}: there is no such object") from None
        if not type(error).__module__.startswith("obstore") and not isinstance(error, OSError | ValueError):
            raise
        # Not "from error": its text has whole requests in it, signatures included.
        raise explained(place, kind, text, redactor) from None
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # a panic of the library is no Exception
            raise
        raise FatalError(f"{place}: the library of object stores failed: {_first_line(str(error), redactor)}") from None


@frozen
class _Report:
    """What the store or its library reports: HTTP status and code of the store if any, class and text of the error."""

    status: int | None
    code: str
    kind: str
    text: str

    def says(self, *words: str) -> bool:
        return any(word in self.text for word in words)


@frozen
class _Case:
    """A kind of failure: how it is told, and what is said of it. ``{said}`` is the store's own message."""

    applies: Callable[[_Report], bool]
    error: type[ComponentError]
    message: str
    help: str | None = None


_CASES = (
    _Case(
        lambda it: it.code in _NO_BUCKET or (it.status == 404 and not it.code),
        SourceUnavailable,
        "there is no such bucket or container{said}",
        "correct bucket or url, or create it first; also look at endpoint and account_name",
    ),
    _Case(
        lambda it: it.says("169.254.169.254", "metadata.google.internal", "169.254.170.2"),
        SourceUnavailable,
        "no credentials: none are given, none are in the environment, and this machine has no role",
        "give access_key_id and secret_access_key (s3), account_key or sas_token (azure), service_account_path (gcs), "
        "their environment variables, or anonymous: true for public objects",
    ),
    _Case(
        lambda it: it.code == "RequestTimeTooSkewed",
        SourceUnavailable,
        "the clock of this machine differs too much from that of the store{said}",
        "set this machine's clock right",
    ),
    _Case(
        lambda it: it.code in _REGIONS or it.status == 301 or it.says("redirect without LOCATION"),
        SourceUnavailable,
        "the bucket is in another region than the one asked for{region}{said}",
        "set region to that of the bucket",
    ),
    _Case(
        lambda it: it.code in _CREDENTIALS or it.status == 401 or it.kind == "UnauthenticatedError",
        SourceUnavailable,
        "the store does not accept the credentials{said}",
        "look at access_key_id and secret_access_key, account_key, sas_token or service_account_path, and whether "
        "they have expired",
    ),
    _Case(
        lambda it: it.status == 403 or it.kind == "PermissionDeniedError",
        SourceUnavailable,
        "access denied{said}",
        "give this user the rights to list, read and (for a destination) write and delete objects there",
    ),
    _Case(
        lambda it: it.says("builder error", "URL scheme is not allowed"),
        FatalError,
        "the endpoint (perhaps one from the environment) is http://, which is not allowed",
        "use https://, or add allow_http: true",
    ),
    _Case(
        lambda it: it.status is None and it.says("redential", "Account must be", "Access Key", "SAS"),
        FatalError,
        "the credentials cannot be used: {first}",
        "look at access_key_id, account_name, account_key, sas_token and service_account_path, and at their "
        "environment variables",
    ),
    _Case(
        lambda it: it.status == 429 or (it.status or 0) >= 500 or it.code in _BUSY,
        RetryableError,
        "the store has trouble: {first}",
    ),
    _Case(
        lambda it: it.status is None and it.says("HTTP error", "error decoding response body"),
        RetryableError,
        "the store cannot be reached: {first}",
    ),
    _Case(lambda _: True, FatalError, "{first}"),
)


def explained(place: str, kind: str, text: str, redactor: Redactor) -> ComponentError:
    """Return the error for a person.

    Args:
        place: The object or bucket, as messages call it.
        kind: Name of the library's class of error.
        text: What the library says.
        redactor: Knows the secrets of the store.
    """
    report = _Report(_status(text), _code(text), kind, text)
    case = next(case for case in _CASES if case.applies(report))
    found = _REGION.search(text)
    message = case.message.format(
        said=_said(text, redactor),
        region=f"; it is in {found[1]}" if found else "",
        first=_first_line(text, redactor),
    )
    return case.error(f"{place}: {message}", help=case.help)


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _code(text: str) -> str:
    found = _CODE.search(text) or _JSON_REASON.search(text)
    return found[1] if found else ""


def _said(text: str, redactor: Redactor) -> str:
    """Return what the store itself says, to be put behind a sentence."""
    found = _TOLD.search(text)
    return f" ({redactor.text(' '.join(found[1].split()))})" if found else ""


def _first_line(text: str, redactor: Redactor) -> str:
    lines = text.partition("Debug source:")[0].strip().splitlines()
    line = _QUERY.sub("", lines[0]) if lines else "no reason given"
    return redactor.text(line[:400]) + _said(text, redactor)
