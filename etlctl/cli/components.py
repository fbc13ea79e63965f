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

    from etlctl.catalog import Catalog, ComponentDocs, Entry, OptionDoc


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
        str | None,
        typer.Argument(
            metavar="[KIND]", help="extractors, operations or loaders; or the type of a component.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="One component, in detail.", show_default=False)
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """List the components a contract may name, or show one in detail.

    Examples: etlctl components  ·  etlctl components loaders  ·  etlctl components extractor file  ·  etlctl components
    filter
    """
    from etlctl.catalog import Catalog, Kind, find_workspace  # noqa: PLC0415

    with output.errors_as_exit_codes():
        catalog = Catalog.for_workspace(find_workspace(Path.cwd()).root)
        chosen = Kind(ShownKind(kind).removesuffix("s")) if kind in set(ShownKind) else None
        if kind is not None and chosen is None:
            for entry in _of_type(catalog, kind if name is None else f"{kind} {name}"):
                _show(entry, as_json=json)
        elif chosen is not None and name is not None:
            _show(catalog.find(chosen, name), as_json=json)
        else:
            _list(catalog.entries(chosen), as_json=json)


def _of_type(catalog: Catalog, asked: str) -> list[Entry]:
    """Return the one component of a type.

    Raises:
        typer.BadParameter: There is none, or several kinds have one.
    """
    entries = catalog.entries(None)
    found = [entry for entry in entries if entry.type == asked]
    if len(found) == 1:
        return found
    if found:
        choice = " or ".join(f"'etlctl components {entry.kind} {asked}'" for entry in found)
        raise typer.BadParameter(f"there is more than one {asked!r}: {choice}", param_hint="KIND")
    import difflib  # noqa: PLC0415

    kinds = ("extractors", "operations", "loaders")
    close = difflib.get_close_matches(asked, [*kinds, *(entry.type for entry in entries)], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise typer.BadParameter(
        f"{asked!r} is no component, nor one of {', '.join(kinds)}; {hint}see: etlctl components", param_hint="KIND"
    )


def _plain(text: str) -> str:
    """Return a text of the reference for a terminal: what it marks as code stands in single quotes."""
    return text.replace("``", "'")


def _list(entries: Sequence[Entry], *, as_json: bool) -> None:
    rows = [(str(entry.kind), entry.type, entry.origin, _summary(entry)) for entry in entries]
    columns = ("kind", "type", "origin", "summary")
    if as_json:
        output.json_data([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        output.table(columns, [tuple(map(_plain, row)) for row in rows])


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
    output.data(f"{entry.kind} {entry.type} ({entry.origin})\n\n{_plain(docs.summary)}")
    if docs.description:
        output.data(f"\n{_plain(docs.description)}")
    if docs.options:
        output.data("")
        output.table(("option", "type", "default", "what it does"), list(_option_rows(docs.options, "")))
    for example in docs.examples:
        output.data(f"\nExample: {example.title}\n\n")
        output.data("\n".join(f"    {line}" for line in example.yaml.strip("\n").split("\n")))


def _option_rows(options: Sequence[OptionDoc], prefix: str) -> Iterator[tuple[str, str, str | None, str]]:
    for option in options:
        default = "required" if option.required else option.default
        yield f"{prefix}{option.name}", option.type, default, _plain(option.help)
        yield from _option_rows(option.options, f"{prefix}{option.name}.")


def _as_data(entry: Entry, docs: ComponentDocs) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    head = {"kind": str(entry.kind), "type": entry.type, "origin": entry.origin}
    return {**head, "file": str(entry.path) if entry.path else None, **asdict(docs)}
