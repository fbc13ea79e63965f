"""Collects what does not conform, so that an author sees everything at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ConformanceError(AssertionError):
    """A component breaks its promises; the message lists how.

    Args:
        subject: What was checked.
        problems: One sentence each.
    """

    def __init__(self, subject: str, problems: list[str]) -> None:
        super().__init__("\n".join([f"{subject} does not conform:", *(f"  - {problem}" for problem in problems)]))
        self.subject = subject
        self.problems = problems


class Findings:
    """Problems of one subject."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.problems: list[str] = []

    def add(self, problem: str) -> None:
        """Note a problem."""
        self.problems.append(problem)

    def expect(self, holds: object, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.add(problem)

    def equal(self, found: object, wanted: object, what: str) -> None:
        """Note a problem unless two values are the same, kinds included (1 is neither 1.0 nor True)."""
        if not same(found, wanted):
            self.add(f"{what}:\n      expected {wanted!r}\n      found    {found!r}")

    def settle(self) -> None:
        """Raise when there are problems.

        Raises:
            ConformanceError: There are.
        """
        if self.problems:
            raise ConformanceError(self.subject, self.problems)


@contextmanager
def findings(subject: str) -> Iterator[Findings]:
    """Collect problems, and raise them together at the end."""
    collected = Findings(subject)
    yield collected
    collected.settle()


def same(one: object, other: object) -> bool:
    """Tell whether two values are equal, kinds included, NaN equal to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))  # noqa: PLR0124
