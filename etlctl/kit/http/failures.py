"""How requests fail, in words for people, without secrets.

RetryableError
└─ GaveUp                  (etlctl.errors) exit 6
   └─ HttpGaveUp           attempts or deadline used up; the last status and response, where there was one
FatalError
├─ HttpError               an answer that no repetition makes better
├─ HttpAccessDenied        401, 403, a refused token; exit 6
├─ HttpNotTrusted          TLS; exit 6
├─ AddressRefused          a place that must not be reached
└─ OutcomeUnknown          nobody knows whether a request that must not be repeated was carried out
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from yarl import URL

from etlctl.errors import FatalError, GaveUp, SourceUnavailable
from etlctl.kit.http.message import Request, Response
from etlctl.redact import MASK, Redactor

EXCERPT = 500

_CREDENTIAL = re.compile(
    r"(authorization|cookie|token|secret|passw|passphrase|api-?_?key|credential|signature)|^(key|sig|auth|pwd)$",
    re.IGNORECASE,
)
_CURSORS = re.compile(
    r"^(next|page|continuation|cursor|sync|pagination|start|after|skip)[-_]?(page)?[-_]?token$", re.IGNORECASE
)


def is_secret_name(name: str) -> bool:
    """Tell whether a header or a query parameter of this name holds a credential; ``pageToken`` does not."""
    return bool(_CREDENTIAL.search(name)) and not _CURSORS.match(name)


class HttpError(FatalError):
    """A server answered what no repetition makes better.

    Args:
        message: What happened.
        status: HTTP status.
        response: The answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        response: Response | None = None,
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(message, help=help)
        self.status = status
        self.response = response


class HttpAccessDenied(SourceUnavailable, HttpError):  # noqa: N818
    """The server does not let us in."""


class HttpNotTrusted(SourceUnavailable, HttpError):  # noqa: N818
    """The server cannot show who it is, or does not speak TLS."""


class AddressRefused(HttpError):  # noqa: N818
    """A place that must not be reached: a metadata service, a private network when only public ones may be."""


class OutcomeUnknown(HttpError):  # noqa: N818
    """A request that must not be repeated got no answer: it may or may not have been carried out."""


class HttpGaveUp(GaveUp):
    """Attempts or deadline are used up.

    Args:
        message: What happened last.
        status: The last HTTP status, if there was an answer.
        response: The last answer.
        retry_after: Seconds the server asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        response: Response | None = None,
        retry_after: float | None = None,
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(message, retry_after=retry_after, help=help)
        self.status = status
        self.response = response


class Trouble(Exception):  # noqa: N818
    """One attempt failed, and another one may do better; never leaves this package.

    Args:
        message: What happened, without the request.
        arrived: The server may have received the request.
    """

    def __init__(self, message: str, *, arrived: bool) -> None:
        super().__init__(message)
        self.message = message
        self.arrived = arrived


class Wording:
    """Says things about requests without saying secrets.

    Args:
        secrets: What must not be said.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._redactor = Redactor()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Remember another secret, such as a token just fetched."""
        self._redactor.add(secret)
        # In a URL only some of its characters are percent-encoded, others in a query than in a path.
        url = URL.build(scheme="http", host="h", path=f"/{secret}", query={"k": secret})
        self._redactor.add(url.raw_path.removeprefix("/"))
        self._redactor.add(url.raw_query_string.removeprefix("k="))

    def text(self, text: str) -> str:
        """Return a text with every known secret masked."""
        return self._redactor.text(text)

    def url(self, url: str | URL) -> str:
        """Return a URL without user and password, secrets in its query masked."""
        try:
            url = URL(str(url)).with_fragment(None)
            url = url.with_user(None) if url.raw_host else url
            # Masked as text: building the query anew would write the rest of it differently.
            query = "&".join(_masked(part) for part in url.raw_query_string.split("&")) if url.raw_query_string else ""
            shown = str(url.with_query(None)) + (f"?{query}" if query else "")
        except ValueError:
            shown = re.sub(r"//[^/?#]*@", "//", str(url)).partition("?")[0]
        return self.text(shown)

    def masked_by_name(self, url: str) -> list[str]:
        """Return the values in the query that ``url`` masks for their names only; they need not be secrets."""
        try:
            parts = URL(url).raw_query_string.split("&")
        except ValueError:
            return []
        return [part.partition("=")[2] for part in parts if _masked(part) != part and self.text(part) == part]

    def request(self, request: Request) -> str:
        """Return method and URL."""
        return f"{request.method} {self.url(request.url)}"

    def excerpt(self, body: bytes) -> str:
        """Return the beginning of a body as one line."""
        text = self.text(body[: EXCERPT * 8].decode("utf-8", "replace"))
        text = " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in text).split())
        return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"

    def status(self, response: Response, request: Request) -> str:
        """Return what a server answered, with the beginning of the body."""
        told = f"HTTP error {response.status}{_phrase(response.status)} from {self.request(request)}"
        excerpt = self.excerpt(response.body)
        return f"{told}: {excerpt}" if excerpt else told

    def refusal(self, response: Response, request: Request) -> HttpError:
        """Return the error for an answer that no repetition makes better."""
        told, status = self.status(response, request), response.status
        if status in {401, 403}:
            help_ = (
                "the server does not accept who we are: check auth and the headers"
                if status == 401
                else "the server knows who we are and refuses: check the rights of this account or key"
            )
            return HttpAccessDenied(told, status=status, response=response, help=help_)
        hints = {
            404: "check the URL and its parameters",
            405: f"the server does not take {request.method} here: check method",
            407: "the proxy wants credentials: put them into HTTPS_PROXY",
            413: "send less at once",
            415: "check the Content-Type header and the body",
        }
        return HttpError(told, status=status, response=response, help=hints.get(status))


def _masked(part: str) -> str:
    name, mark, value = part.partition("=")
    return f"{name}={MASK}" if mark and value and is_secret_name(name) else part


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""
