r"""JavaScript regular expressions (without the ``u`` flag) rewritten for the ``regex`` package, or refused.

Everything is spelled out, so that no difference of dialect is left: ``$`` is the very end, ``.`` leaves out four line
ends, ``\d`` and ``\w`` are ASCII, ``\s`` is JavaScript's set, a group that took no part matches empty when referred to.
What cannot be said exactly raises ``Untranslatable``: captures that JavaScript forgets at each round of a loop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from etlctl.jsonata.functions.regex_classes import ESCAPED_SETS, LINE_ENDS, WORD, literal
from etlctl.jsonata.values import JsonataSyntaxError

_QUANTIFIER: Final = re.compile(r"\{(\d+)(,(\d*))?\}")
_NAME: Final = re.compile(r"<([^\W\d][\w$]*|\$[\w$]*)>")
_HEX: Final = {"x": re.compile("[0-9A-Fa-f]{2}"), "u": re.compile("[0-9A-Fa-f]{4}")}
_OCTAL: Final = re.compile("[0-3][0-7]{0,2}|[4-7][0-7]?")
_CONTROLS: Final = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_LONGEST: Final = 10_000
_DEEPEST: Final = 100
_MANY: Final = 20_000
_FEW: Final = 3


class Untranslatable(Exception):  # noqa: N818 - says what the expression is, not that something failed
    """A regular expression has no exact form for the ``regex`` package; another engine may take it."""


@dataclass(slots=True)
class Piece:
    """A translated part of an expression.

    Attributes:
        text: For the ``regex`` package.
        empty: It can match without consuming anything.
        captures: Numbers of the groups in it.
        loose: It holds a group that a match of this part may leave out.
        bare: An assertion: nothing to repeat.
        size: Characters it would have with its loops written out as often as they must run.
        loops: Loops in it whose rounds are open.
        choices: Other places where it can go on in two ways: options, alternatives.
        nested: A loop repeats one of these, so time may grow exponentially with the text.
    """

    text: str
    empty: bool = False
    captures: list[int] = field(default_factory=list)
    loose: bool = False
    bare: bool = False
    size: int = 1
    loops: int = 0
    choices: int = 0
    nested: bool = False

    def take(self, other: Piece) -> None:
        """Count what stands in another part as standing in this one too."""
        self.captures += other.captures
        self.loose = self.loose or other.loose
        self.size += other.size
        self.loops += other.loops
        self.choices += other.choices
        self.nested = self.nested or other.nested


class Translator:
    """Rewrites one expression; ``translate`` is the way in.

    Args:
        pattern: Between the slashes.
        multiline: ``^`` and ``$`` match at line ends too.
        ascii_only: The result is compiled with the ASCII flag, so the short forms of word boundaries will do.
    """

    def __init__(self, pattern: str, *, multiline: bool, ascii_only: bool) -> None:
        self.pattern = pattern
        self.at = 0
        self.multiline = multiline
        self.ascii_only = ascii_only
        self.groups, self.names = _count_groups(pattern)
        self.opened = 0
        self.open: list[int] = []
        self.depth = 0
        self.behind = 0

    def error(self, message: str) -> JsonataSyntaxError:
        """Return the error of an expression that JavaScript refuses too."""
        return JsonataSyntaxError(f"invalid regular expression /{self.pattern[:60]}/: {message}", self.at)

    def peek(self) -> str:
        """Return the next character, empty at the end."""
        return self.pattern[self.at : self.at + 1]

    def translate(self) -> Piece:
        """Return the expression for the ``regex`` package."""
        if len(self.pattern) > _LONGEST:
            raise self.error(f"it is longer than {_LONGEST} characters")
        whole = self.alternatives()
        if self.at < len(self.pattern):
            raise self.error("there is a ) without its (")
        return whole

    def alternatives(self) -> Piece:
        """Read up to the end or a closing parenthesis."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.error(f"its parentheses nest deeper than {_DEEPEST}")
        options = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            options.append(self.sequence())
        self.depth -= 1
        whole = Piece("|".join([option.text for option in options]), any(option.empty for option in options))
        for option in options:
            whole.take(option)
        whole.loose = whole.loose or (len(options) > 1 and bool(whole.captures))
        whole.choices += len(options) - 1
        return whole

    def sequence(self) -> Piece:
        """Read terms one after the other."""
        whole = Piece("", empty=True)
        while self.peek() not in ("", "|", ")"):
            term = self.quantified(self.term())
            whole.text += term.text
            whole.empty = whole.empty and term.empty
            whole.take(term)
        return whole

    def quantified(self, term: Piece) -> Piece:
        """Read the quantifier after a term, if there is one."""
        least, most = self.quantifier()
        if least < 0:
            return term
        if term.bare:
            raise self.error("nothing to repeat")
        lazy = ""
        if self.peek() == "?":
            self.at += 1
            lazy = "?"
        if term.captures:
            if most != 1 and term.loose:
                raise Untranslatable("a group inside a loop that a round may leave out")
            if term.empty and least != most:
                raise Untranslatable("a group inside a loop whose rounds may be empty")
        bounds = f"{{{least},{'' if most is None else most}}}" if least != most else f"{{{least}}}"
        loop = Piece(f"{term.text}{bounds}{lazy}", term.empty or least == 0, size=0)
        loop.take(term)
        loop.loose = term.loose or (least == 0 and bool(term.captures))
        loop.size *= max(least, most or 0, 1)
        if loop.size > _MANY:
            raise self.error(f"its loops come to more than {_MANY} characters")
        loop.nested = term.nested or (most != 1 and term.loops + term.choices > 0)
        if most is None or most - least > _FEW:
            loop.loops += 1
        else:
            loop.choices += most - least
        return loop

    def quantifier(self) -> tuple[int, int | None]:
        """Read ``*``, ``+``, ``?`` or ``{n,m}``; (-1, None) when there is none."""
        short = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek())
        if short is not None:
            self.at += 1
            return short
        found = _QUANTIFIER.match(self.pattern, self.at)
        if found is None:
            return -1, None
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if most is not None and most < least:
            raise self.error("the numbers in {} are out of order")
        return least, most

    def term(self) -> Piece:
        """Read one term without its quantifier."""
        character = self.peek()
        if character == "\\":
            return self.escape()
        if character in "*+?" or _QUANTIFIER.match(self.pattern, self.at):
            raise self.error("nothing to repeat")
        if character == "[":
            return self.character_class()
        if character == "(":
            return self.group()
        self.at += 1
        if character == "^":
            return Piece(f"(?:\\A|(?<=[{LINE_ENDS}]))" if self.multiline else "\\A", empty=True, bare=True)
        if character == "$":
            return Piece(f"(?=[{LINE_ENDS}]|\\Z)" if self.multiline else "\\Z", empty=True, bare=True)
        return Piece(f"[^{LINE_ENDS}]" if character == "." else literal(character))

    def group(self) -> Piece:
        """Read a group or a look-around."""
        for start, opening in (("(?:", "(?:"), ("(?=", "(?="), ("(?!", "(?!"), ("(?<=", "(?<="), ("(?<!", "(?<!")):
            if self.pattern.startswith(start, self.at):
                self.at += len(start)
                return self.look(opening) if opening != "(?:" else self.plain()
        self.at += 1
        if self.peek() == "?":
            found = _NAME.match(self.pattern, self.at + 1)
            if found is None:
                raise self.error("invalid group")
            self.at = found.end()
        self.opened += 1
        number = self.opened
        if self.behind:
            raise Untranslatable("a capturing group inside a look-behind")
        self.open.append(number)
        inner = self.alternatives()
        self.open.pop()
        self.close()
        group = Piece(f"({inner.text})", inner.empty, [number])
        group.take(inner)
        return group

    def plain(self) -> Piece:
        """Read the rest of a group that does not capture."""
        inner = self.alternatives()
        self.close()
        inner.text = f"(?:{inner.text})"
        return inner

    def look(self, opening: str) -> Piece:
        """Read the rest of a look-around."""
        self.behind += "<" in opening
        inner = self.alternatives()
        self.behind -= "<" in opening
        self.close()
        if self.quantifier()[0] >= 0:
            raise Untranslatable("a look-around that is repeated")
        around = Piece(f"{opening}{inner.text})", empty=True, bare=True)
        around.take(inner)
        around.loose = bool(inner.captures)
        return around

    def close(self) -> None:
        """Step over the closing parenthesis."""
        if self.peek() != ")":
            raise self.error("a group has no )")
        self.at += 1

    def escape(self) -> Piece:
        """Read what a backslash begins."""
        character = self.pattern[self.at + 1 : self.at + 2]
        if character in ("b", "B"):
            self.at += 2
            return Piece(self.boundary(character), empty=True, bare=True)
        if character in "123456789" and character:
            found = re.compile("[0-9]+").match(self.pattern, self.at + 1)
            number = int(found[0]) if found is not None else 0
            if found is not None and number <= self.groups:
                self.at = found.end()
                return self.reference(number)
        if character == "k" and self.names:
            found = _NAME.match(self.pattern, self.at + 2)
            if found is None or found[1] not in self.names:
                raise self.error("invalid named reference")
            self.at = found.end()
            return self.reference(self.names[found[1]])
        if character in ESCAPED_SETS and character:
            self.at += 2
            return Piece(f"[{ESCAPED_SETS[character]}]")
        return Piece(literal(self.escaped_character()))

    def boundary(self, kind: str) -> str:
        """Return a word boundary of ASCII words."""
        if self.ascii_only:
            return f"\\{kind}"
        edge = f"(?<=[{WORD}])(?![{WORD}])|(?<![{WORD}])(?=[{WORD}])"
        return f"(?:{edge})" if kind == "b" else f"(?!{edge})"

    def reference(self, number: int) -> Piece:
        """Return a reference to a group, which matches empty while the group has matched nothing."""
        if self.behind or number in self.open:
            raise Untranslatable("a reference to the group that it stands in, or inside a look-behind")
        if number > self.opened:
            return Piece("(?:)", empty=True)
        return Piece(f"(?({number})\\{number}|)", empty=True, nested=True)

    def escaped_character(self) -> str:
        """Read an escape that stands for one character."""
        self.at += 2
        character = self.pattern[self.at - 1 : self.at]
        if not character:
            raise self.error("\\ at the end")
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character in _HEX:
            found = _HEX[character].match(self.pattern, self.at)
            if found is None:
                return character
            self.at = found.end()
            return chr(int(found[0], 16))
        if character == "c":
            return self.control()
        found = _OCTAL.match(self.pattern, self.at - 1)
        if found is None:
            return character
        self.at = found.end()
        return chr(int(found[0], 8))

    def control(self) -> str:
        r"""Read the letter after ``\c``; without one the backslash stands for itself."""
        letter = self.peek()
        if letter.isascii() and letter.isalpha():
            self.at += 1
            return chr(ord(letter) % 32)
        self.at -= 1
        return "\\"

    def character_class(self) -> Piece:
        """Read a class in brackets."""
        self.at += 1
        negated = self.peek() == "^"
        self.at += negated
        parts: list[str] = []
        while self.peek() != "]":
            if not self.peek():
                raise self.error("a class has no ]")
            parts.append(self.class_range())
        self.at += 1
        if not parts:
            return Piece("[\\x00-\\U0010ffff]" if negated else "(?!)")
        return Piece(f"[{'^' if negated else ''}{''.join(parts)}]")

    def class_range(self) -> str:
        """Read one member of a class, or a range."""
        first, first_is_set = self.class_member()
        rest = self.pattern[self.at : self.at + 2]
        if rest[:1] != "-" or rest[1:] in ("]", ""):
            return first if first_is_set else literal(first)
        self.at += 1
        last, last_is_set = self.class_member()
        if first_is_set or last_is_set:
            return f"{first if first_is_set else literal(first)}\\-{last if last_is_set else literal(last)}"
        if last < first:
            raise self.error("a range in a class is out of order")
        return f"{literal(first)}-{literal(last)}"

    def class_member(self) -> tuple[str, bool]:
        r"""Read one character of a class, or a set such as ``\d``."""
        character = self.peek()
        if character != "\\":
            self.at += 1
            return character, False
        following = self.pattern[self.at + 1 : self.at + 2]
        if following and following in ESCAPED_SETS:
            self.at += 2
            return ESCAPED_SETS[following], True
        if following == "b":
            self.at += 2
            return "\b", False
        return self.escaped_character(), False


def _count_groups(pattern: str) -> tuple[int, dict[str, int]]:
    """Return how many groups capture, and the numbers of those with names."""
    count = 0
    names: dict[str, int] = {}
    for found in re.finditer(r"\\.|\[(?:\\.|[^\]\\])*\]|\((?!\?)|\(\?<([^\W\d][\w$]*|\$[\w$]*)>", pattern, re.DOTALL):
        if found[0][0] == "(":
            count += 1
            if found[1] is not None:
                if found[1] in names:
                    raise JsonataSyntaxError(f"two groups are named {found[1]}", found.start())
                names[found[1]] = count
    return count, names
