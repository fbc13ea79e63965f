"""The source of a case: records written in it, or a file read as the contract reads its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr, ValidationError

from etlctl.batch import Batch, Record
from etlctl.errors import FatalError
from etlctl.kit.codecs import format_of, reader_for
from etlctl.kit.sources import open_sources
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor

if TYPE_CHECKING:
    from etlctl.catalog import Catalog
    from etlctl.contract.model import Contract

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


def source_of_file(contract: Contract, name: str, catalog: Catalog) -> Extractor:
    """Return what reads a file in place of the contract's own source.

    A contract that reads files keeps its options, as long as the file is of the format they are for.

    Args:
        contract: The contract.
        name: The file, relative to the contract's folder.
        catalog: Where the file extractor is found.

    Raises:
        FatalError: The file is not there, or its format cannot be told.
    """
    from etlctl.catalog import Kind  # noqa: PLC0415

    path = contract.base_dir / name
    if not path.is_file():
        raise FatalError(f"the case gives the file {path}, which is not there")
    if contract.extract_type == _FILE:
        own: dict[str, Any] = contract.extractor.model_dump(mode="json", exclude_unset=True)
        told = format_of(name)
        kept = {key: value for key, value in own.items() if key not in {"path", "compression"}}
        if told is not None and own.get("format", "auto") not in {"auto", told}:
            del kept["format"]
        with suppress(ValidationError):  # options of another format than the file's
            return type(contract.extractor).model_validate_json(json.dumps({**kept, "path": name}))
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
