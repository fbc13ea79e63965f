"""``etlctl schema`` and ``etlctl reference``: JSON Schemas for editors, and the files generated from the code."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import output

if TYPE_CHECKING:
    from etlctl.catalog import Catalog


class ShownSection(StrEnum):
    """Files of a contract."""

    extract = "extract"
    transform = "transform"
    load = "load"
    contract = "contract"
    pipeline = "pipeline"
    cases = "cases"


def schema(
    section: Annotated[ShownSection, typer.Argument(metavar="SECTION", help="Which file of a contract.")],
) -> None:
    """Print the JSON Schema of a contract file: extract, transform, load, contract, pipeline or cases.

    It covers the components of this build, of installed plug-ins and of the workspace.

    Example: etlctl schema extract > extract.schema.json
    """
    from etlctl.contract.reference import schema_text  # noqa: PLC0415

    with output.errors_as_exit_codes():
        catalog = _catalog(plug_ins=True)
        _warn_of_unreadable(catalog)
        output.data(schema_text(section.value, catalog))


def reference(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the files stand.")] = Path("schemas"),
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file is not up to date.")
    ] = False,
) -> None:
    """Write the JSON Schemas and the reference page of all components.

    Installed plug-ins are left out, so that the files depend on this folder and the build alone.

    Examples: etlctl reference  ·  etlctl reference --check
    """
    from etlctl.contract.reference import stale_files, write_files  # noqa: PLC0415

    with output.errors_as_exit_codes():
        catalog = _catalog(plug_ins=False)
        names = stale_files(folder, catalog) if check else write_files(folder, catalog)
        for name in names:
            output.data((folder / name).as_posix())
        if not names:
            output.say(f"{folder.as_posix()} is up to date")
        elif check:
            output.say(f"not up to date: {len(names)} files in {folder.as_posix()}; run 'etlctl reference'")
            raise typer.Exit(1)


def _catalog(*, plug_ins: bool) -> Catalog:
    from etlctl.catalog import Catalog, find_workspace  # noqa: PLC0415

    return Catalog.for_workspace(find_workspace(Path.cwd()).root, plug_ins=plug_ins)


def _warn_of_unreadable(catalog: Catalog) -> None:
    from etlctl.errors import EtlctlError  # noqa: PLC0415

    for entry in catalog.entries():
        try:
            entry.options_model()
        except EtlctlError as error:
            output.warn(str(error))
