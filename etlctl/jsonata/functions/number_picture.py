"""``$formatNumber``: decimal pictures of XPath's fn:format-number, as the reference reads them."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache, reduce
from math import gcd
from typing import Any, Final

from etlctl.frozen import frozen
from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.numbers import rounded
from etlctl.jsonata.functions.numeric import check_picture, normal, out_of_range, shortest
from etlctl.jsonata.values import NOTHING, JsonataError

_DEFAULTS: Final = {
    "decimal-separator": ".",
    "grouping-separator": ",",
    "exponent-separator": "e",
    "infinity": "Infinity",
    "minus-sign": "-",
    "NaN": "NaN",
    "percent": "%",
    "per-mille": "\u2030",
    "zero-digit": "0",
    "digit": "#",
    "pattern-separator": ";",
}
_CONTEXT: Final = Context(prec=800, rounding=ROUND_HALF_UP)
_MESSAGES: Final = {
    "D3080": "the picture may have at most two sub-pictures",
    "D3081": "a sub-picture may have only one decimal separator",
    "D3082": "a sub-picture may have only one percent sign",
    "D3083": "a sub-picture may have only one per-mille sign",
    "D3084": "a sub-picture may have a percent or a per-mille sign, not both",
    "D3085": "the mantissa of a sub-picture needs a digit or an optional digit",
    "D3086": "a sub-picture may not have other characters between its active ones",
    "D3087": "a grouping separator may not stand beside the decimal separator",
    "D3088": "a grouping separator may not stand at the end of the integer part",
    "D3089": "two grouping separators may not stand side by side",
    "D3090": "in the integer part an optional digit may not follow a digit",
    "D3091": "in the fractional part a digit may not follow an optional digit",
    "D3092": "a sub-picture with a percent or per-mille sign may not have an exponent",
    "D3093": "the exponent of a sub-picture must be digits only",
}


@frozen
class Symbols:
    """The characters a picture is made of."""

    decimal: str
    grouping: str
    exponent: str
    minus: str
    percent: str
    per_mille: str
    zero: str
    optional: str
    separator: str

    @property
    def digits(self) -> str:
        """The ten digits."""
        start = ord(self.zero[0])
        return "".join([chr(code) for code in range(start, start + 10)])


@frozen
class Parts:
    """A sub-picture taken apart."""

    picture: str
    prefix: str
    suffix: str
    active: str
    mantissa: str
    exponent: str | None
    integer: str
    fraction: str


@frozen
class Picture:
    """What a sub-picture asks for."""

    text: str
    prefix: str
    suffix: str
    groups: tuple[int, ...]
    regular: int
    fraction_groups: tuple[int, ...]
    least_integer: int
    least_fraction: int
    most_fraction: int
    scaling: int
    exponent_digits: int


def _refused(code: str) -> JsonataError:
    return JsonataError(f"$formatNumber: {_MESSAGES[code]}", code)


@BUILTINS.define("formatNumber", "<n-so?:s>")
def format_number(value: Any, picture: Any, options: Any = NOTHING) -> Any:
    """Return a number as a picture such as ``#,##0.00`` says (D3080 to D3093 for a picture that makes no sense)."""
    usual = (type(value) is int or type(value) is float) and type(picture) is str
    if not usual or not (options is NOTHING or type(options) is dict):
        return unusual("formatNumber", value, picture, options)
    symbols = _symbols(tuple(_DEFAULTS.values()) if options is NOTHING else _chosen(options))
    positive, negative = _pictures(picture, symbols)
    return _formatted(value, positive if value >= 0 else negative, symbols)


def _chosen(options: Any) -> tuple[str, ...]:
    chosen = {**_DEFAULTS, **{key: value for key, value in options.items() if key in _DEFAULTS}}
    for key, value in chosen.items():
        if type(value) is not str or not value:
            msg = f"$formatNumber: option {key} must be a string that is not empty"
            raise JsonataError(msg, "T0410")
    return tuple(chosen.values())


@lru_cache(maxsize=64)
def _symbols(values: tuple[str, ...]) -> Symbols:
    decimal, grouping, exponent, _, minus, _, percent, per_mille, zero, optional, separator = values
    return Symbols(decimal, grouping, exponent, minus, percent, per_mille, zero, optional, separator)


