"""Compiles a contract: every problem at once, or a frozen ``Contract`` that is ready to run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from etlctl.catalog import Catalog, Kind, find_workspace
from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.components import Components
from etlctl.contract.destinations import check_destinations, is_list
from etlctl.contract.document import PathKey
from etlctl.contract.explanations import Place
from etlctl.contract.fieldflow import check_fields
from etlctl.contract.finish import finished
from etlctl.contract.increment import IncrementOf, find_increment
from etlctl.contract.inputs import declared_parameters, given_parameters, run_date, unknown_parameters
from etlctl.contract.layout import TRANSFORM_SETTINGS, Layout, Part, read_layout, shown_path
from etlctl.contract.model import Contract
from etlctl.contract.model_keys import key_names
from etlctl.contract.options import check_options
from etlctl.contract.record_templates import record_templates
from etlctl.contract.rules.registry import run_checks
from etlctl.contract.sections import ContractSection, ExtractEnvelope, LoadEnvelope, TransformEnvelope
from etlctl.contract.sent_params import send_unreferenced
from etlctl.contract.steps import authored_steps
from etlctl.contract.template_params import unset_in_templates
from etlctl.contract.variables import Resolved, Resolver, Values
from etlctl.diagnostics import Diagnostic, Severity
from etlctl.errors import CatalogError, ContractError
from etlctl.ids import is_safe_name
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.loader import Loader

M = TypeVar("M", bound=BaseModel)
_PARAM_IN_TEXT = re.compile(r"\$\{param:([A-Za-z_][A-Za-z0-9_.-]*)")


@dataclass
class Settings:
    """How to compile.

    Attributes:
        catalog: Components; those of the contract's workspace when left out.
        params: Parameters given for the run.
        environ: Environment variables.
        overrides: Envelope keys of ``extract.yaml`` set from outside.
        cursor: What ``${cursor}`` says when nobody knows the cursor.
        increment_of: Finds what an incremental run goes by.
        now: The instant ``${run_date}`` is taken from.
        offline: Only look: no user code is imported, required parameters may be missing.
    """

    catalog: Catalog | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    overrides: Mapping[str, Any] = field(default_factory=dict)
    cursor: str | None = None
    increment_of: IncrementOf | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    offline: bool = False


def load_contract(
    path: str | Path,
    *,
    catalog: Catalog | None = None,
    params: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    cursor: str | None = None,
    increment_of: IncrementOf | None = None,
    now: datetime | None = None,
) -> Contract:
    """Compile a contract for a run; components of the workspace are imported.

    Args:
        path: Folder of the contract, or its single file.
        catalog: Components; those of the contract's workspace when left out.
        params: Parameters of the run; text is converted to the declared type.
        environ: Environment variables; the process's own when left out.
        overrides: Envelope keys of ``extract.yaml`` to set, such as ``processing_mode``; None values are left out.
        cursor: What ``${cursor}`` says when nobody knows the cursor.
        increment_of: Finds what an incremental run goes by; None: it reads from the beginning.
        now: The instant of the run; ``${run_date}`` is its date in UTC unless there is a parameter ``run_date``.

    Raises:
        ContractError: It does not hold; ``diagnostics`` has every problem, warnings included.
    """
    settings = Settings(
        catalog=catalog,
        params=params or {},
        environ=dict(os.environ) if environ is None else environ,
        overrides={key: value for key, value in (overrides or {}).items() if value is not None},
        cursor=cursor,
        increment_of=increment_of,
        now=now or datetime.now(UTC),
    )
    checked = examine(Path(path), settings)
    errors = [diagnostic for diagnostic in checked.diagnostics if diagnostic.severity is Severity.error]
    if errors:
        first = f"{errors[0].code} {errors[0].message}"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        help_ = f"'etlctl validate {shown_path(Path(path))}' shows every problem with its place"
        if errors[0].code == Code.missing_parameter and errors[0].help:
            help_ = errors[0].help
        message = f"contract {shown_path(Path(path))} does not hold: {first}{more}"
        raise ContractError(message, checked.diagnostics, help=help_)
    return finished(checked, Path(path))


def check(
    path: str | Path,
    *,
    catalog: Catalog | None = None,
    params: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Diagnostic]:
    """Return everything that is wrong with a contract, in order; no user code is imported and no network touched."""
    return check_contract(path, catalog=catalog, params=params, environ=environ).diagnostics


def check_contract(
    path: str | Path,
    *,
    catalog: Catalog | None = None,
    params: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Checked:
    """As ``check``, with everything that is known of the contract besides the problems."""
    environ = dict(os.environ) if environ is None else environ
    return examine(Path(path), Settings(catalog=catalog, params=params or {}, environ=environ, offline=True))


def examine(path: Path, settings: Settings, layout: Layout | None = None) -> Checked:
    """Read and check a contract; every problem found is in ``diagnostics``, in order of appearance."""
    checked = Checked(layout or read_layout(path))
    checked.diagnostics += checked.layout.problems
    try:
        workspace = find_workspace(checked.layout.base_dir).root
        catalog = settings.catalog or Catalog.for_workspace(workspace)
    except (CatalogError, ContractError) as error:
        checked.report(Code.broken_component.at(_workspace_path(path), None, error.message, help=error.help))
    else:
        _Examiner(checked, settings, catalog, workspace).run()
    checked.diagnostics = sorted(dict.fromkeys(checked.diagnostics), key=lambda found: found.sort_key)
    return checked


def _workspace_path(contract: Path) -> str:
    """Return the nearest folder upwards that has an ``etlctl.yaml``, for a problem of the workspace as a whole."""
    found = next((folder for folder in contract.parents if (folder / "etlctl.yaml").is_file()), contract)
    return shown_path(found)


class _Examiner:
    """One pass over one contract."""

    def __init__(self, checked: Checked, settings: Settings, catalog: Catalog, workspace: Path) -> None:
        self.checked = checked
        self.settings = settings
        self.components = Components(catalog, checked.report, not settings.offline)
        self.workspace = workspace

    def run(self) -> None:
        self._contract_section()
        values = self._values()
        find_increment(self.checked, values, self.settings.increment_of, self.settings.now)
        base_dir = str(self.checked.layout.base_dir)
        self.components = replace(self.components, fill=partial(self._filled, values), base_dir=base_dir)
        for section in ("extract", "load"):
            part = self.checked.part(section)
            if part is not None:
                self._resolve(section, part, values)
        self._note_references(values)
        send_unreferenced(self.checked, values, self.components.catalog)
        self._extract()
        self._load()
        self._transform()
        unknown_parameters(self.checked, self.settings.params, values)
        check_fields(self.checked)
        run_checks(self.checked)

    def _contract_section(self) -> None:
        part = self.checked.part("contract")
        if part is not None:
            if "record_schema" in part.data:
                # The model's own name for ``schema:``, which pydantic would take as well.
                span = part.key_span(("record_schema",))
                message = "unknown key 'record_schema' in the contract"
                self.checked.report(Code.unknown_key.at(part.file, span, message, help="did you mean 'schema'?"))
            found = check_options(
                ContractSection, part.data, Place(part, "the contract", beside=self._beside(part)), self.checked.report
            )
            self.checked.section = found or ContractSection()
        if not is_safe_name(self.checked.name):
            message = f"{self.checked.name!r} cannot be the name of a contract"
            help_ = "set 'name:' in contract.yaml: letters, digits, '_', '-' and '.', at most 128"
            self.checked.report(Code.unusable_name.at(self.checked.layout.path, None, message, help=help_))

    @staticmethod
    def _beside(part: Part) -> tuple[str, ...]:
        whole = any(key in part.document.data for key in ("extract", "load")) if part.document.data else False
        return ("extract", "transform", "jsonata", "custom_function", "workers", "load", "cases") if whole else ()

    def _values(self) -> Values:
        checked, settings = self.checked, self.settings
        values = Values(
            declared={},
            given={},
            environ=settings.environ,
            workspace=self.workspace,
            run_date=run_date(self.checked, settings.params) or settings.now.astimezone(UTC).date().isoformat(),
            cursor=settings.cursor,
            cursor_end=settings.cursor,
            offline=settings.offline,
        )
        checked.declared = values.declared = declared_parameters(checked, values)
        checked.params = given_parameters(checked, values.declared, settings.params, offline=settings.offline)
        values.given = checked.params
        return values

    def _resolve(self, section: str, part: Part, values: Values) -> None:
        data = {key: value for key, value in part.data.items() if key != "input_params"}
        catalog, import_code = self.components.catalog, self.components.import_code
        templates = record_templates(catalog, data, import_code=import_code) if section == "load" else None
        self.checked.resolved[section] = self._filled(values, part, (), data, templates)

    def _filled(
        self, values: Values, part: Part, path: PathKey, value: Any, templates: Callable[[PathKey], bool] | None = None
    ) -> Resolved:
        def report(code: Code, where: PathKey, place: tuple[int, int], message: str, help_: str | None) -> None:
            self.checked.report(code.at(part.file, part.inside(where, *place), message, help=help_))

        resolved = Resolver(values, report, part.is_plain, templates or (lambda _path: False)).resolve(value, path)
        if path:  # so that what it found to be secret is known to be
            self.checked.resolved[".".join(map(str, path))] = resolved
        return resolved

    def _note_references(self, values: Values) -> None:
        part = self.checked.part("transform")
        if part is None:
            return
        values.referenced.update(_PARAM_IN_TEXT.findall(part.document.text))
        for problem in unset_in_templates(part, values):
            self.checked.report(problem)

    def _envelope(self, section: str, model: type[M]) -> M | None:
        part, resolved = self.checked.part(section), self.checked.resolved.get(section)
        if part is None or resolved is None:
            return None
        data = {key: value for key, value in resolved.data.items() if key in key_names(model)}
        place = Place(part, section, deferred=resolved.deferred, rereadable=resolved.rereadable)
        return check_options(model, data, place, self.checked.report)

    def _extract(self) -> None:
        envelope = self._envelope("extract", ExtractEnvelope)
        if envelope is not None:
            self.checked.envelope = self._overridden(envelope)
        found = self._component("extract", Kind.extractor, ExtractEnvelope)
        self.checked.extractor = found if isinstance(found, Extractor) else None

    def _load(self) -> None:
        self.checked.load_envelope = self._envelope("load", LoadEnvelope) or LoadEnvelope()
        if is_list(self.checked.part("load")):
            self.checked.loader = check_destinations(self.checked, self.components)
            return
        found = self._component("load", Kind.loader, LoadEnvelope)
        self.checked.loader = found if isinstance(found, Loader) else None

    def _component(self, section: str, kind: Kind, envelope: type[BaseModel]) -> BaseModel | None:
        part, resolved = self.checked.part(section), self.checked.resolved.get(section)
        if part is None or resolved is None:
            return None
        return self.components.section(kind, part, resolved, envelope)

    def _overridden(self, envelope: ExtractEnvelope) -> ExtractEnvelope:
        if not self.settings.overrides:
            return envelope
        recovery = {**dict(envelope.error_recovery), **self.settings.overrides.get("error_recovery", {})}
        try:
            return ExtractEnvelope.model_validate(
                {**dict(envelope), **self.settings.overrides, "error_recovery": recovery}
            )
        except ValidationError as error:
            for details in error.errors(include_url=False):
                key = details["loc"][0]
                message = f"{key} cannot be set to {details['input']!r}: {details['msg']}"
                self.checked.report(Code.invalid_value.at(self.checked.layout.path, None, message))
            return envelope

    def _transform(self) -> None:
        part = self.checked.part("transform")
        if part is None:
            return
        settings = {key: part.data[key] for key in TRANSFORM_SETTINGS if key in part.data}
        found = check_options(TransformEnvelope, settings, Place(part, "transform"), self.checked.report)
        self.checked.transform_envelope = found or TransformEnvelope()
        self.checked.steps = authored_steps(part, self.components)
        for step in self.checked.steps:
            if not step.unusable:
                step.operation = self.components.operation(step.type, part, step.path, step.value)
