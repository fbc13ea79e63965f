"""Base64 and URL encoding, as JavaScript does them."""

from __future__ import annotations

import base64
import re
from typing import Any, Final
from urllib.parse import quote

from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.signature import shown
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import JsonataError

_BIG: Final = 100_000
_COMPONENT: Final = "!~*'()"
_URL: Final = _COMPONENT + ";/?:@&=+$,#"
_RESERVED: Final = frozenset(b";/?:@&=+$,#")
_ESCAPES: Final = re.compile("(?:%[0-9A-Fa-f]{2})+|%")
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")
_URL_SAFE: Final = str.maketrans("-_", "+/")


@BUILTINS.define("base64encode", "<s-:s>")
def base64_encode(text: Any) -> Any:
    """Return the base64 form of a text whose UTF-16 units are taken as bytes; only their lower eight bits count."""
    if type(text) is not str:
        return unusual("base64encode", text)
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        data = text.encode("utf-16-le", "surrogatepass")[::2]
    return base64.b64encode(data).decode("ascii")


@BUILTINS.define("base64decode", "<s-:s>")
def base64_decode(text: Any) -> Any:
    """Return the bytes of a base64 text as characters 0 to 255; what is not base64 is overlooked."""
    if type(text) is not str:
        return unusual("base64decode", text)
    bare = _NOT_BASE64.sub("", text.partition("=")[0].translate(_URL_SAFE))
    if len(bare) % 4 == 1:
        bare = bare[:-1]
    return base64.b64decode(bare + "=" * (-len(bare) % 4)).decode("latin-1")


@BUILTINS.define("encodeUrlComponent", "<s-:s>")
def encode_url_component(text: Any) -> Any:
    """Return a text as a part of a URL (D3140 for half a surrogate pair)."""
    return (
        _encoded(text, _COMPONENT, "encodeUrlComponent") if type(text) is str else unusual("encodeUrlComponent", text)
    )


@BUILTINS.define("encodeUrl", "<s-:s>")
def encode_url(text: Any) -> Any:
    """Return a text as a URL, whose separators stay as they are (D3140 for half a surrogate pair)."""
    return _encoded(text, _URL, "encodeUrl") if type(text) is str else unusual("encodeUrl", text)


@BUILTINS.define("decodeUrlComponent", "<s-:s>")
def decode_url_component(text: Any) -> Any:
    """Return the text of a part of a URL (D3140 when it is malformed)."""
    if type(text) is not str:
        return unusual("decodeUrlComponent", text)
    return _decoded(text, frozenset(), "decodeUrlComponent")


@BUILTINS.define("decodeUrl", "<s-:s>")
def decode_url(text: Any) -> Any:
    """Return the text of a URL; separators that are escaped stay so (D3140 when it is malformed)."""
    return _decoded(text, _RESERVED, "decodeUrl") if type(text) is str else unusual("decodeUrl", text)


def _encoded(text: str, safe: str, name: str) -> str:
    if len(text) > _BIG:
        BUDGET.get().check_characters(3 * len(text))
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise _malformed(text, name) from None


def _decoded(text: str, kept: frozenset[int], name: str) -> str:
    if "%" not in text:
        return text

    def decode(found: re.Match[str]) -> str:
        escapes = found[0]
        if escapes == "%":
            raise _malformed(text, name)
        data = bytes.fromhex(escapes.replace("%", ""))
        try:
            characters = data.decode("utf-8")
        except UnicodeDecodeError:
            raise _malformed(text, name) from None
        if kept.isdisjoint(data):
            return characters
        return _keep(characters, escapes, kept)

    return _ESCAPES.sub(decode, text)


def _keep(characters: str, escapes: str, kept: frozenset[int]) -> str:
    """Return decoded characters, those of ``kept`` as they were written."""
    parts: list[str] = []
    at = 0
    for character in characters:
        size = 3 * len(character.encode("utf-8"))
        parts.append(escapes[at : at + size] if ord(character) in kept else character)
        at += size
    return "".join(parts)


def _malformed(text: str, name: str) -> JsonataError:
    msg = f"malformed URL passed to ${name}: {shown(text)}"
    return JsonataError(msg, "D3140")
