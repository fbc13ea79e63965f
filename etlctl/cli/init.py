"""``etlctl init``: a workspace with a demo contract, or a contract inferred from a data file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etlctl.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etlctl.catalog import Workspace
    from etlctl.contract.inference import Inferred


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Folder of the workspace; made when missing.", show_default=False)
    ] = Path(),
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Write a contract for this data file, with inferred types."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of that contract; the file's name by default.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Infer from the first N records, not the whole file."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of the contract that exist.")] = False,
) -> None:
    """Make a runnable workspace with a demo contract, or write a contract for a data file.

    With --from the file is read once, and the types that every value has are written down for you to read and change.

    Examples: etlctl init shop  ·  etlctl init --from data/orders.csv  ·  etlctl init shop --from orders.csv --name orders
    """  # noqa: E501
    if source is None and (name is not None or sample is not None):
        option = "--name" if name is not None else "--sample"
        raise typer.BadParameter(f"it goes with --from FILE: etlctl init --from data.csv {option} …", param_hint=option)
    with output.errors_as_exit_codes():
        if source is None:
            _demo(directory, force=force)
        else:
            _from_file(directory, source, name, sample, force=force)


def _demo(directory: Path, *, force: bool) -> None:
    from etlctl.contract.scaffold import demo_files, workspace_files  # noqa: PLC0415

    files = {**workspace_files(_workspace_name(directory)), **demo_files()}
    _write(directory, files, force=force)
    _next(directory, "contracts/demo")


def _from_file(directory: Path, source: Path, name: str | None, sample: int | None, *, force: bool) -> None:
    import asyncio  # noqa: PLC0415

    from etlctl.catalog import find_workspace  # noqa: PLC0415
    from etlctl.contract.inference import infer  # noqa: PLC0415
    from etlctl.contract.scaffold import contract_files, contract_name, workspace_files  # noqa: PLC0415

    chosen = contract_name(source, name)
    workspace = find_workspace(directory)
    root = _root(directory, workspace)
    contracts = workspace.config.contracts if workspace.config_file is not None else "contracts"
    inferred = asyncio.run(infer(source, sample=sample))
    files = contract_files(inferred, source, root, chosen, contracts)
    if workspace.config_file is None:
        files = {**workspace_files(_workspace_name(root)), **files}
    _write(root, files, force=force)
    _summary(inferred)
    _next(root, f"{contracts}/{chosen}")


def _root(directory: Path, workspace: Workspace) -> Path:
    """Return the folder of the workspace as the user would write it."""
    if workspace.config_file is None or workspace.root == directory.absolute():
        return directory
    return workspace.root


def _workspace_name(directory: Path) -> str:
    return directory.resolve().name or "workspace"


def _write(root: Path, files: dict[str, str], *, force: bool) -> None:
    from etlctl.catalog import Catalog  # noqa: PLC0415
    from etlctl.contract.scaffold import side_files, write_files  # noqa: PLC0415

    catalog = Catalog.for_workspace(root if root.is_dir() else None)
    done = write_files(root, files, optional=side_files(catalog), force=force)
    for path in done.written:
        output.data(f"wrote {path.as_posix()}")
    if not done.written:
        output.say(f"everything is there already: nothing to write in {root.as_posix()}")
    ignore = root / ".gitignore"
    if ignore in done.kept and ".etlctl/" not in ignore.read_text(encoding="utf-8", errors="replace"):
        output.say(f"note: {ignore.as_posix()} exists; add the lines '.etlctl/' and 'out/' to it")


def _summary(inferred: Inferred) -> None:
    converted = sum(found.convert is not None for found in inferred.fields)
    extent = "all" if inferred.complete else "the first"
    fields = f"{len(inferred.fields)} fields, {converted} of them get a type"
    output.say(f"looked at {extent} {inferred.records:,} records: {fields}")
    if inferred.broken:
        output.warn(
            f"{inferred.broken:,} records cannot be read; a run sends them to the dead letters and exits with 4"
        )


def _next(root: Path, contract: str) -> None:
    where = (root / contract).as_posix()
    commands: Sequence[Sequence[str]] = (
        ["etlctl", "validate", where],
        ["etlctl", "preview", where],
        ["etlctl", "run", where],
    )
    output.data("\nNext:")
    for command in commands:
        output.data(f"  {shlex.join(command)}")