@lru_cache(maxsize=512)
def _pictures(text: str, symbols: Symbols) -> tuple[Picture, Picture]:
    check_picture(text)
    sub_pictures = text.split(symbols.separator)
    if len(sub_pictures) > 2:
        raise _refused("D3080")
    split = [_split(sub_picture, symbols) for sub_picture in sub_pictures]
    for parts in split:
        _validate(parts, symbols)
    pictures = [_analyse(parts, symbols) for parts in split]
    if len(pictures) == 1:
        pictures.append(replace(pictures[0], prefix=symbols.minus + pictures[0].prefix))
    return pictures[0], pictures[1]


def _split(picture: str, symbols: Symbols) -> Parts:
    active_characters = {*symbols.digits, symbols.decimal, symbols.grouping, symbols.optional, symbols.separator}
    active_characters.discard(symbols.exponent)
    places = [at for at, character in enumerate(picture) if character in active_characters]
    prefix = picture[: places[0]] if places else ""
    suffix = picture[places[-1] + 1 :] if places else ""
    active = picture[len(prefix) : len(picture) - len(suffix)]
    mantissa, exponent = active, None
    at = picture.find(symbols.exponent, len(prefix))
    if 0 <= at <= len(picture) - len(suffix):
        # Like the reference, which counts from the start of the picture here, prefix included.
        mantissa, exponent = active[:at], active[at + 1 :]
    whole, point, fraction = mantissa.partition(symbols.decimal)
    return Parts(picture, prefix, suffix, active, mantissa, exponent, whole, fraction if point else suffix)


def _validate(parts: Parts, symbols: Symbols) -> None:
    """Raise the code of the last rule that is broken, which is the one the reference reports."""
    broken = [code for code, wrong in _rules(parts, symbols).items() if wrong]
    if broken:
        raise _refused(broken[-1])


def _rules(parts: Parts, symbols: Symbols) -> dict[str, bool]:
    picture, digits = parts.picture, symbols.digits
    point = picture.find(symbols.decimal)
    percent, per_mille = symbols.percent in picture, symbols.per_mille in picture
    active = {*digits, symbols.decimal, symbols.exponent, symbols.grouping, symbols.optional, symbols.separator}
    beside = point >= 0 and symbols.grouping in (
        picture[point - 1 : point] if point else "",
        picture[point + 1 : point + 2],
    )
    optional = parts.integer.find(symbols.optional)
    last_optional = parts.fraction.rfind(symbols.optional)
    exponent = parts.exponent
    return {
        "D3081": picture.count(symbols.decimal) > 1,
        "D3082": picture.count(symbols.percent) > 1,
        "D3083": picture.count(symbols.per_mille) > 1,
        "D3084": percent and per_mille,
        "D3085": not any(character in digits or character == symbols.optional for character in parts.mantissa),
        "D3086": any(character not in active for character in parts.active),
        "D3087": beside,
        "D3088": point < 0 and parts.integer.endswith(symbols.grouping),
        "D3089": symbols.grouping * 2 in picture,
        "D3090": optional >= 0 and _count(parts.integer[:optional], digits) > 0,
        "D3091": last_optional >= 0 and _count(parts.fraction[last_optional:], digits) > 0,
        "D3092": bool(exponent) and (percent or per_mille),
        "D3093": exponent is not None and (not exponent or _count(exponent, digits) < len(exponent)),
    }


def _count(text: str, characters: str) -> int:
    return sum([character in characters for character in text])


def _analyse(parts: Parts, symbols: Symbols) -> Picture:
    digits = symbols.digits
    places = digits + symbols.optional
    groups = _group_places(parts.integer, parts.integer, places, symbols.grouping, to_left=False)
    fraction_groups = _group_places(parts.fraction, parts.integer, places, symbols.grouping, to_left=True)
    least_integer = scaling = _count(parts.integer, digits)
    least_fraction, most_fraction = _count(parts.fraction, digits), _count(parts.fraction, places)
    if least_integer == 0 and most_fraction == 0:
        if parts.exponent is not None:
            least_fraction = most_fraction = 1
        else:
            least_integer = 1
    if parts.exponent is not None and least_integer == 0 and symbols.optional in parts.integer:
        least_integer = 1
    if least_integer == 0 and least_fraction == 0:
        least_fraction = 1
    exponent_digits = _count(parts.exponent or "", digits)
    return Picture(
        parts.picture, parts.prefix, parts.suffix, groups, _regular(groups), fraction_groups,
        least_integer, least_fraction, most_fraction, scaling, exponent_digits,
    )  # fmt: skip


