"""What a run found out about the data, as values: broken rules, judged checks, drift, and the runs to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, Literal, Self

from etlctl.frozen import frozen

Action = Literal["reject", "fail", "warn", "drop"]
"""What becomes of a record that breaks a rule: dead letter, end of the run, counted and loaded, filtered."""

Number = int | float


class _Value:
    """Turns itself into JSON values and back."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``to_dict`` told; keys of other versions are left out."""
        names = {one.name for one in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in values.items() if name in names})


@frozen
class Violation(_Value):
    """A rule that records broke without being kept out by it (``on_violation: warn``).

    Attributes:
        rule: Stable dotted name, such as ``check.minimum``.
        field: The field concerned, if one.
        count: Records that broke it.
        message: What was wrong with the first one.
        location: Where the first one stands in the source, if that is known.
    """

    rule: str
    field: str | None
    count: int
    message: str
    location: str | None = None

    def more(self, count: int) -> Violation:
        """Return it with more records."""
        return replace(self, count=self.count + count)

    def __str__(self) -> str:
        where = f" ({self.location})" if self.location else ""
        records = "1 record" if self.count == 1 else f"{self.count:,} records, the first"
        return f"{self.rule}: {records}: {self.message}{where}"


@frozen
class CheckResult(_Value):
    """How a check of a whole run went.

    Attributes:
        name: Which check, such as ``row_count.min`` or ``null_share.email``.
        passed: The limit was kept.
        value: What was found: a number, an instant as ISO 8601 text, or None when there was nothing to judge.
        limit: What the contract allows.
        message: The finding as a sentence.
        on_violation: ``fail`` or ``warn``.
    """

    name: str
    passed: bool
    value: Number | str | None
    limit: Number | str | None
    message: str
    on_violation: str = "fail"

    def __str__(self) -> str:
        return f"{self.name}: {'passed' if self.passed else self.on_violation}: {self.message}"


@frozen
class Drift(_Value):
    """A difference between the records of a run and the destination they went to.

    Attributes:
        destination: The table or place.
        field: The field concerned.
        kind: ``field_added``, ``field_lost`` or ``type_changed``.
        action: What was done about it: ``evolve``, ``freeze``, ``drop_value``, ``drop_row`` or ``none``.
        detail: What was found, such as ``text in a column of type INTEGER``.
    """

    destination: str
    field: str
    kind: str
    action: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.destination}.{self.field}: {self.detail} ({self.action})"


@frozen
class PastRun:
    """A run of the same stream that finished before.

    Attributes:
        run_id: ``run_…``.
        started_at: UTC.
        extracted: Source records.
        loaded: Records loaded.
        checks: What its own checks found.
    """

    run_id: str
    started_at: datetime
    extracted: int
    loaded: int
    checks: tuple[CheckResult, ...] = ()

    @property
    def counted(self) -> int:
        """Records that passed all steps, as a check of their number found; else those loaded."""
        found = [check.value for check in self.checks if check.name.startswith("row_count.")]
        return found[0] if found and isinstance(found[0], int) else self.loaded
