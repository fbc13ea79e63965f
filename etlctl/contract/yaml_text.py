"""Writes values into YAML so that they are read back as they were, whatever characters they hold."""

from __future__ import annotations

import json
import re
from typing import Any

from etlctl.contract.scalars import plain_scalar

_PLAIN = re.compile(r"/?(?:\.\.?/)*[A-Za-z_][A-Za-z0-9_]*(?:[ ./-][A-Za-z0-9_]+)*")
_YAML_1_1 = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def scalar(value: str) -> str:
    """Return a text as a YAML scalar, plain where every YAML reader takes it for text, else in double quotes."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _YAML_1_1 and plain_scalar(value) == value
    if plain:
        return value
    # A JSON string is a YAML string; what does not print is escaped, since YAML forbids some of it raw.
    return "".join(char if char.isprintable() else _escape(char) for char in json.dumps(value, ensure_ascii=False))


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def flow(value: Any) -> str:
    """Return a value of text, numbers, booleans, lists and mappings on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value) if isinstance(value, str) else json.dumps(value)


def comment(text: str) -> str:
    """Return a text that can stand behind ``#``: on one line, printable."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def literal(text: str) -> str:
    """Return a text for a file that knows ``${…}``, so that it is read as it stands."""
    return text.replace("${", "$${")
