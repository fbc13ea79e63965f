"""``etlctl components``: which extractors, operations and loaders there are, and what each takes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etlctl.catalog import ComponentDocs, Entry, OptionDoc


class ShownKind(StrEnum):
    """Kinds as people may write them."""

    extractors = "extractors"
    extractor = "extractor"
    operations = "operations"
    operation = "operation"
    loaders = "loaders"
    loader = "loader"


def components(
    kind: Annotated[
        ShownKind | None,
        typer.Argument(metavar="[KIND]", help="extractors, operations or loaders.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="One component, in detail.", show_default=False)
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """List the components a contract may name, or show one in detail.

    Examples: etlctl components  ·  etlctl components loaders  ·  etlctl components extractor file
    """
    from etlctl.catalog import Catalog, Kind, find_workspace  # noqa: PLC0415

    with output.errors_as_exit_codes():
        catalog = Catalog.for_workspace(find_workspace(Path.cwd()).root)
        chosen = Kind(kind.value.removesuffix("s")) if kind is not None else None
        if chosen is not None and name is not None:
            _show(catalog.find(chosen, name), as_json=json)
        else:
            _list(catalog.entries(chosen), as_json=json)


def _list(entries: Sequence[Entry], *, as_json: bool) -> None:
    rows = [(str(entry.kind), entry.type, entry.origin, _summary(entry)) for entry in entries]
    columns = ("kind", "type", "origin", "summary")
    if as_json:
        output.json_data([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        output.table(columns, rows)


def _summary(entry: Entry) -> str:
    """One broken file must not keep the others from being listed."""
    from etlctl.errors import EtlctlError  # noqa: PLC0415

    try:
        return entry.summary
    except EtlctlError as error:
        output.warn(str(error))
        return "(cannot be read)"


def _show(entry: Entry, *, as_json: bool) -> None:
    docs = entry.docs()
    if as_json:
        output.json_data(_as_data(entry, docs))
        return
    output.data(f"{entry.kind} {entry.type} ({entry.origin})\n\n{docs.summary}")
    if docs.description:
        output.data(f"\n{docs.description}")
    if docs.options:
        output.data("")
        output.table(("option", "type", "default", "what it does"), list(_option_rows(docs.options, "")))
    for example in docs.examples:
        output.data(f"\nExample: {example.title}\n\n")
        output.data("\n".join(f"    {line}" for line in example.yaml.strip("\n").split("\n")))


def _option_rows(options: Sequence[OptionDoc], prefix: str) -> Iterator[tuple[str, str, str | None, str]]:
    for option in options:
        default = "required" if option.required else option.default
        yield f"{prefix}{option.name}", option.type, default, option.help
        yield from _option_rows(option.options, f"{prefix}{option.name}.")


def _as_data(entry: Entry, docs: ComponentDocs) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    head = {"kind": str(entry.kind), "type": entry.type, "origin": entry.origin}
    return {**head, "file": str(entry.path) if entry.path else None, **asdict(docs)}
