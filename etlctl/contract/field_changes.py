"""What a new version of a contract changes for whoever reads the loaded records: fields, their types and guarantees."""

from __future__ import annotations

from typing import Any

from etlctl.contract.codes import Code
from etlctl.contract.comparing import Comparing
from etlctl.contract.data_rules import RecordSchema
from etlctl.contract.document import PathKey
from etlctl.types import shown

_WIDER = {("integer", "float"), ("integer", "decimal"), ("date", "datetime")}
_LOWER = ("minimum", "exclusive_minimum", "min_length")
_UPPER = ("maximum", "exclusive_maximum", "max_length")
_STRICTNESS = {"warn": 0, "drop": 1, "reject": 1, "fail": 1}


def compare_fields(both: Comparing) -> None:
    """Report what has become of the fields of the records to load."""
    old = both.old.section.record_schema or RecordSchema()
    new = both.new.section.record_schema or RecordSchema()
    for name in old.fields:
        if name in new.fields:
            _Rules(both, name, old, new).compare()
        else:
            message = f"field {name!r} is no longer declared: who reads the loaded records may miss it"
            both.report(Code.field_removed, "contract", ("schema", "fields", name), message)
    for name in new.fields.keys() - old.fields.keys():
        both.report(Code.field_added, "contract", ("schema", "fields", name), f"field {name!r} is declared now")
    _additional(both, old, new)
    _rules(both, old, new)
    _flow(both, {*old.fields, *new.fields})


class _Rules:
    """The rules of one field, before and now."""

    def __init__(self, both: Comparing, name: str, before: RecordSchema, now: RecordSchema) -> None:
        self.both, self.name = both, name
        self.old, self.new = before.fields[name], now.fields[name]
        self.actions = before.action(self.old.on_violation), now.action(self.new.on_violation)

    def report(self, code: Code, option: str, text: str) -> None:
        path = ("schema", "fields", self.name, option)
        self.both.report(code, "contract", path, f"field {self.name!r} {text}")

    def compare(self) -> None:
        self._type()
        for option, lost in (("required", "may be null or missing now"), ("unique", "may repeat its values now")):
            before, now = getattr(self.old, option), getattr(self.new, option)
            if before and not now:
                self.report(Code.guarantee_dropped, option, f"{lost}: it is no longer {option}")
            elif now and not before:
                self.report(Code.rules_tightened, option, f"must be {option} now: records that are not are kept out")
        self._enum()
        for option in (*_LOWER, *_UPPER):
            self._bound(option, lower=option in _LOWER)
        for option in ("pattern", "format"):
            before, now = getattr(self.old, option), getattr(self.new, option)
            if before != now:
                code = Code.rules_tightened if before is None else Code.rules_loosened
                self.report(code, option, f"has another {option}: {_told(before)} before, {_told(now)} now")
        if _STRICTNESS[self.actions[0]] > _STRICTNESS[self.actions[1]]:
            self.report(Code.rules_loosened, "on_violation", "lets records through now that break its rules (warn)")

    def _type(self) -> None:
        before, now = str(self.old.type), str(self.new.type)
        if before == now:
            return
        if before == "any" or (now, before) in _WIDER:
            self.report(Code.rules_tightened, "type", f"must be {now} now, and was {before}")
            return
        word = "is wider" if now == "any" or (before, now) in _WIDER else "has another type"
        self.report(Code.field_type_changed, "type", f"{word}: {before} before, {now} now")

    def _enum(self) -> None:
        before, now = self.old.enum, self.new.enum
        if before == now:
            return
        if now is None:
            self.report(Code.enum_widened, "enum", "may have any value now: its list of values is gone")
            return
        new = [value for value in now if before is not None and value not in before]
        gone = [value for value in before or () if value not in now]
        if new:
            self.report(Code.enum_widened, "enum", f"may have new values: {', '.join(map(shown, new))}")
        if gone or before is None:
            words = f"{', '.join(map(shown, gone))} no more" if gone else f"only {', '.join(map(shown, now))}"
            self.report(Code.rules_tightened, "enum", f"may have {words}")

    def _bound(self, option: str, *, lower: bool) -> None:
        before, now = getattr(self.old, option), getattr(self.new, option)
        if before == now:
            return
        looser = now is None or (before is not None and (now < before if lower else now > before))
        code = Code.rules_loosened if looser else Code.rules_tightened
        self.report(code, option, f"has another {option}: {_told(before)} before, {_told(now)} now")


def _told(value: Any) -> str:
    return "none" if value is None else f"{value:.15g}" if isinstance(value, float) else shown(value)


def _additional(both: Comparing, old: RecordSchema, new: RecordSchema) -> None:
    before, now = old.additional_fields, new.additional_fields
    if before == now:
        return
    path = ("schema", "additional_fields")
    if now == "allow":
        both.report(
            Code.field_added, "contract", path, f"fields that are not declared may be loaded now ({before} before)"
        )
    else:
        message = f"fields that are not declared are not loaded any more: additional_fields was {before} and is {now}"
        both.report(Code.additional_fields_changed, "contract", path, message)


def _rules(both: Comparing, old: RecordSchema, new: RecordSchema) -> None:
    before = {rule.name: (number, rule) for number, rule in enumerate(old.rules)}
    now = {rule.name: (number, rule) for number, rule in enumerate(new.rules)}
    for name, (place, rule) in before.items():
        if name not in now:
            message = f"rule {name!r} is gone: {rule.expression}"
            was: PathKey = ("schema", "rules", place)
            both.report(Code.rules_loosened, "contract", ("schema", "rules"), message, before=was)
    for name, (number, rule) in now.items():
        path = ("schema", "rules", number)
        if name not in before:
            both.report(Code.rules_tightened, "contract", path, f"rule {name!r} is new: {rule.expression}")
        elif before[name][1].expression != rule.expression:
            message = f"rule {name!r} says something else now"
            was = ("schema", "rules", before[name][0], "expression")
            both.report(Code.rules_loosened, "contract", (*path, "expression"), message, before=was)


def _flow(both: Comparing, declared: set[str]) -> None:
    """Report fields that came out of the steps and do not any more, where no schema speaks of them."""
    before, now = both.old.fields, both.new.fields
    for name, kind in before.types.items():
        if name in declared:
            continue
        if not now.has(name):
            by = f": {now.gone[name]} takes it away" if name in now.gone else ""
            message = f"field {name!r} is no longer loaded{by}"
            both.report(Code.field_removed, *both.mention(both.new, name), message)
        elif {"any", kind, now.types.get(name, "any")} > {"any", kind} and kind != "any":
            message = f"field {name!r} has another type: {kind} before, {now.types[name]} now"
            both.report(Code.field_type_changed, *both.mention(both.new, name), message)
    for name in now.types.keys() - before.types.keys() - declared if before.closed else ():
        both.report(Code.field_added, *both.mention(both.new, name), f"field {name!r} is loaded now")
