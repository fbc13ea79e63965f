"""Which options hold credentials: told from their names, and from user:password in a URL."""

from __future__ import annotations

import re
from urllib.parse import unquote

_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_ALWAYS = {
    "password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "tokens", "credential", "credentials",
    "apikey", "authorization",
}  # fmt: skip
_ROLES = {
    "path", "param", "params", "url", "uri", "name", "field", "header", "type", "file", "env", "count", "length",
    "strategy", "location",
}  # fmt: skip
_DATA_KEYS = {"primary", "sort", "partition", "merge", "foreign", "unique", "business", "natural", "records", "object"}
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*:([^/?#\s@]+)@")


def is_credential_name(name: str) -> bool:
    """Tell whether an option, a header or a variable of this name holds a credential.

    ``token_url`` and ``api_key_header`` do not: their last word says that they describe one. ``primary_key`` does not.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _ROLES:
        return False
    if _ALWAYS.intersection(words):
        return True
    return words[-1] == "key" and not _DATA_KEYS.intersection(words)


def url_password(text: str) -> tuple[str, int, int] | None:
    """Return the password inside ``scheme://user:password@host`` with its place in the text, or None."""
    match = _USERINFO.search(text)
    return (match[1], *match.span(1)) if match else None


def secret_forms(value: str) -> tuple[str, ...]:
    """Return what to redact of a secret value: the value, and the password alone when it is a URL."""
    found = url_password(value)
    if found is None:
        return (value,)
    return (value, found[0], unquote(found[0]))
