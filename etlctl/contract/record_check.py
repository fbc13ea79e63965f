"""The check between transform and load: does a record look like the contract's schema says it does?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from etlctl.contract.sections import FieldRule, RecordSchema
from etlctl.errors import RecordRejected
from etlctl.sdk import FieldProblem, FieldSet, Operation, Record, RowSlice, Screening, StepContext, Verdict
from etlctl.types import kind_of, shown, to_text

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "decimal": (Decimal, int),
    "boolean": (bool,),
    "date": (date,),
    "datetime": (datetime,),
    "time": (time,),
    "object": (dict,),
    "array": (list, tuple),
}


def is_of_type(value: Any, kind: str) -> bool:
    """Tell whether a value is of a schema type: true is no number, a datetime no date, an integer a float."""
    if kind == "any":
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, datetime):
        return kind == "datetime"
    return isinstance(value, _TYPES[kind])


class RecordCheck(Operation):
    """Rejects records that do not look like the schema says; the first rule broken is named."""

    record_schema: RecordSchema
    """Rules by field, and what happens to other fields."""

    has_frame: ClassVar[bool] = True

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Check every record."""
        checks = [(name, rule.required, _checks(name, rule)) for name, rule in self.record_schema.fields.items()]
        for position, record in enumerate(rows.records):
            try:
                for name, required, tests in checks:
                    value = record.get(name)
                    if value is not None:
                        for test in tests:
                            test(value)
                    elif required:
                        raise RecordRejected("check.required", f"field {name!r} is required and missing", field=name)
                self._additional(record)
            except RecordRejected as error:
                rows.reject_error(position, error)

    def _additional(self, record: Record) -> None:
        mode = self.record_schema.additional_fields
        if mode == "allow":
            return
        others = [name for name in record if name not in self.record_schema.fields]
        if mode == "reject":
            held = [name for name in others if record[name] is not None]
            if held:
                names = ", ".join(repr(name) for name in held)
                raise RecordRejected("check.additional", f"the schema does not know {names}", field=held[0])
        for name in others:
            del record[name]

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Let the rows form reject the rows that break a rule."""
        import polars as pl  # noqa: PLC0415

        from etlctl.contract.frame_check import breaks  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        doubts: list[pl.Expr] = []
        for name, rule in self.record_schema.fields.items():
            found = breaks(name, plan.schema.get(name), rule)
            if found is None:
                raise FrameUnsupported("check")
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


class UniqueCheck(Screening):
    """Rejects records whose value of a unique field was seen before in the run; the first one wins."""

    fields: tuple[str, ...]
    """Fields whose values must differ from record to record; null is not compared."""

    remembers: ClassVar[bool] = True

    _seen: dict[str, set[Any]] = PrivateAttr(default_factory=dict)

    def fresh(self) -> UniqueCheck:
        """Return a check with an empty memory."""
        return UniqueCheck(fields=self.fields)

    def needs(self) -> tuple[str, ...]:
        """Return the unique fields."""
        return self.fields

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:
        """Return the records that repeat a value."""
        memories = [(name, self._seen.setdefault(name, set())) for name in self.fields]
        verdicts: list[Verdict] = []
        for position, values in enumerate(zip(*(columns[name] for name in self.fields), strict=True)):
            keys = [_key(value) for value in values]
            for (name, memory), key, value in zip(memories, keys, values, strict=True):
                if value is not None and key in memory:
                    text = f"field {name!r} must be unique: {shown(value)} was there before"
                    verdicts.append(Verdict(position, "check.unique", text, name))
                    break
            else:
                for (_, memory), key in zip(memories, keys, strict=True):
                    memory.add(key)
        return verdicts

    def effect(self, known: FieldSet) -> FieldSet:
        """Fields stay as they are."""
        return known


def _key(value: Any) -> Any:
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, dict | list | tuple):
        return (list, json.dumps(value, sort_keys=True, default=to_text))
    return value


def record_checks(schema: RecordSchema) -> list[Operation]:
    """Return the operations that hold records to a schema; none for an empty one."""
    checks: list[Operation] = []
    if schema.fields or schema.additional_fields != "allow":
        checks.append(RecordCheck(record_schema=schema))
    unique = tuple(name for name, rule in schema.fields.items() if rule.unique)
    if unique:
        checks.append(UniqueCheck(fields=unique))
    return checks


# --- rules -----------------------------------------------------------------------------------------------------------


def _checks(name: str, rule: FieldRule) -> list[Callable[[Any], None]]:
    """Return the tests of one field; each raises ``RecordRejected`` for a value that breaks its rule."""

    def refuse(kind: str, value: Any, text: str) -> RecordRejected:
        return RecordRejected(f"check.{kind}", f"field {name!r}: {shown(value)} {text}", field=name)

    def of_type(value: Any) -> None:
        if not is_of_type(value, rule.type):
            kind = "boolean" if isinstance(value, bool) else kind_of(value)
            raise refuse("type", value, f"is {kind}, not {rule.type}; convert it first")

    def in_enum(value: Any) -> None:
        if not any(value == each and isinstance(value, bool) is isinstance(each, bool) for each in rule.enum or ()):
            allowed = ", ".join(shown(each) for each in rule.enum or ())
            raise refuse("enum", value, f"is not one of {allowed}")

    checks: list[Callable[[Any], None]] = [] if rule.type == "any" else [of_type]
    if rule.enum is not None:
        checks.append(in_enum)
    checks += _range_checks(rule, refuse) + _text_checks(rule, refuse)
    return checks


_Refuse = Callable[[str, Any, str], RecordRejected]


def _range_checks(rule: FieldRule, refuse: _Refuse) -> list[Callable[[Any], None]]:
    def bounded(value: Any) -> None:
        bound = "minimum" if rule.minimum is not None else "maximum"
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise refuse(bound, value, f"is {kind_of(value)}, not a number")
        if rule.minimum is not None and not value >= rule.minimum:
            raise refuse("minimum", value, f"is less than the minimum {rule.minimum:g}")
        if rule.maximum is not None and not value <= rule.maximum:
            raise refuse("maximum", value, f"is more than the maximum {rule.maximum:g}")

    return [] if rule.minimum is None and rule.maximum is None else [bounded]


def _text_checks(rule: FieldRule, refuse: _Refuse) -> list[Callable[[Any], None]]:
    search = re.compile(rule.pattern).search if rule.pattern is not None else None

    def measured(value: Any) -> None:
        if not isinstance(value, str):
            raise refuse("min_length" if rule.min_length is not None else "max_length", value, "is not text")
        if rule.min_length is not None and len(value) < rule.min_length:
            raise refuse("min_length", value, f"has fewer than {rule.min_length} characters")
        if rule.max_length is not None and len(value) > rule.max_length:
            raise refuse("max_length", value, f"has more than {rule.max_length} characters")

    def matching(value: Any) -> None:
        if search is not None and (not isinstance(value, str) or not search(value)):
            raise refuse("pattern", value, f"does not match the pattern {rule.pattern}")

    checks: list[Callable[[Any], None]] = []
    if rule.min_length is not None or rule.max_length is not None:
        checks.append(measured)
    return checks if search is None else [*checks, matching]
