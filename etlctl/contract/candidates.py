"""Which types the texts of a column could have: each guess lives only as long as every value bears it out.

A guess is judged by the very code that ``convert`` runs, so what is written into a contract really converts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING

from etlctl.kit.codecs.json_scanner import exact_number
from etlctl.types import FALSE, SPACE, TRUE, TypeOptions, Unparsable, converter, number_pattern

if TYPE_CHECKING:
    import polars as pl

_DAYS = [
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d-%b-%y", "%d-%b-%Y", "%d/%b/%Y", "%d.%m.%Y", "%d.%m.%y"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y"),
    *("%m-%d-%Y", "%d-%m-%Y", "%m-%d-%y", "%d-%m-%y"),
]
_SPOKEN_DAYS = ["%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%a, %d %b %Y"]
_CLOCKS = ["%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p"]
_SEPARATORS = (
    (None, None),
    (",", None),
    (None, ","),
    (".", ","),
    (" ", ","),
    (" ", None),
    ("'", None),
)
_FIRST_LOOK = 50
_SAMPLE = 1_000
_SHORT = 40  # characters; a number this short has no exponent beyond reason, as far as it has one at all
_SURE_DIGITS = 15
_LONGEST_INTEGER = 18
_DECIMAL_DIGITS = 38
_FEW_DAYS = 5
_COMPACT_DAY = r"^(?:19|20)[0-9]{6}$"
_ZONED = r"(?:[Zz]|:[0-9]{2}(?:\.[0-9]+)? ?[+-][0-9]{2}(?::?[0-9]{2})?)$"


@dataclass(slots=True)
class Guess:
    """A type that every text seen so far has.

    Attributes:
        kind: Canonical name of the type.
        options: How the text is read.
    """

    kind: str
    options: TypeOptions = field(default_factory=TypeOptions)

    def holds(self, values: pl.Series, few: list[str]) -> bool:
        """Tell whether all texts convert; ``few`` are some of them, to find out soon."""
        convert = converter(self.kind, self.options)
        if not _all(convert, few):
            return False
        return _all(convert, self._undecided(values))

    def _undecided(self, values: pl.Series) -> Iterable[str]:
        """Return the texts that only the exact conversion can decide."""
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.frame_convert import convert_column  # noqa: PLC0415

        if self.kind == "decimal":
            pattern = f"^(?:{number_pattern(self.options)})$"
            return values.filter(~(values.str.contains(pattern) & (values.str.len_bytes() < _SHORT)))
        made = convert_column(pl.col("v"), pl.String(), self.kind, self.options, values.head(_FIRST_LOOK).to_list())
        if made is None:
            return values
        doubtful = pl.any_horizontal([doubt.fill_null(value=False) for doubt in made.doubts] or [pl.lit(value=False)])
        frame = pl.DataFrame({"v": values})
        return frame.lazy().select(pl.col("v").filter(doubtful)).collect()["v"]


def _all(convert: object, texts: Iterable[str]) -> bool:
    try:
        for text in texts:
            convert(text)  # type: ignore[operator]
    except Unparsable:
        return False
    return True


def all_guesses(*, numbers: bool) -> list[Guess]:
    """Return every guess there is.

    Args:
        numbers: The texts may stand for numbers and booleans, too; False for sources with types of their own.
    """
    plain = [Guess("date"), Guess("datetime"), Guess("time")]
    days = [*_DAYS, *_SPOKEN_DAYS]
    dates = [Guess("date", TypeOptions(format=day)) for day in days]
    moments = [Guess("datetime", TypeOptions(format=f"{day} {clock}")) for day, clock in product(days, _CLOCKS)]
    clocks = [Guess("time", TypeOptions(format=clock)) for clock in ("%I:%M %p", "%I:%M:%S %p")]
    temporal = [*plain, *dates, *moments, *clocks]
    if not numbers:
        return temporal
    options = [TypeOptions(thousands=group, decimal_separator=point) for group, point in _SEPARATORS]
    counted = [Guess(kind, option) for kind in ("integer", "decimal", "float") for option in options]
    return [Guess("boolean"), *counted, *temporal]


def _exact(text: str) -> float | Decimal:
    try:
        return exact_number(text)
    except (ValueError, ArithmeticError):
        return Decimal(0)


class TextColumn:
    """Narrows the guesses for one column of text down.

    Attributes:
        numbers: The texts may stand for numbers and booleans, too.
        guesses: What is still possible.
    """

    def __init__(self, *, numbers: bool) -> None:
        self.numbers = numbers
        self.guesses = all_guesses(numbers=numbers)
        self._empty = True
        self._words: set[str] = set()
        self._distinct = 0
        self._seen: dict[str, bool] = dict.fromkeys([*_TRAITS, *(f"not {trait}" for trait in _TRAITS)], False)
        self._sample: list[str] = []
        self._inexact = False
        self._digits = 0
        self._fractions: set[int] = set()

    def see(self, values: pl.Series) -> None:
        """Take in the different texts of some more records, trimmed, without null and words for null."""
        if not len(values):
            return
        self._empty = False
        self._distinct = max(self._distinct, len(values))
        few = values.head(_FIRST_LOOK).to_list()
        self._sample += values.head(_SAMPLE - len(self._sample)).to_list()
        self.guesses = [guess for guess in self.guesses if guess.holds(values, few)]
        if not self.guesses:
            return
        if len(self._words) <= 2:
            self._words.update(values.str.to_lowercase().unique().head(10))
        for trait, pattern in _TRAITS.items():
            matches = values.str.contains(pattern)
            self._seen[trait] |= bool(matches.any())
            self._seen[f"not {trait}"] |= not matches.all()
        self._see_digits(values)

    def _see_digits(self, values: pl.Series) -> None:
        digits = values.str.replace(r"[eE].*$", "").str.replace_all(r"[^0-9]", "").str.strip_chars_start("0")
        lengths = digits.str.len_bytes()
        self._digits = max(self._digits, int(lengths.max() or 0))  # type: ignore[arg-type]
        if not self._inexact and self._having("float"):
            long = values.filter(lengths > _SURE_DIGITS)
            self._inexact = any(isinstance(_exact(text), Decimal) for text in long)
        for mark in ".,":
            ends = values.str.extract(rf"\{mark}([0-9]*)$").drop_nulls()
            self._fractions.update(ends.str.len_bytes().unique().sort(descending=True).head(20))

    def verdict(self) -> tuple[Guess | None, str]:
        """Return the type to write down, None for text, and what the reader should know about the choice."""
        if self._empty:
            return None, "no values"
        for choose in (self._boolean, self._number, self._temporal):
            decided = choose()
            if decided is not None:
                return decided
        return None, ""

    def _having(self, *kinds: str) -> list[Guess]:
        return [guess for guess in self.guesses if guess.kind in kinds]

    def _boolean(self) -> tuple[Guess | None, str] | None:
        words = self._words
        if not self._having("boolean") or not (words & TRUE and words & FALSE) or words <= {"0", "1"}:
            return None
        return Guess("boolean"), ""

    def _number(self) -> tuple[Guess | None, str] | None:
        numeric = self._having("integer", "decimal", "float")
        if not numeric:
            return None
        if self._seen["leading zero"]:
            return None, "leading zeros: kept as text"
        if self._seen["plus"]:
            return None, "numbers with a plus sign, such as telephone numbers: kept as text"
        if self._seen["compact day"] and not self._seen["not compact day"] and self._distinct >= _FEW_DAYS:
            guess = next(iter(self._having("date")), None)
            if guess is not None:
                return guess, "eight digits that are a date throughout"
        return self._plain_number() or self._separated_number()

    def _plain_number(self) -> tuple[Guess | None, str] | None:
        plain = {guess.kind: guess for guess in self.guesses if guess.options == TypeOptions()}
        if "integer" in plain and not self._seen["point"]:
            if self._digits > _LONGEST_INTEGER:
                return None, f"{self._digits} digits: more likely an identifier than a number, kept as text"
            return plain["integer"], ""
        if "decimal" not in plain:
            return None
        return self._with_fraction(plain["decimal"], plain.get("float"))

    def _with_fraction(self, exact: Guess, rounded: Guess | None) -> tuple[Guess | None, str]:
        """Choose between decimal and float: a float where nothing speaks for exact digits."""
        if rounded is None or self._inexact:
            if self._seen["exponent"] or self._digits + max(self._fractions, default=0) > _DECIMAL_DIGITS:
                return None, "numbers that neither a float nor a decimal column holds exactly: kept as text"
            return exact, f"{self._digits} digits, more than a float holds"
        if (
            self._digits + 2 <= _DECIMAL_DIGITS
            and self._fractions <= {0, 2}
            and 2 in self._fractions
            and not self._seen["exponent"]
        ):
            return exact, "two decimals throughout, like money; float would do for measurements"
        maybe_groups = self._fractions == {3} and exact.options == TypeOptions()
        return (
            rounded,
            "three decimals throughout: check that the point is no thousands separator" if maybe_groups else "",
        )

    def _separated_number(self) -> tuple[Guess | None, str] | None:
        for guess in self._having("integer", "decimal"):
            options = guess.options
            group, point = options.thousands, options.decimal_separator
            if group == "," and point is None and not self._seen["comma groups"]:
                continue  # 1,5 is a fraction
            if guess.kind == "integer":
                return guess, ""
            rounded = next((other for other in self._having("float") if other.options == options), None)
            return self._with_fraction(guess, rounded)
        return None

    def _temporal(self) -> tuple[Guess | None, str] | None:
        found = self._having("date", "datetime", "time")
        iso = {guess.kind: guess for guess in found if not guess.options.format}
        if "date" in iso and not self._seen["clock"]:
            return iso["date"], ""
        if "datetime" in iso:
            if self._seen["zoned"] and self._seen["not zoned"]:
                return None, "times with and without a zone: a column needs one of the two, kept as text"
            return iso["datetime"], "in UTC" if self._seen["zoned"] else ""
        return (
            (iso["time"], "") if "time" in iso else self._by_layout([guess for guess in found if guess.options.format])
        )

    def _by_layout(self, found: list[Guess]) -> tuple[Guess | None, str] | None:
        if not found:
            return None
        readings = {tuple(map(converter(guess.kind, guess.options), self._sample)) for guess in found}
        layout = str(found[0].options.format)
        if len(readings) > 1:
            layouts = " or ".join(str(guess.options.format) for guess in found)
            return None, f"dates whose day and month cannot be told apart: convert with format {layouts}"
        return found[0], "two-digit years: 69 to 99 are 19.., 00 to 68 are 20.." if "%y" in layout else ""


_TRAITS = {
    "leading zero": r"^[+-]?0[0-9]",
    "plus": r"^\+",
    "point": r"\.",
    "exponent": r"^[+-]?[0-9.]+[eE]",
    "comma groups": r"^[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.|$)",
    "compact day": r"^(?:19|20)[0-9]{6}$",
    "clock": r"[0-9]:[0-9]|T[0-9]",
    "zoned": r"(?:[Zz]|:[0-9]{2}(?:\.[0-9]+)? ?[+-][0-9]{2}(?::?[0-9]{2})?)$",
}
"""Patterns of which it matters whether any text matches them, and whether any does not."""

NULL_WORDS = (
    *("", "NA", "N/A", "n/a", "na", "#N/A", "NULL", "Null", "null", "None", "none", "nil", "NaN", "nan"),
    *("-", "--", "?", "\\N"),
)
"""Texts that people write for "no value"."""


def trimmed(values: pl.Series) -> pl.Series:
    """Return texts without the white space around them, as ``convert`` sees them."""
    return values.str.strip_chars(SPACE)
