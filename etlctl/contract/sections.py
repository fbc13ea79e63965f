"""The sections of a contract as models: what stands beside a component's own options, and ``contract.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from etlctl.contract.data_rules import RecordSchema, RunChecks
from etlctl.contract.incremental_section import IncrementalSection
from etlctl.contract.section import Section as Section  # noqa: PLC0414 - the base of all of them, offered here
from etlctl.run import ProcessingMode


class InputParam(Section):
    """A parameter that a run of the contract takes: ``etlctl run … -p name=value``."""

    type: Literal["string", "integer", "float", "boolean", "date", "datetime"] = "string"
    """What the value must be."""
    required: bool = False
    """A run without a value is refused."""
    default: str | int | float | bool | None = None
    """Value when none is given."""
    description: str | None = None
    """What it means, for the reader."""


def _named(params: Any) -> Any:
    """Return parameters by name; a list of names declares texts that may be left out."""
    if isinstance(params, list) and all(isinstance(name, str) for name in params):
        return {name: {} for name in params}
    return params


class Checkpointing(Section):
    """When the run's place is remembered durably."""

    enabled: bool = True
    """Remember the place at all; without it a run that did not finish cannot be resumed."""
    interval: int | None = Field(default=None, ge=1)
    """Batches between two checkpoints; when left out, each batch where that costs little (databases), else every few seconds."""  # noqa: E501


class ErrorRecovery(Section):
    """What happens when something fails on the way."""

    max_retries: int | None = Field(default=None, ge=0, le=1000)
    """How often the same batch is tried again; twice, and only after failures that may pass, when left out."""
    backoff: float = Field(default=1.0, ge=0, strict=False)
    """Seconds before the first retry; the n-th waits n times as long."""
    max_backoff: float = Field(default=60.0, ge=0, strict=False)
    """Seconds to wait at most."""
    error_threshold: float | None = Field(default=None, ge=0, le=1, strict=False)
    """Share of batches (0 to 1) that may fail for good; their records become dead letters. Also of rejected records."""


class ExtractEnvelope(Section):
    """Keys of ``extract.yaml`` that are the same for every extractor."""

    input_params: Annotated[
        dict[str, InputParam], BeforeValidator(_named, json_schema_input_type=dict[str, InputParam] | list[str])
    ] = Field(default_factory=dict)
    """Parameters a run takes."""
    processing_mode: Annotated[ProcessingMode, Field(strict=False)] = ProcessingMode.full
    """``full`` publishes once with the whole set in view; ``streaming`` commits batch by batch in constant memory; ``hybrid`` is streaming that reads further ahead."""  # noqa: E501
    batch_size: int = Field(default=50_000, ge=1)
    """Records per batch: the unit of commit, progress and retry."""
    max_memory_mb: int | None = Field(default=None, ge=64)
    """Memory budget of the process in MiB."""
    checkpoint: Checkpointing = Checkpointing()
    """When the run's place is remembered durably."""
    error_recovery: ErrorRecovery = ErrorRecovery()
    """What happens when something fails on the way."""
    max_records: int | None = Field(default=None, ge=0)
    """Stop after so many source records."""
    incremental: IncrementalSection | None = None
    """Read what is new since the run before; when left out each run reads everything."""


class TransformEnvelope(Section):
    """Keys of ``transform.yaml`` that say how the steps run, not what they do."""

    workers: int = Field(default=1, ge=1, le=256)
    """Processes that run the steps that work record by record, on rows: worth it from some 20 µs of Python a record; 1: the run's own process."""  # noqa: E501


class DeadLetterBudget(Section):
    """How many rejected records are acceptable; past it the run fails with exit code 5."""

    max: int | None = Field(default=None, ge=0)
    """Rejected records allowed in one run."""
    max_percent: float | None = Field(default=None, ge=0, le=100)
    """Share of the source records allowed, in percent, judged when the run ends (and from 1,000 records on)."""
    path: str | None = Field(default=None, min_length=1)
    """File of JSON lines that gets the rejected records of a run when it ends, relative to the contract's folder; they are in the ledger anyway."""  # noqa: E501


class ReplaceGuardSection(Section):
    """Keeps a replace from throwing good data away."""

    max_shrink_percent: float | None = Field(default=None, ge=0, le=100, strict=False)
    """By how many percent the number of records may go down; any when left out."""
    allow_empty: bool = False
    """Replacing records by none at all is fine."""


class DestinationEnvelope(Section):
    """Keys of one destination, where ``load:`` is a list of several; its loader's own options stand beside them."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Name in reports and dead letters; its type when left out, numbered when that is taken."""
    where: str | dict[str, Any] | list[Any] | None = None
    """Which records it gets, all when left out: a JSONata expression, or a condition as of ``filter``."""


class LoadEnvelope(Section):
    """Keys of ``load.yaml`` that are the same for every loader."""

    dead_letters: DeadLetterBudget | None = None
    """How many rejected records are acceptable. Without it (or with nothing but a path) any rejected record makes the run partial (exit code 4)."""  # noqa: E501
    replace_guard: ReplaceGuardSection = ReplaceGuardSection()
    """Keeps a replace from emptying or shrinking what is there."""

    @property
    def budget(self) -> DeadLetterBudget | None:
        """How many rejected records are acceptable; where to write them says nothing about that."""
        letters = self.dead_letters
        return None if letters is None or letters.model_fields_set == {"path"} else letters


class ContractSection(Section):
    """``contract.yaml``: the contract's name card and the schema of what it loads."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    """Name in the ledger; the folder's name when left out."""
    version: str | None = None
    """Version of the contract, such as "1.2.0"."""
    description: str | None = None
    """What the contract is for."""
    owner: str | None = None
    """Who answers for it."""
    tags: tuple[str, ...] = Field(default=(), strict=False)
    """Words to select contracts by."""
    record_schema: RecordSchema | None = Field(default=None, alias="schema")
    """What a loaded record must look like."""
    checks: RunChecks | None = None
    """What the records of a run must be like as a whole, judged before anything is published."""
