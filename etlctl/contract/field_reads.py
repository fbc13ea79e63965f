"""Looks for field names inside JSONata, and in the options of destinations, that no record has."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.contract.checked import AuthoredStep, Checked
from etlctl.contract.codes import Code
from etlctl.contract.destinations import LIST, is_list
from etlctl.contract.document import PathKey
from etlctl.contract.layout import Part
from etlctl.contract.suggest import closest, listed
from etlctl.diagnostics import Span
from etlctl.sdk.evaluating import Evaluating
from etlctl.sdk.fields import FieldSet
from etlctl.sdk.loader import Loader

_CONDITION = "filter"
"""The operation that keeps records by an expression: one that reads a field nobody has keeps none."""


def check_step(checked: Checked, part: Part, step: AuthoredStep, known: FieldSet) -> None:
    """Report the fields that the JSONata of a step reads and no record has: an error in a condition, else a warning."""
    made = step.operation.evaluated() if isinstance(step.operation, Evaluating) else None
    if made is None or made.whole or not known.closed:
        return
    raw = part.value(step.path)
    path = step.path if isinstance(raw, str) else (*step.path, made.option)
    _check_text(checked, part, path, made.text, known, certain=step.type == _CONDITION)


def check_rules(checked: Checked, known: FieldSet) -> None:
    """Report the fields that a schema's rules over several fields read and no record has."""
    part, schema = checked.part("contract"), checked.section.record_schema
    if part is None or schema is None or not known.closed:
        return
    for number, rule in enumerate(schema.rules):
        path = ("schema", "rules", number, "expression")
        _check_text(checked, part, path, rule.expression, known, certain=True)


def after_schema(checked: Checked, known: FieldSet) -> FieldSet:
    """Return the fields that reach the destination; those the schema names may be there, whatever the steps give."""
    if checked.unreadable("contract"):
        return FieldSet()
    schema = checked.section.record_schema
    if schema is None:
        return known
    declared = {name: known.types.get(name, "any") for name in schema.fields}
    if schema.additional_fields != "allow":
        return known.only(declared, "the schema")
    return known.with_types(declared)


def check_keys(checked: Checked, known: FieldSet) -> None:
    """Report fields that ``primary_key`` of a destination names and no record has."""
    part = checked.part("load")
    for path, loader in _loaders(checked) if part is not None else ():
        for name in loader.key_fields():
            if part is not None and not _has_column(known, name):
                there = (*path, "primary_key")
                given = part.value(there)
                place = (*there, given.index(name)) if isinstance(given, list) and name in given else there
                _missing(checked, part, part.value_span(place), name, known, f"'primary_key' names field {name!r}")
        for option, names in loader.fields_read().items():
            for name in sorted(names):
                if part is not None and not (known.has(name) or known.has(name.partition(".")[0])):
                    span = part.value_span((*path, option))
                    _missing(checked, part, span, name, known, f"{option!r} reads field {name!r}")


def _has_column(known: FieldSet, name: str) -> bool:
    """Tell whether a field may exist; a database may take names in any case."""
    return known.has(name) or name.lower() in {each.lower() for each in known.types}


def _loaders(checked: Checked) -> Iterator[tuple[PathKey, Loader]]:
    if is_list(checked.part("load")):
        yield from (((LIST, number), loader) for number, loader in checked.destinations)
    elif checked.loader is not None:
        yield (), checked.loader


def _check_text(checked: Checked, part: Part, path: PathKey, text: str, known: FieldSet, *, certain: bool) -> None:
    from etlctl.jsonata.reads import fields_read  # noqa: PLC0415 - only contracts with JSONata pay for it

    for read in fields_read(text):
        if known.has(read.name):
            continue
        same = part.value(path) == text  # variables in it are filled in
        span = part.inside(path, read.start, read.end) if same else part.value_span(path)
        _missing(checked, part, span, read.name, known, f"the JSONata reads field {read.name!r}", certain=certain)


def _missing(  # noqa: PLR0917
    checked: Checked, part: Part, span: Span | None, name: str, known: FieldSet, use: str, *, certain: bool = True
) -> None:
    code = Code.dropped_field if name in known.gone else Code.unknown_field
    gone = f": {known.gone[name]} took it away" if name in known.gone else ""
    near = closest(name, known.types)
    help_ = f"did you mean {near!r}?" if near else f"fields here: {listed(known.types)}" if known.types else None
    message = f"{use}, but no record has it here{gone}"
    checked.report((code if certain else Code.jsonata_field).at(part.file, span, message, help=help_))
