"""The parameters of a contract against those given for a run: declared, converted, missing, unknown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.explanations import Place
from etlctl.contract.layout import Part
from etlctl.contract.options import check_options
from etlctl.contract.parameters import convert_parameter
from etlctl.contract.sections import ExtractEnvelope, InputParam
from etlctl.contract.suggest import did_you_mean
from etlctl.contract.variables import Resolver, Values

RUN_DATE = "run_date"


def declared_parameters(checked: Checked, values: Values) -> dict[str, InputParam]:
    """Return the parameters that ``input_params`` declares; what is wrong with them is reported."""
    part = checked.part("extract")
    if part is None or "input_params" not in part.data:
        return {}
    resolved = _resolve(checked, part, values)
    place = Place(part, "extract", deferred=resolved.deferred, rereadable=resolved.rereadable)
    envelope = check_options(ExtractEnvelope, resolved.data, place, checked.report)
    return dict(envelope.input_params) if envelope is not None else _readable(part.data["input_params"])


def _resolve(checked: Checked, part: Part, values: Values) -> Any:
    def report(code: Code, path: PathKey, place: tuple[int, int], message: str, help_: str | None) -> None:
        checked.report(code.at(part.file, part.inside(path, *place), message, help=help_))

    return Resolver(values, report, part.is_plain).resolve({"input_params": part.data["input_params"]})


def _readable(raw: Any) -> dict[str, InputParam]:
    """Return at least the names of a block that has mistakes, so that its references are not reported as well."""
    return {name: InputParam(required=True) for name in raw} if isinstance(raw, dict) else {}


def given_parameters(
    checked: Checked, declared: Mapping[str, InputParam], params: Mapping[str, Any], *, offline: bool
) -> dict[str, Any]:
    """Return the values of parameters, converted, with defaults; what is wrong with them is reported."""
    values: dict[str, Any] = {name: value for name, value in params.items() if name not in declared}
    for name, parameter in declared.items():
        if params.get(name) is not None:
            _convert(checked, values, name, parameter, params[name], given=True)
        elif parameter.default is not None:
            _convert(checked, values, name, parameter, parameter.default, given=False)
        elif parameter.required and not offline:
            message = f"required parameter {name!r} is not given"
            about = f" ({parameter.description})" if parameter.description else ""
            help_ = f"give -p {name}=…{about}"
            checked.report(Code.missing_parameter.at(*_declaration(checked, name), message, help=help_))
            # Its references would all be reported too; one message is enough.
            values[name] = ""
    return {name: values[name] for name in (*declared, *params) if name in values}


def run_date(checked: Checked, params: Mapping[str, Any]) -> str | None:
    """Return the date a run is for when it is given as a parameter; one that is no date is reported.

    ``run_date`` is a parameter that every contract takes: it need not be declared or used.
    """
    given = params.get(RUN_DATE)
    if given is None:
        return None
    try:
        return date.fromisoformat(str(given)).isoformat()
    except ValueError:
        message = f"the run date {str(given)!r} is no date"
        help_ = "give it as YYYY-MM-DD, such as 2026-02-22"
        checked.report(Code.parameter_type.at(checked.layout.path, None, message, help=help_))
        return None


def _convert(
    checked: Checked, values: dict[str, Any], name: str, parameter: InputParam, value: Any, *, given: bool
) -> None:
    try:
        values[name] = convert_parameter(parameter, value)
    except ValueError as error:
        values[name] = str(value)  # one message is enough: the references to it are not reported as well
        what = f"parameter {name!r}" if given else f"the default of parameter {name!r}"
        message = f"{what} must be of type {parameter.type}: {error}"
        file, span = _declaration(checked, name)
        part = checked.part("extract")
        if not given and part is not None:
            span = part.value_span(("input_params", name, "default"))
        checked.report(Code.parameter_type.at(file, span, message))


def _declaration(checked: Checked, name: str) -> tuple[str, Any]:
    part = checked.part("extract")
    if part is None:
        return checked.layout.path, None
    return part.file, part.key_span(("input_params", name))


def unknown_parameters(checked: Checked, params: Mapping[str, Any], values: Values) -> None:
    """Report parameters that were given and that nothing declares or refers to."""
    known = {*values.declared, *values.referenced, RUN_DATE}
    for name in params:
        if name not in known:
            message = f"unknown parameter {name!r}: nothing in the contract refers to it"
            help_ = did_you_mean(name, known, kind="parameters") or "this contract takes no parameters"
            checked.report(Code.unknown_parameter.at(checked.layout.path, None, message, help=help_))
            checked.params.pop(name, None)
