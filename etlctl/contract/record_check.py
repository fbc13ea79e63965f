"""The check between transform and load: does a record look like the contract's schema says it does?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from etlctl.contract.data_rules import RecordSchema
from etlctl.contract.value_rules import ValueTest, value_tests
from etlctl.errors import RecordRejected
from etlctl.quality import Action
from etlctl.sdk import FieldProblem, FieldSet, Operation, Record, RowSlice, StepContext
from etlctl.types import shown

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan


class _FieldCheck(NamedTuple):
    name: str
    required: bool
    tests: list[ValueTest]
    action: Action


class RecordCheck(Operation):
    """Deals with records that do not look like the schema says.

    Rules are judged in the order of the schema. A record goes on to the next rule after one that only warns; the first
    other one decides what becomes of it.
    """

    record_schema: RecordSchema
    """Rules by field, and what happens to other fields."""

    has_frame: ClassVar[bool] = True

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Check every record."""
        schema = self.record_schema
        checks = [
            _FieldCheck(name, rule.required, value_tests(name, rule), schema.action(rule.on_violation))
            for name, rule in schema.fields.items()
        ]
        for position, record in enumerate(rows.records):
            for error, action in self._broken(record, checks):
                rows.violate(position, action, error.rule, error.message, field=error.field)
                if action != "warn":
                    break
            else:
                if schema.additional_fields == "drop":
                    self._drop_others(record)

    def _broken(self, record: Record, checks: list[_FieldCheck]) -> Iterator[tuple[RecordRejected, Action]]:
        for name, required, tests, action in checks:
            value = record.get(name)
            if value is not None:
                for test in tests:
                    try:
                        test(value)
                    except RecordRejected as error:
                        yield error, action
                        break  # a value that breaks one rule of its field says little about the next
            elif required:
                message = f"field {name!r} is required and missing"
                yield RecordRejected("check.required", message, field=name), action
        if self.record_schema.additional_fields == "reject":
            held = [name for name in record if name not in self.record_schema.fields and record[name] is not None]
            if held:
                names = ", ".join(repr(name) for name in held)
                message = f"the schema does not know {names}; {held[0]!r} is {shown(record[held[0]])}"
                yield RecordRejected("check.additional", message, field=held[0]), "reject"
            else:
                self._drop_others(record)

    def _drop_others(self, record: Record) -> None:
        for name in [name for name in record if name not in self.record_schema.fields]:
            del record[name]

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Let the rows form judge the rows that may break a rule."""
        import polars as pl  # noqa: PLC0415

        from etlctl.contract.frame_check import breaks  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        doubts: list[pl.Expr] = []
        for name, rule in self.record_schema.fields.items():
            found = breaks(name, plan.schema.get(name), rule)
            if found is None:
                raise FrameUnsupported(f"the rules of field {name!r} cannot be judged on its column")
            doubts.extend(found)
        known = self.record_schema.fields
        others = [name for name in plan.schema if name not in known]
        if self.record_schema.additional_fields == "reject":
            doubts.extend(pl.col(name).is_not_null() for name in others)
        if others == list(plan.schema):
            raise FrameUnsupported("a frame without columns forgets its rows")
        plan.suspect(*doubts)
        if others and self.record_schema.additional_fields != "allow":
            plan.select({name: (pl.col(name), dtype) for name, dtype in plan.schema.items() if name in known})

    def effect(self, known: FieldSet) -> FieldSet:
        """Report required fields that are certainly not there, and types that cannot fit."""
        for name, rule in self.record_schema.fields.items():
            if rule.required:
                known = known.require(name, ("fields", name))
            kind = known.types.get(name, "any")
            fits = {kind, "any", *(("float", "decimal") if kind == "integer" else ())}
            if kind != "any" and rule.type not in fits:
                text = f"field {name!r} arrives as {kind}, but the schema wants {rule.type}"
                known = known.problem(FieldProblem("unlike-types", text, ("fields", name, "type"), (), name))
        return known


CHECK = "check"
"""Name of the step that checks fields; those of the other checks begin with it and a dot."""


def record_checks(schema: RecordSchema) -> list[Operation]:
    """Return the operations that hold records to a schema; none for an empty one."""
    return [operation for _, operation in named_checks(schema)]


def named_checks(schema: RecordSchema) -> list[tuple[str, Operation]]:
    """Return the operations that hold records to a schema, with the names of their steps.

    Uniqueness comes last: a record that another rule keeps out leaves no trace in its memory.
    """
    checks: list[tuple[str, Operation]] = []
    if schema.fields or schema.additional_fields != "allow":
        checks.append((CHECK, RecordCheck(record_schema=schema)))
    if schema.rules:
        from etlctl.contract.rule_check import RuleCheck  # noqa: PLC0415 - only contracts with rules pay for JSONata

        checks.append((f"{CHECK}.rules", RuleCheck(rules=schema.rules, default=schema.on_violation)))
    unique = {name: schema.action(rule.on_violation) for name, rule in schema.fields.items() if rule.unique}
    if unique:
        from etlctl.contract.unique_check import UniqueCheck  # noqa: PLC0415

        checks.append((f"{CHECK}.unique", UniqueCheck(fields=unique)))
    return checks
