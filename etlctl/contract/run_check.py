"""The checks of a whole run: how many records, how fresh, how many without a value; judged before it publishes.

How many records there are stands in the account of the run, which is exact over its attempts. What the records hold
does not: a check of values must see all of them, so a resumed run shows it those before the checkpoint again
(``remembers``). That reads the source anew; keeping the sums in the commit tokens instead would need them per batch,
while steps see chunks, which run ahead of what is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from etlctl.contract.data_rules import Freshness, NullShare, RowCount, RunChecks
from etlctl.quality import CheckResult
from etlctl.sdk import ConclusionContext, FieldSet, Screening, StepContext, Verdict

if TYPE_CHECKING:
    import polars as pl

STEP = "check.run"


class RunCheck(Screening):
    """Counts the records of a run, and holds the number against the contract's limits."""

    checks: RunChecks
    """What is checked."""

    changes_count: ClassVar[bool] = False
    concludes: ClassVar[bool] = True

    def needs(self) -> tuple[str, ...]:
        """Return the fields whose values are looked at."""
        return self.checks.columns

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:  # noqa: ARG002
        """Let every record pass."""
        return []

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:  # noqa: ARG002
        """Let every record pass."""
        return []

    def effect(self, known: FieldSet) -> FieldSet:
        """Fields stay as they are."""
        return known

    def looks_back(self) -> int:
        """Return how many runs the number of records is compared with."""
        rule = self.checks.row_count
        return rule.over_runs if rule is not None and rule.max_change_percent is not None else 0

    def conclude(self, ctx: ConclusionContext) -> Sequence[CheckResult]:
        """Judge the number of records."""
        rule = self.checks.row_count
        return [] if rule is None else list(_row_count(rule, ctx))


class ValuesCheck(RunCheck):
    """Looks at the values of all records of a run as well."""

    remembers: ClassVar[bool] = True

    _records: int = PrivateAttr(default=0)
    _nulls: dict[str, int] = PrivateAttr(default_factory=dict)
    _newest: datetime | None = PrivateAttr(default=None)

    def fresh(self) -> ValuesCheck:
        """Return a check that has seen nothing."""
        return ValuesCheck(checks=self.checks)

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Take note of the values."""
        self._records += len(next(iter(columns.values())))
        for name in self.checks.null_share:
            self._nulls[name] = self._nulls.get(name, 0) + sum(value is None for value in columns[name])
        if self.checks.freshness is not None:
            self._see(map(_instant, columns[self.checks.freshness.field]))
        return []

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:  # noqa: ARG002
        """Take note of the values, column by column."""
        import polars as pl  # noqa: PLC0415

        self._records += frame.height
        for name in self.checks.null_share:
            nulls = frame.get_column(name).null_count() if name in frame.columns else frame.height
            self._nulls[name] = self._nulls.get(name, 0) + nulls
        field = self.checks.freshness.field if self.checks.freshness is not None else None
        if field is not None and isinstance(frame.schema.get(field), pl.Date | pl.Datetime):
            self._see([_instant(frame.get_column(field).max())])
        return []

    def _see(self, instants: Any) -> None:
        found = [instant for instant in instants if instant is not None]
        self._newest = max([*found, *([self._newest] if self._newest else [])], default=None)

    def conclude(self, ctx: ConclusionContext) -> Sequence[CheckResult]:
        """Judge the number of records and their values."""
        results = list(super().conclude(ctx))
        if self.checks.freshness is not None:
            results.append(_freshness(self.checks.freshness, self._newest, ctx.now))
        for name, rule in self.checks.null_shares.items():
            results.append(_null_share(name, rule, self._nulls.get(name, 0), self._records))
        return results


def run_checks(checks: RunChecks | None) -> RunCheck | None:
    """Return the operation that makes the checks of a whole run; None when there are none."""
    if checks is None or not (checks.row_count or checks.columns):
        return None
    return ValuesCheck(checks=checks) if checks.columns else RunCheck(checks=checks)


def _row_count(rule: RowCount, ctx: ConclusionContext) -> Iterator[CheckResult]:
    count = ctx.records
    if rule.min is not None:
        text = f"{count:,} records; at least {rule.min:,} are wanted"
        yield CheckResult("row_count.min", count >= rule.min, count, rule.min, text, rule.on_violation)
    if rule.max is not None:
        text = f"{count:,} records; at most {rule.max:,} are wanted"
        yield CheckResult("row_count.max", count <= rule.max, count, rule.max, text, rule.on_violation)
    if rule.max_change_percent is not None:
        yield _change(rule, rule.max_change_percent, count, ctx)


def _change(rule: RowCount, percent: float, count: int, ctx: ConclusionContext) -> CheckResult:
    past = [run.counted for run in ctx.past]
    name = "row_count.max_change_percent"
    if not past:
        text = f"{count:,} records; no run finished before, so there is nothing to compare with"
        return CheckResult(name, passed=True, value=count, limit=percent, message=text, on_violation=rule.on_violation)
    usual = median(past)
    change = 100 * (count - usual) / usual if usual else (0.0 if not count else float("inf"))
    runs = "the run" if len(past) == 1 else f"the median of the {len(past):,} runs"
    told = f"{abs(change):.1f} % {'more' if change > 0 else 'fewer'} than" if change else "as many as"
    if usual == 0 and count:
        told = "compared with"
    text = f"{count:,} records, {told} {usual:,.10g} ({runs} before); {percent:g} % are allowed"
    return CheckResult(name, abs(change) <= percent, count, percent, text, rule.on_violation)


def _freshness(rule: Freshness, newest: datetime | None, now: datetime) -> CheckResult:
    name = f"freshness.{rule.field}"
    if newest is None:
        text = f"no record has a date or datetime in field {rule.field!r}; convert it, if it has them as text"
        return CheckResult(
            name, passed=False, value=None, limit=rule.max_age, message=text, on_violation=rule.on_violation
        )
    age = now - newest
    shown = _shown_age(age) if age.days >= 0 else "no time at all: it lies in the future"
    text = f"the newest {rule.field} is {newest.isoformat()}, its age {shown}; {rule.max_age} is allowed"
    return CheckResult(name, age <= rule.age, newest.isoformat(), rule.max_age, text, rule.on_violation)


def _shown_age(age: timedelta) -> str:
    """Return an age as ``max_age`` is written, such as ``3d4h``."""
    minutes, seconds = divmod(int(age.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")) if count]
    return "".join(units) or "0s"


def _null_share(name: str, rule: NullShare, nulls: int, records: int) -> CheckResult:
    share = nulls / records if records else 0.0
    found = f"{name} is null or missing in {nulls:,} of {records:,} records ({100 * share:.2f} %)"
    text = f"{found}; {100 * rule.max:g} % are allowed"
    return CheckResult(f"null_share.{name}", share <= rule.max, round(share, 6), rule.max, text, rule.on_violation)


def _instant(value: Any) -> datetime | None:
    """Return a date or datetime as an instant; without a zone it is UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None
