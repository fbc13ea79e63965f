"""What ``contract.yaml`` says of the data: the schema of a record, rules over several fields, checks of a whole run."""

from __future__ import annotations

import re
import warnings
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from etlctl.contract.section import Section
from etlctl.quality import Action
from etlctl.sdk.evaluating import readable

FieldType = Literal[
    "string", "integer", "float", "decimal", "boolean", "date", "datetime", "time", "object", "array", "any"
]
Format = Literal["email", "uri", "uuid", "date", "date-time", "time", "ipv4", "ipv6", "hostname"]
Outcome = Literal["fail", "warn"]
Bound = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A whole number is kept exactly: a double cannot tell 9007199254740993 from the one before."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhdw])+").fullmatch


class FieldRule(Section):
    """What one field of a loaded record must look like."""

    type: FieldType = "any"
    """Type of the value."""
    required: bool = False
    """Null or missing is not allowed."""
    unique: bool = False
    """No two records share a value."""
    enum: tuple[Any, ...] | None = Field(default=None, strict=False)
    """Allowed values."""
    minimum: Bound | None = None
    """Smallest value allowed."""
    maximum: Bound | None = None
    """Largest value allowed."""
    exclusive_minimum: Bound | None = None
    """The value must be greater than this."""
    exclusive_maximum: Bound | None = None
    """The value must be less than this."""
    min_length: int | None = Field(default=None, ge=0)
    """Fewest characters allowed."""
    max_length: int | None = Field(default=None, ge=0)
    """Most characters allowed."""
    pattern: str | None = None
    """Regular expression the text must match somewhere."""
    format: Format | None = None
    """What the text must be, by its standard: ``email`` (HTML), ``uri`` (RFC 3986, with its scheme), ``uuid`` (RFC 9562), ``date``, ``date-time``, ``time`` (RFC 3339, the latter two with their zone), ``ipv4`` (RFC 2673), ``ipv6`` (RFC 4291), ``hostname`` (RFC 1123)."""  # noqa: E501
    on_violation: Action | None = None
    """What becomes of a record that breaks a rule of this field; the schema's ``on_violation`` when left out."""
    description: str | None = None
    """What it means, for the reader."""

    @field_validator("pattern")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)
                    re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _can_be_kept(self) -> FieldRule:
        """Refuse rules that no value keeps: every record would break them."""
        numbers = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum")
        texts = ("min_length", "max_length", "pattern", "format")
        for options, types, kind in ((numbers, _NUMBERS, "numbers"), (texts, {"string"}, "text")):
            given = next((option for option in options if getattr(self, option) is not None), None)
            if given is not None and self.type not in {*types, "any"}:
                raise ValueError(f"{given} is for {kind}, and the type is {self.type}: no value could pass")
        for low, high, open_ in _BOUNDS:
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and (least > most or (open_ and least == most)):
                raise ValueError(f"no value could pass: {low} is {least} and {high} is {most}")
        if self.enum is not None and not self.enum:
            raise ValueError("no value could pass: enum is empty")
        return self


_NUMBERS = {"integer", "float", "decimal"}
_BOUNDS = (
    ("minimum", "maximum", False),
    ("minimum", "exclusive_maximum", True),
    ("exclusive_minimum", "maximum", True),
    ("exclusive_minimum", "exclusive_maximum", True),
    ("min_length", "max_length", False),
)
"""Lower and upper bounds, and whether the two may not be equal."""


class CrossRule(Section):
    """A rule over several fields of a record."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")
    """Name of the rule; a broken one is told as ``check.rule.NAME``."""
    expression: str
    """JSONata that is true for a good record: ``end >= start``. Where it selects nothing, as with a missing or null field, the record passes; where it fails, the record breaks the rule."""  # noqa: E501
    message: str | None = None
    """What to say about a record that breaks it."""
    on_violation: Action | None = None
    """What becomes of a record that breaks it; the schema's ``on_violation`` when left out."""

    @field_validator("expression")
    @classmethod
    def _readable(cls, expression: str) -> str:
        return readable(expression)


