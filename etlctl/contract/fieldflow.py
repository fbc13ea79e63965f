"""Follows the fields through the steps, from the source to the schema, and reports what cannot be there."""

from __future__ import annotations

from etlctl.contract.checked import AuthoredStep, Checked
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.field_reads import after_schema, check_keys, check_rules, check_step
from etlctl.contract.layout import Part
from etlctl.contract.suggest import closest, listed
from etlctl.diagnostics import Span
from etlctl.errors import EtlctlError
from etlctl.redact import Redactor
from etlctl.sdk.fields import FieldProblem, FieldSet

_CODES = {
    "unknown-field": Code.unknown_field,
    "dropped-field": Code.dropped_field,
    "collision": Code.field_collision,
    "unlike-types": Code.unlike_types,
    "unusable-file": Code.refused_options,
}

_ADD_NOTHING = frozenset({"convert", "dedupe", "drop", "filter", "select"})
"""Operations after which no field is there that was not before; of one that is misspelt so much is sure."""


def check_fields(checked: Checked) -> None:
    """Report every field that certainly does not exist where it is used."""
    known = _source_fields(checked)
    _check_cursor(checked, known)
    part = checked.part("transform")
    if checked.unreadable("transform"):
        known = FieldSet()
    for step in checked.steps if part is not None else ():
        if step.operation is None or part is None:
            adds = not step.unusable or step.type not in _ADD_NOTHING
            known = FieldSet() if adds else FieldSet(dict.fromkeys(known.types, "any"), known.closed, known.gone)
            continue
        check_step(checked, part, step, known)
        known = step.operation.effect(FieldSet(known.types, known.closed, known.gone))
        for problem in (*known.problems, *step.operation.file_problems(checked.layout.base_dir)):
            _report(checked, part, step, problem)
    checked.fields = known
    _check_schema(checked, known)
    loaded = after_schema(checked, known)
    check_rules(checked, loaded)
    _check_destinations(checked, loaded)
    _check_run_checks(checked, known)


def _check_cursor(checked: Checked, known: FieldSet) -> None:
    """Report a cursor field that the source does not have."""
    part, incremental = checked.part("extract"), checked.envelope.incremental
    if part is not None and incremental is not None and not known.has(incremental.cursor_field):
        name = incremental.cursor_field
        message = f"incremental reads by field {name!r}, but no record of the source has it"
        span, help_ = part.value_span(("incremental", "cursor_field")), _suggestion(name, tuple(known.types))
        checked.report(Code.unknown_field.at(part.file, span, message, help=help_))


def _check_destinations(checked: Checked, loaded: FieldSet) -> None:
    part = checked.part("load")
    for where in checked.wheres if part is not None else ():
        if where.operation is not None and part is not None:
            check_step(checked, part, where, loaded)
            for problem in where.operation.effect(FieldSet(loaded.types, loaded.closed, loaded.gone)).problems:
                _report(checked, part, where, problem)
    check_keys(checked, loaded)


def _source_fields(checked: Checked) -> FieldSet:
    if checked.extractor is None:
        return FieldSet()
    try:
        types = checked.extractor.fields(str(checked.layout.base_dir))
    except (EtlctlError, OSError, ValueError):
        # Whatever is wrong with the source is the run's to tell: it may not even be there yet.
        return FieldSet()
    return FieldSet(types, closed=True) if types else FieldSet()


def _check_schema(checked: Checked, known: FieldSet) -> None:
    part, schema = checked.part("contract"), checked.section.record_schema
    if part is None or schema is None:
        return
    for name, rule in schema.fields.items():
        if rule.required and not known.has(name):
            gone = f": {known.gone[name]} took it away" if name in known.gone else ""
            message = f"the schema requires field {name!r}, but no record will have it{gone}"
            code = Code.dropped_field if name in known.gone else Code.unknown_field
            span = part.key_span(("schema", "fields", name))
            checked.report(code.at(part.file, span, message, help=_suggestion(name, tuple(known.types))))


def _check_run_checks(checked: Checked, known: FieldSet) -> None:
    """Report checks of a whole run on fields that no record will have, or that hold no instants."""
    part, checks, schema = checked.part("contract"), checked.section.checks, checked.section.record_schema
    if part is None or checks is None:
        return
    declared = {name: str(rule.type) for name, rule in schema.fields.items()} if schema is not None else {}
    if schema is not None and schema.additional_fields != "allow":
        known = FieldSet(declared, closed=True)
    fresh = checks.freshness.field if checks.freshness is not None else None
    for name in checks.columns:
        paths = [("checks", "freshness", "field")] if name == fresh else []
        paths += [("checks", "null_share", name)] if name in checks.null_share else []
        for path in paths if not known.has(name) else ():
            span = part.key_span(path) if path[1] == "null_share" else part.value_span(path)
            message = f"a check looks at field {name!r}, but no record will have it"
            help_ = _suggestion(name, tuple(known.types))
            checked.report(Code.unknown_field.at(part.file, span, message, help=help_))
    kind = declared.get(fresh or "", "any")
    kind = known.types.get(fresh or "", "any") if kind == "any" else kind
    if fresh is not None and kind not in {"any", "date", "datetime"}:
        span = part.value_span(("checks", "freshness", "field"))
        message = f"freshness needs a date or datetime, but field {fresh!r} is {kind}"
        help_ = f"convert it in transform.yaml: convert: {{{fresh}: datetime}}"
        checked.report(Code.unlike_types.at(part.file, span, message, help=help_))


def _report(checked: Checked, part: Part | None, step: AuthoredStep, problem: FieldProblem) -> None:
    if part is None:
        return
    path = part.nearest((*step.path, *problem.path))
    span = _span(part, path, step, problem.field)
    code = _CODES.get(problem.code, Code.unknown_field)
    kinds = {Code.unknown_field: "fields here", Code.dropped_field: "fields here", Code.refused_options: "it could be"}
    help_ = _suggestion(problem.field, problem.candidates, kinds[code]) if code in kinds else None
    secret = Redactor(secret for resolved in checked.resolved.values() for secret in resolved.secrets)
    checked.report(code.at(part.file, span, secret.text(problem.message), help=help_))


def _suggestion(field: str | None, candidates: tuple[str, ...], kind: str = "fields here") -> str | None:
    if not candidates:
        return None
    near = closest(field, candidates) if field else None
    return f"did you mean {near!r}?" if near else f"{kind}: {listed(candidates)}"


def _span(part: Part, path: PathKey, step: AuthoredStep, field: str | None) -> Span | None:
    """Return where the field's name stands: as a key, inside a text, else the whole value."""
    if len(path) > len(step.path) and path[-1] == field:
        return part.key_span(path)
    value = part.value(path)
    if field and isinstance(value, str) and field in value:
        start = value.index(field)
        return part.inside(path, start, start + len(field))
    if isinstance(value, list) and field in value:
        return part.value_span((*path, value.index(field)))
    return part.key_span(path) if isinstance(value, dict | list) else part.value_span(path)