def _group_places(part: str, integer: str, places: str, grouping: str, *, to_left: bool) -> tuple[int, ...]:
    found: list[int] = []
    at = part.find(grouping)
    while at >= 0:
        found.append(_count(part[:at] if to_left else part[at:], places))
        at = integer.find(grouping, at + 1)  # the reference goes on in the integer part, whichever part it began with
    return tuple(found)


def _regular(places: tuple[int, ...]) -> int:
    """Return the distance of grouping separators that stand at equal distances; 0 when they do not."""
    if not places:
        return 0
    factor = reduce(gcd, places)
    return factor if all(factor * index in places for index in range(1, len(places) + 1)) else 0


def _formatted(value: float, picture: Picture, symbols: Symbols) -> str:
    if symbols.percent in picture.text:
        value = _times(value, 100)
    elif symbols.per_mille in picture.text:
        value = _times(value, 1000)
    exponent = 0
    if picture.exponent_digits:
        value, exponent = _mantissa(value, picture.scaling)
    number = _fixed(rounded(value, picture.most_fraction), picture.most_fraction)
    whole, _, fraction = number.partition(".")
    whole = whole.lstrip("0").rjust(picture.least_integer, "0")
    fraction = fraction.rstrip("0").ljust(picture.least_fraction, "0")
    text = _grouped(whole, fraction, picture, symbols)
    if picture.exponent_digits:
        digits = str(abs(exponent)).rjust(picture.exponent_digits, "0")
        text += symbols.exponent + (symbols.minus if exponent < 0 else "") + digits
    if symbols.zero != "0":
        text = text.translate({48 + digit: symbols.digits[digit] for digit in range(10)})
    return picture.prefix + text + picture.suffix


def _times(value: float, factor: int) -> int | float:
    return value * factor if type(value) is int else normal(value * factor)


def _mantissa(value: float, scaling: int) -> tuple[float, int]:
    """Return a number with as many integer digits as the picture has, and the power of ten that was taken away."""
    exponent = 0
    if scaling > 300:
        raise out_of_range(f"a mantissa of {scaling} digits")
    least, most = 10.0 ** (scaling - 1), 10.0**scaling
    if value:
        while abs(value) < least:
            value *= 10
            exponent -= 1
        while abs(value) > most:
            value = value / 10
            exponent += 1
    return value, exponent


def _fixed(value: float, places: int) -> str:
    """Return ``Math.abs(value).toFixed(places)``."""
    if places > 100:
        raise out_of_range(f"{places} fractional digits, of at most 100")
    if type(value) is int:
        return str(abs(value))
    if abs(value) >= 1e21:
        return shortest(abs(value))
    return str(_CONTEXT.quantize(Decimal(abs(value)), Decimal(1).scaleb(-places)))


def _grouped(whole: str, fraction: str, picture: Picture, symbols: Symbols) -> str:
    """Return both parts with grouping separators and the decimal separator, if the picture has one."""
    separator, size = symbols.grouping, picture.regular
    if size:
        first = len(whole) % size
        pieces = [whole[:first]] if first else []
        pieces += [whole[at : at + size] for at in range(first, len(whole), size)]
        whole = separator.join(pieces)
    text = f"{whole}{symbols.decimal}{fraction}"
    if not size:
        # Places past the first digit count from the end of the whole text, in the reference as in Python.
        for shift, place in enumerate(picture.groups):
            at = len(whole) + shift - place
            text = text[:at] + separator + text[at:]
    point = text.find(symbols.decimal)
    for place in picture.fraction_groups:
        text = text[: point + 1 + place] + separator + text[point + 1 + place :]
    if symbols.decimal not in picture.text or text.find(symbols.decimal) == len(text) - 1:
        text = text[:-1]
    return text
