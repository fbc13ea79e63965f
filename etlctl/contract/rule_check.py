"""Rules over several fields of a record, written in JSONata."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from etlctl import jsonata
from etlctl.batch import frame_to_rows
from etlctl.contract.data_rules import CrossRule
from etlctl.quality import Action
from etlctl.sdk import FieldSet, Record, RowSlice, Screening, StepContext, Verdict
from etlctl.types import shown

if TYPE_CHECKING:
    import polars as pl

_MOST_SHOWN = 4


class RuleCheck(Screening):
    """Deals with records that break a rule over several fields.

    A rule sees the record without its nulls: a missing field and a null one are the same. Where it selects nothing the
    record passes, as with a CHECK constraint in SQL; an expression that fails on a record is a broken rule.
    """

    rules: tuple[CrossRule, ...]
    """The rules, in order."""
    default: Action = "reject"
    """What becomes of a record that breaks a rule which does not say."""

    changes_count: ClassVar[bool] = True

    def needs(self) -> tuple[str, ...]:
        """Rules see whole records."""
        return ()

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Judge every record of a slice."""
        for verdict in self._verdicts(rows.records, ctx):
            rows.violate(verdict.position, verdict.action, verdict.rule or "", verdict.message, field=verdict.field)

    def screen(self, columns: object) -> list[Verdict]:
        """Rules see whole records, not columns.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:
        """Judge the rows of a frame, which stays one; where columns are not enough, only those that matter are rows."""
        from etlctl.contract.rule_columns import doubtful_rows, named_columns  # noqa: PLC0415

        doubtful = doubtful_rows(self.rules, frame, ctx.now)
        places = range(frame.height) if doubtful is None else doubtful.arg_true().to_list()
        if not places:
            return []
        wanted = named_columns(self.rules, frame)
        part = frame[:, [frame.columns.index(name) for name in wanted]]
        records = frame_to_rows(part if doubtful is None else part[places]) if wanted else [{} for _ in places]
        return [replace(verdict, position=places[verdict.position]) for verdict in self._verdicts(records, ctx)]

    def _verdicts(self, records: Iterable[Record], ctx: StepContext) -> list[Verdict]:
        rules = [
            (rule, jsonata.compile(rule.expression).prepared(now=ctx.now), rule.on_violation or self.default)
            for rule in self.rules
        ]
        verdicts: list[Verdict] = []
        for position, record in enumerate(records):
            given = {name: value for name, value in record.items() if value is not None}
            for rule, evaluate, action in rules:
                message = _complaint(rule, evaluate, given)
                if message is None:
                    continue
                verdicts.append(Verdict(position, f"check.rule.{rule.name}", message, None, action))
                if action != "warn":
                    break
        return verdicts

    def effect(self, known: FieldSet) -> FieldSet:
        """Fields stay as they are."""
        return known


def _complaint(rule: CrossRule, evaluate: Callable[[Any], Any], record: Record) -> str | None:
    """Return what is wrong with a record, or None."""
    try:
        result = evaluate(record)
    except jsonata.JsonataError as error:
        return f"rule {rule.name!r} cannot be judged: {error.explained(rule.expression)}{_values(rule, record)}"
    if result is jsonata.NOTHING or jsonata.truthy(result):
        return None
    return f"{rule.message or f'rule {rule.name!r} does not hold: {rule.expression}'}{_values(rule, record)}"


def _values(rule: CrossRule, record: Record) -> str:
    """Return the values of the fields that the rule names, for the message."""
    from etlctl.contract.rule_columns import named_fields  # noqa: PLC0415 - loads Polars

    names = [name for name in named_fields(rule.expression) if name in record]
    told = ", ".join(f"{name} is {shown(record[name])}" for name in names[:_MOST_SHOWN])
    return f" ({told})" if told else ""
