"""A compiled contract: everything a run needs, checked and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from etlctl.contract.data_rules import RecordSchema, RunChecks
from etlctl.contract.sections import ExtractEnvelope, LoadEnvelope, TransformEnvelope
from etlctl.cursor import Increment
from etlctl.diagnostics import Diagnostic
from etlctl.frozen import frozen
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.guard import DeclaredField, ReplaceGuard
from etlctl.sdk.loader import Loader
from etlctl.sdk.operation import Operation


@frozen
class Step:
    """One step between reading and loading.

    Attributes:
        name: Where in the contract: ``transform.rename``, ``transform[2].convert``, ``jsonata``, ``check``.
        operation: What it does.
    """

    name: str
    operation: Operation


@frozen
class Contract:
    """A contract ready to run.

    Attributes:
        name: Name in the ledger.
        path: Its folder or file.
        base_dir: Folder that relative paths in it start at.
        extract_type: ``type:`` of the extractor.
        extractor: What reads.
        envelope: The keys of ``extract.yaml`` that are the same for every extractor, overrides applied.
        steps: What happens to records, in order; the schema's checks come last, each named ``check``.
        load_type: ``type:`` of the loader; of several destinations all of them, such as ``sqlite + file``.
        loader: What writes.
        load_envelope: The keys of ``load.yaml`` that are the same for every loader.
        transform_envelope: The keys of ``transform.yaml`` that say how the steps run.
        record_schema: What a loaded record must look like.
        checks: What the records of a run must be like as a whole.
        params: Values of parameters, converted, defaults included.
        secrets: Values to redact in every output.
        part_hashes: SHA-256 of each section's content.
        stream: Contract and parameter set.
        warnings: What ``validate`` would warn about.
        increment: What an incremental run goes by; None: everything is read.
    """

    name: str
    path: Path
    base_dir: Path
    extract_type: str
    extractor: Extractor
    envelope: ExtractEnvelope
    steps: tuple[Step, ...]
    load_type: str
    loader: Loader
    load_envelope: LoadEnvelope
    stream: str
    version: str | None = None
    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    transform_envelope: TransformEnvelope = field(default_factory=TransformEnvelope)
    record_schema: RecordSchema | None = None
    checks: RunChecks | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    part_hashes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    increment: Increment | None = None

    @property
    def fields(self) -> Mapping[str, DeclaredField]:
        """Declared fields of the records to load, in order."""
        if self.record_schema is None:
            return {}
        rules = self.record_schema.fields.items()
        return {name: DeclaredField(str(rule.type), rule.required) for name, rule in rules}

    @property
    def guard(self) -> ReplaceGuard:
        """Keeps a replace from emptying or shrinking what is there."""
        section = self.load_envelope.replace_guard
        return ReplaceGuard(section.max_shrink_percent, section.allow_empty)
