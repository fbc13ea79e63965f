"""The sources of a case: records written in it, or a file read as the contract reads its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr, ValidationError

from etlctl.batch import Batch, Record
from etlctl.contract.cases import CaseFile
from etlctl.errors import FatalError
from etlctl.kit.codecs import format_of, reader_for
from etlctl.kit.sources import open_sources
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor

if TYPE_CHECKING:
    from etlctl.catalog import Catalog
    from etlctl.contract.model import Contract, Step

_FILE = "file"
_TEXT_FORMATS = frozenset({"csv", "tsv", "xml"})


class GivenRecords(Extractor):
    """Records written in a case. It is no component of contracts: the engine gets it in place of the contract's."""

    tabular: ClassVar[bool | None] = False

    _records: Sequence[Record] = PrivateAttr(default=())

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Return the source of some records; each comes from ``given[n]``, n from 0."""
        made = cls()
        made._records = records
        return made

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield the records from the position on; the position is the number of records before it."""
        done = int(ctx.position["done"]) if ctx.position else 0
        if done < len(self._records):
            rows = [deepcopy(dict(record)) for record in self._records[done:]]
            yield Batch.of_rows(rows, {"done": len(self._records)}, locate=lambda number: f"given[{done + number}]")


def given_steps(
    contract: Contract, given: Mapping[str, Sequence[Record] | CaseFile], catalog: Catalog
) -> tuple[Step, ...]:
    """Return the steps of a contract, those that read a source of their own with what a case gives in its place.

    Args:
        contract: The contract.
        given: The records, or the file, by the step: its name, or that of its operation.
        catalog: Where the file extractor is found.

    Raises:
        FatalError: There is no such step, or one would read something else than a local file.
    """
    left, steps = dict(given), []
    for step in contract.steps:
        operation = step.operation
        own = {option: sources for option in operation.nested if (sources := operation.sources(option))}
        name = next((name for name in (step.name, step.name.rpartition(".")[2]) if name in given), None)
        if own and name is not None:
            left.pop(name, None)
            stand_ins = {option: (_stand_in(contract, given[name], one[0], catalog),) for option, one in own.items()}
            steps.append(replace(step, operation=operation.with_sources(stand_ins, str(contract.base_dir))))
            continue
        for source in (source for sources in own.values() for source in sources):
            _must_be_local(step.name, source, contract.base_dir)
        steps.append(step)
    if left:
        raise FatalError(
            f"the case gives a source to {', '.join(left)}, which is no step with a source of its own",
            help=f"the steps are {', '.join(step.name for step in contract.steps) or 'none'}",
        )
    return tuple(steps)


def _stand_in(
    contract: Contract, given: Sequence[Record] | CaseFile, instead_of: Extractor, catalog: Catalog
) -> Extractor:
    if isinstance(given, CaseFile):
        return source_of_file(contract, given.file, catalog, instead_of)
    return GivenRecords.of(given)


def _must_be_local(step: str, source: Extractor, base_dir: Path) -> None:
    try:
        local = bool(source.places(base_dir))
    except FatalError:  # files that are not there: reading them says which
        local = True
    if not local:
        kind = type(source).__module__.rpartition(".")[2]
        raise FatalError(
            f"{step} reads from {kind}, and a case fetches nothing",
            help=f"give what it reads in the case: sources: {{{step.rpartition('.')[2]}: [{{…}}]}}",
        )


def source_of_file(contract: Contract, name: str, catalog: Catalog, instead_of: Extractor | None = None) -> Extractor:
    """Return what reads a file in place of the contract's own source.

    A contract that reads files keeps its options, as long as the file is of the format they are for.

    Args:
        contract: The contract.
        name: The file, relative to the contract's folder.
        catalog: Where the file extractor is found.
        instead_of: Which source; the contract's own if left out.

    Raises:
        FatalError: The file is not there, or its format cannot be told.
    """
    from etlctl.catalog import Kind  # noqa: PLC0415

    path = contract.base_dir / name
    if not path.is_file():
        raise FatalError(f"the case gives the file {path}, which is not there")
    like = instead_of or contract.extractor
    if (contract.extract_type if instead_of is None else type(like).__module__.rpartition(".")[2]) == _FILE:
        own: dict[str, Any] = like.model_dump(mode="json", exclude_unset=True)
        told = format_of(name)
        kept = {key: value for key, value in own.items() if key not in {"path", "compression"}}
        if told is not None and own.get("format", "auto") not in {"auto", told}:
            del kept["format"]
        with suppress(ValidationError):  # options of another format than the file's
            return type(like).model_validate_json(json.dumps({**kept, "path": name}))
    model = catalog.find(Kind.extractor, _FILE).options_model(import_code=True)
    try:
        found = model.model_validate_json(json.dumps({"path": name}))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise FatalError(f"the case's file {path} cannot be read: {reason}") from None
    if not isinstance(found, Extractor):
        raise FatalError(f"the extractor {_FILE!r} of this workspace reads no files")
    return found


def read_expected(path: Path) -> tuple[list[Record], bool]:
    """Read a file of expected records.

    Returns:
        The records, and whether the format knows text only, so that every value must be compared as text.

    Raises:
        FatalError: It is not there, cannot be read, or holds what is no record.
    """
    name = format_of(path.name)
    if not path.is_file():
        raise FatalError(f"the expected file {path} is not there", help="etlctl test --update writes .jsonl and .json")
    if name is None:
        raise FatalError(f"the expected file {path} does not tell its format", help="name it .jsonl, .json or .csv")
    rows: list[Record] = []
    for source in open_sources(str(path), path, "auto", list):
        for chunk in reader_for(name, {}).chunks(source, None):
            if chunk.unreadable:
                bad = chunk.unreadable[0]
                raise FatalError(f"{path}: line {bad.line} is no record: {bad.message}")
            rows += chunk.frame.to_dicts() if chunk.frame is not None else chunk.records or []
    return rows, name in _TEXT_FORMATS
