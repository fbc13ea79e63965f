"""Secrets are removed from every output by their value, wherever they turn up.

A secret is replaced in its raw form and in its percent-encoded, JSON-escaped and Base64 forms.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
# Characters that one or another writer of URLs does not encode: in a path, in a query, in user names, not at all.
_LEFT_AS_THEY_ARE = (
    "",
    "/",
    "/:@",
    "/?:@",
    "/?:@!$'()*,;",
    "/?:@!$'()*,",
    "/!$&'()*+,;=:@",
    "/?:@!$&'()*+,;=",
    "!$&'()*+,;=:@",
    "!$&'()*+,;=",
    "!$'()*,;",
)
_SHORTEST = 4  # shorter values would blank out ordinary text


class Redactor:
    """Replaces known secret values by ``***`` in text and in nested JSON values."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Remember a secret. Values shorter than four characters are not redacted."""
        if len(secret) < _SHORTEST:
            return
        encoded = {quote(secret, safe=left) for left in _LEFT_AS_THEY_ARE}
        forms = {secret, quote_plus(secret), *encoded, json.dumps(secret)[1:-1]}
        forms |= {form.replace("%20", "+") for form in encoded}
        forms.add(base64.b64encode(secret.encode()).decode())
        known = set(self._forms) | forms
        self._forms = sorted(known, key=len, reverse=True)

    @property
    def forms(self) -> tuple[str, ...]:
        """Every form of every known secret, the longest first: for whoever must put them back."""
        return tuple(self._forms)

    @property
    def active(self) -> bool:
        """Tell whether any secret is known."""
        return bool(self._forms)

    def text(self, text: str) -> str:
        """Return the text with every known secret masked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Return a copy of a JSON-like value with every known secret masked, keys included."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value
