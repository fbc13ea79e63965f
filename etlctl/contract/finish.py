"""Turns a checked contract into the frozen one that runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etlctl.contract.checked import Checked
from etlctl.contract.model import Contract, Step
from etlctl.contract.variables import literal_secrets
from etlctl.diagnostics import Severity
from etlctl.errors import ContractError


def finished(checked: Checked, path: Path) -> Contract:
    """Return the contract.

    Raises:
        ContractError: Something a run needs is missing (never, when no error was reported).
    """
    extractor, loader = checked.extractor, checked.loader
    if extractor is None or loader is None or not checked.complete:
        raise ContractError(f"contract {checked.layout.path} is not complete", checked.diagnostics)
    section = checked.section
    return Contract(
        name=checked.name,
        path=path,
        base_dir=checked.layout.base_dir,
        extract_type=checked.resolved["extract"].data["type"],
        extractor=extractor,
        envelope=checked.envelope.model_copy(update={"input_params": checked.declared}),
        steps=_steps(checked),
        load_type=" + ".join(checked.load_types) or checked.resolved["load"].data["type"],
        loader=loader,
        load_envelope=checked.load_envelope,
        stream=stream_name(checked.name, checked.params),
        version=section.version,
        description=section.description,
        owner=section.owner,
        tags=section.tags,
        transform_envelope=checked.transform_envelope,
        record_schema=section.record_schema,
        checks=section.checks,
        params=dict(checked.params),
        secrets=_secrets(checked),
        part_hashes=_hashes(checked),
        warnings=tuple(found for found in checked.diagnostics if found.severity is Severity.warning),
        increment=checked.increment,
    )


def stream_name(name: str, params: Mapping[str, Any]) -> str:
    """Return the name of the stream of a contract and a parameter set."""
    if not params:
        return name
    text = json.dumps(dict(params), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return f"{name}#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _steps(checked: Checked) -> tuple[Step, ...]:
    steps = [Step(step.name, step.operation) for step in checked.steps if step.operation is not None]
    incremental = checked.envelope.incremental
    if incremental is not None:
        from etlctl.sdk.incremental import STEP as INCREMENTAL  # noqa: PLC0415
        from etlctl.sdk.incremental import Incremental  # noqa: PLC0415

        kind, name = incremental.kind, incremental.cursor_field
        first = Incremental(cursor_field=name, value_type=kind, on_missing=incremental.on_missing)
        steps.insert(0, Step(INCREMENTAL, first))
    schema, checks = checked.section.record_schema, checked.section.checks
    if schema is not None:
        from etlctl.contract.record_check import named_checks  # noqa: PLC0415 - only contracts with one pay for it

        steps += [Step(name, operation) for name, operation in named_checks(schema)]
    if checks is not None:
        from etlctl.contract.run_check import STEP, run_checks  # noqa: PLC0415

        judge = run_checks(checks)
        steps += [Step(STEP, judge)] if judge is not None else []
    return tuple(steps)


def _hashes(checked: Checked) -> dict[str, str]:
    """Return the SHA-256 of each section's content, and of the user's own code that it calls."""
    hashes = {name: part.digest() for name, part in checked.layout.sections.items()}
    for step in checked.steps:
        for path in step.operation.code(checked.layout.base_dir) if step.operation is not None else ():
            hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def _secrets(checked: Checked) -> tuple[str, ...]:
    found = [secret for resolved in checked.resolved.values() for secret in resolved.secrets]
    for section in ("extract", "load"):
        part = checked.part(section)
        if part is not None:
            found += [secret for _, secret, _, _ in literal_secrets(part.data)]
    return tuple(dict.fromkeys(found))
