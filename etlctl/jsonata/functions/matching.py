"""Functions that look for a text, a regular expression or a function's matches: contains, match, replace, split."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from math import ceil
from typing import Any, Final

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.regexes import Regex, from_units, groups_of, match_object, to_units
from etlctl.jsonata.functions.signature import shown
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING, JsonataError, Sequence

_NUMBERS: Final = frozenset((int, float))
_MOST: Final = 2**31
_BIG: Final = 100_000
_REFERENCE: Final = re.compile(r"\$(\$|0|[0-9]*)")


def _limited(limit: Any, name: str, code: str) -> int | None:
    """Return how many matches count; None for all."""
    if limit is NOTHING:
        return None
    if limit < 0:
        msg = f"the limit of ${name} must not be negative: {limit}"
        raise JsonataError(msg, code)
    whole: int = ceil(min(limit, _MOST))
    return whole


def _is_limit(value: Any) -> bool:
    return value is NOTHING or type(value) in _NUMBERS


def _asked(matcher: Closure, *args: Any) -> Any:
    """Return what a matcher function gives, if it has the right form (T1010)."""
    result = matcher(*args)
    if result is NOTHING:
        return NOTHING
    if type(result) is not dict or not _is_match(result):
        msg = f"the matcher function must return an object with match, start, end, groups and next: {shown(result)}"
        raise JsonataError(msg, "T1010")
    return result


def _is_match(found: dict[str, Any]) -> bool:
    return (
        type(found.get("start")) in _NUMBERS
        or isinstance(found.get("groups"), list)
        or isinstance(found.get("next"), Closure)
    )


def _walk(matcher: Closure, text: str) -> Iterator[dict[str, Any]]:
    """Yield the matches of a matcher function."""
    found = _asked(matcher, text)
    budget = BUDGET.get()
    while found is not NOTHING:
        yield found
        budget.check()
        following = found.get("next", NOTHING)
        if not isinstance(following, Closure):
            msg = "a match object has no function `next`"
            raise JsonataError(msg, "T1010")
        found = _asked(following, *([NOTHING] if following.arity else []))


def _taken(matches: Iterator[Any], limit: int | None) -> Iterator[Any]:
    """Yield at most so many matches; one more is looked for, as the reference does, for the error it may raise."""
    if limit is None:
        yield from matches
        return
    if limit:
        yield from islice(matches, limit)
        next(matches, None)


@BUILTINS.define("contains", "<s-(sf):b>")
def contains(text: Any, token: Any) -> Any:
    """Tell whether a text holds another one, or a match of a regular expression or matcher function."""
    if type(text) is str:
        if type(token) is str:
            return token in text
        if type(token) is Regex:
            return token.first(to_units(text)) is not None
        if token is NOTHING:
            return NOTHING
        if isinstance(token, Closure):
            return _asked(token, text) is not NOTHING
    return unusual("contains", text, token)


@BUILTINS.define("match", "<s-f<s:o>n?:a<o>>")
def matched(text: Any, pattern: Any, limit: Any = NOTHING) -> Any:
    """Return match, index (in UTF-16 units) and groups of each match (D3040 for a negative limit)."""
    if type(text) is not str or not isinstance(pattern, Closure) or not _is_limit(limit):
        return unusual("match", text, pattern, limit)
    most = _limited(limit, "match", "D3040")
    found = Sequence()
    if most == 0:
        return found
    if type(pattern) is Regex:
        for match in _taken(pattern.matches(to_units(text)), most):
            found.append({"match": from_units(match[0]), "index": match.start(), "groups": groups_of(match)})
        return found
    for given in _taken(_walk(pattern, text), most):
        parts = {"match": given.get("match", NOTHING), "index": given.get("start", NOTHING)}
        parts["groups"] = given.get("groups", NOTHING)
        found.append({key: part for key, part in parts.items() if part is not NOTHING})
    return found


@BUILTINS.define("split", "<s-(sf)n?:a<s>>")
def split(text: Any, separator: Any, limit: Any = NOTHING) -> Any:
    """Return the parts of a text between separators, at most so many (D3020 for a negative limit)."""
    if type(text) is not str or not _is_limit(limit):
        return unusual("split", text, separator, limit)
    most = _limited(limit, "split", "D3020")
    if type(separator) is str:
        if type(limit) is float:
            most = int(limit)
        if len(text) > _BIG:
            BUDGET.get().check_items(text.count(separator))
        parts = text.split(separator) if separator else list(text)
        return parts if most is None else parts[:most]
    if not isinstance(separator, Closure):
        return unusual("split", text, separator, limit)
    if most == 0:
        return []
    units = to_units(text)
    spans = _spans(separator, text, units)
    parts = []
    start = 0
    for begin, end in _taken(spans, most):
        parts.append(from_units(units[start:begin]))
        start = end
    if most is None or len(parts) < most:
        parts.append(from_units(units[start:]))
    return parts


def _spans(matcher: Closure, text: str, units: str) -> Iterator[tuple[int, int]]:
    if type(matcher) is Regex:
        return (match.span() for match in matcher.matches(units))
    return (_span(found) for found in _walk(matcher, text))


def _span(found: dict[str, Any]) -> tuple[int, int]:
    start, end = found.get("start"), found.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        msg = f"a match object needs whole numbers as start and end: {shown(start)}, {shown(end)}"
        raise JsonataError(msg, "T1010")
    return start, end


@BUILTINS.define("replace", "<s-(sf)(sf)n?:s>")
def replace(text: Any, pattern: Any, replacement: Any, limit: Any = NOTHING) -> Any:
    """Return a text with matches replaced by a text (``$1`` for groups) or by what a function of the match gives.

    Raises:
        JsonataError: D3010 for an empty pattern, D3011 for a negative limit, D3012 when no text comes of it.
    """
    if type(text) is not str or not _is_limit(limit):
        return unusual("replace", text, pattern, replacement, limit)
    if pattern == "" and type(pattern) is str:
        msg = "the pattern of $replace must not be empty"
        raise JsonataError(msg, "D3010")
    most = _limited(limit, "replace", "D3011")
    if type(pattern) is str and type(replacement) is str:
        return _replace_text(text, pattern, replacement, most)
    if replacement is NOTHING or (type(pattern) is str and isinstance(replacement, Closure)):
        return _unreplaceable(text, pattern, replacement, most)
    if not isinstance(pattern, Closure) or not (type(replacement) is str or isinstance(replacement, Closure)):
        return unusual("replace", text, pattern, replacement, limit)
    if type(pattern) is Regex:
        return _replace_matches(text, pattern, replacement, most)
    return _replace_given(text, pattern, replacement, most)


def _unreplaceable(text: str, pattern: Any, replacement: Any, most: int | None) -> str:
    """Return the text when nothing in it has to be replaced with something that is no text."""
    missing = type(pattern) is str and pattern not in text
    if most == 0 or missing or (type(pattern) is Regex and pattern.first(to_units(text)) is None):
        return text
    msg = f"$replace needs a text as its third argument here, not {shown(replacement)}"
    raise JsonataError(msg, "D3012")


def _replace_text(text: str, pattern: str, replacement: str, most: int | None) -> str:
    if len(replacement) * len(text) > _BIG:
        hits = text.count(pattern) if most is None else min(most, text.count(pattern))
        BUDGET.get().check_characters(len(text) + hits * (len(replacement) - len(pattern)))
    return text.replace(pattern, replacement, -1 if most is None else most)


def _replace_matches(text: str, pattern: Regex, replacement: Any, most: int | None) -> str:
    units = to_units(text)
    matches = pattern.matches(units)
    fixed = replacement if type(replacement) is str and "$" not in replacement else None
    parts: list[str] = []
    position = size = 0
    for match in _taken(matches, most):
        start, end = match.span()
        if fixed is not None:
            new = fixed
        elif type(replacement) is str:
            new = _expanded(replacement, match[0], match.groups(""))
        else:
            new = _text_of(replacement(match_object(match, matches)))
        parts += (units[position:start], new)
        position = end
        size += len(new)
        if size > 1_000_000:
            BUDGET.get().check_characters(size)
    parts.append(units[position:])
    return from_units("".join(parts))


def _text_of(value: Any) -> str:
    if type(value) is not str:
        msg = f"a match must be replaced with a string, not {shown(value)}"
        raise JsonataError(msg, "D3012")
    return value


@lru_cache(maxsize=512)
def _template(replacement: str, groups: int) -> tuple[str | int, ...]:
    """Return a replacement as texts and numbers of groups; 0 is the match. As many digits count as groups need."""
    digits = len(str(groups)) if groups else 1
    parts: list[str | int] = []
    at = 0
    for found in _REFERENCE.finditer(replacement):
        reference = found[1]
        parts.append(replacement[at : found.start()])
        at = found.end()
        if not reference or reference == "$":
            parts.append("$")
            continue
        number = "0" if reference[0] == "0" else reference[:digits]
        if len(number) > 1 and int(number) > groups:
            number = number[:-1]
        parts += (int(number) if int(number) <= groups else "", reference[len(number) :])
    parts.append(replacement[at:])
    return tuple([part for part in parts if part != ""])


def _expanded(replacement: str, whole: str, groups: list[str] | tuple[str, ...]) -> str:
    """Return a replacement with its references filled in."""
    parts = _template(replacement, len(groups))
    return "".join([part if isinstance(part, str) else groups[part - 1] if part else whole for part in parts])


def _replace_given(text: str, pattern: Closure, replacement: Any, most: int | None) -> str:
    """Replace the matches of a matcher function."""
    units = to_units(text)
    change: Callable[[dict[str, Any]], str]
    if type(replacement) is str:
        change = lambda found: _expanded(replacement, str(found.get("match", "")), _given_groups(found))  # noqa: E731
    else:
        change = lambda found: _text_of(replacement(found))  # noqa: E731
    parts: list[str] = []
    position = 0
    for found in _taken(_walk(pattern, text), most):
        start, _ = _span({**found, "end": found.get("start")})
        matched_text = found.get("match")
        if type(matched_text) is not str:
            msg = f"a match object needs a string as match: {shown(matched_text)}"
            raise JsonataError(msg, "T1010")
        parts += (units[position:start], change(found))
        position = start + len(to_units(matched_text))
    parts.append(units[position:])
    return from_units("".join(parts))


def _given_groups(found: dict[str, Any]) -> list[str]:
    groups = found.get("groups", NOTHING)
    if not isinstance(groups, list):
        msg = f"a match object needs an array as groups: {shown(groups)}"
        raise JsonataError(msg, "T1010")
    return [group if type(group) is str else "" for group in groups]