class RecordSchema(Section):
    """What a loaded record must look like."""

    fields: dict[str, FieldRule] = Field(default_factory=dict)
    """Rules by field."""
    additional_fields: Literal["allow", "drop", "reject"] = "allow"
    """What happens to fields that are not named."""
    rules: tuple[CrossRule, ...] = Field(default=(), strict=False)
    """Rules over several fields, checked after those of the fields."""
    on_violation: Action = "reject"
    """What becomes of a record that breaks a rule: ``reject`` it to the dead letters, ``drop`` it (it counts as filtered), ``warn`` (it is loaded, and the rule's name, count and first example are reported), or ``fail``: end the run."""  # noqa: E501

    @field_validator("rules")
    @classmethod
    def _told_apart(cls, rules: tuple[CrossRule, ...]) -> tuple[CrossRule, ...]:
        names = [rule.name for rule in rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules are named {twice!r}; dead letters and reports tell rules apart by name")
        return rules

    def action(self, own: Action | None) -> Action:
        """Return what becomes of a record, given what its rule says itself."""
        return own or self.on_violation


class RowCount(Section):
    """How many records a run must load."""

    min: int | None = Field(default=None, ge=0)
    """Fewest records."""
    max: int | None = Field(default=None, ge=0)
    """Most records."""
    max_change_percent: float | None = Field(default=None, ge=0, strict=False)
    """By how many percent the number may differ from the median of the runs before; the first run has nothing to differ from."""  # noqa: E501
    over_runs: int = Field(default=10, ge=1, le=1000)
    """How many runs of the stream that finished before the median is taken of."""
    on_violation: Outcome = "fail"
    """``fail`` the run before anything is published (exit code 5), or ``warn``."""

    @model_validator(mode="after")
    def _something(self) -> RowCount:
        if self.min is None and self.max is None and self.max_change_percent is None:
            raise ValueError("row_count needs min, max or max_change_percent")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no number of records is at least {self.min:,} and at most {self.max:,}")
        return self


class Freshness(Section):
    """How old the newest record of a run may be."""

    field: str = Field(min_length=1)
    """A field of type date or datetime; times without a zone are taken as UTC."""
    max_age: str
    """How old its newest value may be at the run's own instant: ``90s``, ``30m``, ``2h``, ``1d12h``, ``2w``."""
    on_violation: Outcome = "fail"
    """``fail`` the run before anything is published (exit code 5), or ``warn``."""

    @field_validator("max_age")
    @classmethod
    def _is_a_duration(cls, text: str) -> str:
        if not _DURATION(text):
            raise ValueError(f"{text!r} is no duration: write a number and s, m, h, d or w, such as 2h or 1d12h")
        try:
            _duration(text)
        except OverflowError:
            raise ValueError(
                f"{text!r} is longer than the calendar: leave freshness out when age does not matter"
            ) from None
        return text

    @property
    def age(self) -> timedelta:
        """The greatest age allowed."""
        return _duration(self.max_age)


def _duration(text: str) -> timedelta:
    parts = re.findall(r"([0-9.]+)([smhdw])", text)
    return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())


class NullShare(Section):
    """How many records of a run may lack a field."""

    max: float = Field(ge=0, le=1, strict=False)
    """Largest share allowed, 0 to 1."""
    on_violation: Outcome = "fail"
    """``fail`` the run before anything is published (exit code 5), or ``warn``."""


class RunChecks(Section):
    """What the records of a run must be like as a whole, judged before anything is published."""

    row_count: RowCount | None = None
    """How many records there must be."""
    freshness: Freshness | None = None
    """How old the newest may be."""
    null_share: dict[str, float | NullShare] = Field(default_factory=dict)
    """By field, the largest share (0 to 1) of records in which it is null or missing; or ``{max: …, on_violation: …}``."""  # noqa: E501

    @field_validator("null_share", mode="before")
    @classmethod
    def _shares(cls, shares: Any) -> Any:
        if isinstance(shares, dict):
            return {name: float(share) if type(share) is int else share for name, share in shares.items()}
        return shares

    @field_validator("null_share")
    @classmethod
    def _in_range(cls, shares: dict[str, float | NullShare]) -> dict[str, float | NullShare]:
        for name, share in shares.items():
            if isinstance(share, float) and not 0 <= share <= 1:
                raise ValueError(f"null_share of {name!r} is a share from 0 to 1, not {share:g}")
        return shares

    @property
    def null_shares(self) -> dict[str, NullShare]:
        """The shares by field, all written out."""
        return {
            name: share if isinstance(share, NullShare) else NullShare(max=share)
            for name, share in self.null_share.items()
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields whose values must be seen to judge them."""
        seen = [self.freshness.field] if self.freshness is not None else []
        return tuple(dict.fromkeys([*seen, *self.null_share]))
