r"""What the formats of text fields mean, each by its standard, and how a column of text is looked at.

* ``email``: the "valid e-mail address" of the HTML Living Standard, which browsers use: RFC 5322 without its comments,
  quotes and other things nobody has in an address
* ``uri``: RFC 3986 with a scheme; ASCII, anything else percent-encoded
* ``uuid``: RFC 9562, 8-4-4-4-12 hexadecimal digits
* ``date``, ``date-time``, ``time``: ``full-date``, ``date-time`` and ``full-time`` of RFC 3339 (years from 1); a 60th
  second only where UTC has one
* ``ipv4``: dotted quad of RFC 2673, no leading zeros · ``ipv6``: RFC 4291, no zone
* ``hostname``: RFC 1123, labels of at most 63 characters, 253 in all

The patterns keep to what Python's and Rust's regular expressions have in common: what a pattern takes is of the format
for both, given the further test of ``accepts`` where there is one; a column of text is judged by the same pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_ATOM = "[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_HEX = "[0-9A-Fa-f]"
_PCHAR = f"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%{_HEX}{{2}})"
_USER = f"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%{_HEX}{{2}})*@"
_NAME = f"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%{_HEX}{{2}})*"
_HOST = rf"(?:\[(?:{_HEX}*:[0-9A-Fa-f:.]*|v{_HEX}+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]|{_NAME})"
_HIER = f"(?://(?:{_USER})?{_HOST}(?::[0-9]*)?(?:/{_PCHAR}*)*|/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?|{_PCHAR}+(?:/{_PCHAR}*)*|)"
_QUERY = f"(?:{_PCHAR}|[/?])*"
_DATE = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_ZONE = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:"
_TIME = rf"{_CLOCK}[0-5][0-9](?:\.[0-9]+)?{_ZONE}"
_LEAP = rf"{_CLOCK}60(?:\.[0-9]+)?{_ZONE}"
_IPV6 = rf"(?:{_HEX}{{0,4}}:){{2,8}}(?:{_HEX}{{0,4}}|{_IPV4})"

PATTERNS: dict[str, str] = {
    "email": rf"{_ATOM}+@{_LABEL}(?:\.{_LABEL})*",
    "uri": rf"[A-Za-z][A-Za-z0-9+.-]*:{_HIER}(?:\?{_QUERY})?(?:#{_QUERY})?",
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "date": _DATE,
    "date-time": f"{_DATE}[Tt](?:{_TIME}|{_LEAP})",
    "time": f"(?:{_TIME}|{_LEAP})",
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "hostname": rf"{_LABEL}(?:\.{_LABEL})*",
}
"""What a text of each format looks like as a whole."""


def accepts(name: str) -> Callable[[str], bool]:
    """Return the test whether a text is of a format."""
    matches, further = re.compile(PATTERNS[name]).fullmatch, _FURTHER.get(name)
    if further is None:
        return lambda text: matches(text) is not None
    return lambda text: matches(text) is not None and further(text)


def doubts(name: str, column: pl.Expr) -> list[pl.Expr]:
    """Return when a text of a column may not be of a format; a text they pass over is of it for certain."""
    import polars as pl  # noqa: PLC0415

    certain = _CERTAIN.get(name, PATTERNS[name])
    found = [~column.str.contains(f"^(?:{certain})$")]
    if name in {"date", "date-time"}:
        day = column.str.slice(0, 10)
        found += [
            day.str.to_date("%Y-%m-%d", strict=False).is_null() & column.is_not_null(),
            day.str.starts_with("0000"),
        ]
    if name == "hostname":
        found.append(column.str.len_bytes() > pl.lit(_LONGEST_HOST))
    return found


_LONGEST_HOST = 253
_CERTAIN = {
    # Seconds that need a look at the calendar of leap seconds, and short forms of addresses, are for the rows form.
    "date-time": f"{_DATE}[Tt]{_TIME}",
    "time": _TIME,
    "ipv6": f"(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}",
    "uri": PATTERNS["uri"].replace(_HOST, _NAME),
}


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def _is_instant(text: str) -> bool:
    return _is_date(text) and _is_time(text[11:])


def _is_time(text: str) -> bool:
    """Tell whether a time that looks right is one: a 60th second comes at 23:59 UTC only."""
    if text[6:8] != "60":
        return True
    zone = text.lstrip("0123456789:.").upper()
    offset = timedelta()
    if zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
    utc = datetime(2000, 1, 2, int(text[:2]), int(text[3:5])) - offset  # noqa: DTZ001 - only its clock is looked at
    return (utc.hour, utc.minute) == (23, 59)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _has_true_host(text: str) -> bool:
    """Tell whether an address in brackets is one (RFC 3986, section 3.2.2)."""
    literal = re.match(r"[^:]+://[^/?#\[]*\[([^\]]*)\]", text)
    return literal is None or literal[1][:1] in "vV" or _is_ipv6(literal[1])


_FURTHER: dict[str, Callable[[str], bool]] = {
    "uri": _has_true_host,
    "date": _is_date,
    "date-time": _is_instant,
    "time": _is_time,
    "ipv6": _is_ipv6,
    "hostname": lambda text: len(text) <= _LONGEST_HOST,
}
