"""``etlctl doctor``: is everything here that a run needs, and what to do where it is not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson
from etlctl.frozen import frozen

_EXTRAS = {"excel": ("fastexcel", "xlsxwriter"), "postgres": ("psycopg",)}
_ROOM_MB = 500


@frozen
class Finding:
    """One thing looked at: ``ok``, ``note`` (optional, absent) or ``problem``."""

    state: str
    what: str
    detail: str
    help: str | None = None


def doctor(
    directory: Annotated[Path, typer.Argument(help="A folder of the workspace.")] = Path(),
    *,
    json: AsJson = False,
) -> None:
    """Check Python, packages, extras, workspace, components, contracts, state store and disk space.

    Example: etlctl doctor
    """
    findings = [finding for look in _LOOKS for finding in _guarded(look, directory)]
    if json:
        output.json_data([_plain(finding) for finding in findings])
    else:
        for finding in findings:
            output.data(f"{finding.state:<8} {finding.what}: {finding.detail}")
            if finding.help:
                output.data(f"{'':<8} help: {finding.help}")
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def _plain(finding: Finding) -> dict[str, Any]:
    return {"state": finding.state, "what": finding.what, "detail": finding.detail, "help": finding.help}


def _guarded(look: Callable[[Path], Iterator[Finding]], directory: Path) -> Iterator[Finding]:
    """A check that breaks is itself a finding: the doctor must not die of the disease."""
    from etlctl.errors import EtlctlError  # noqa: PLC0415

    try:
        yield from look(directory)
    except EtlctlError as error:
        yield Finding("problem", look.__name__.strip("_"), str(error), error.help)
    except Exception as error:  # noqa: BLE001
        yield Finding("problem", look.__name__.strip("_"), f"{type(error).__name__}: {error}")


def _python(_directory: Path) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "python", version)


def _packages(_directory: Path) -> Iterator[Finding]:
    import polars as pl  # noqa: PLC0415

    yield Finding("ok", "polars", f"{pl.__version__}, {pl.thread_pool_size()} threads")
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        if missing:
            help_text = f"pip install 'etlctl[{extra}]'"
            yield Finding("note", f"extra {extra}", f"not installed ({', '.join(missing)})", help_text)
        else:
            yield Finding("ok", f"extra {extra}", "installed")


def _workspace(directory: Path) -> Iterator[Finding]:
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415

    workspace = find_workspace(directory.resolve())
    if (workspace.root / "etlctl.yaml").is_file():
        yield Finding("ok", "workspace", str(workspace.root))
    else:
        help_text = "etlctl init makes one; without it the state is kept where you stand"
        yield Finding("note", "workspace", f"no etlctl.yaml in {workspace.root} or above", help_text)


def _components(directory: Path) -> Iterator[Finding]:
    from etlctl.catalog import Catalog  # noqa: PLC0415
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415

    catalog = Catalog.for_workspace(find_workspace(directory.resolve()).root)
    own = [entry for entry in catalog.entries() if not entry.trusted]
    for entry in own:
        entry.load()
    yield Finding("ok", "components", f"{len(catalog.entries())} found, {len(own)} of them the workspace's own")


def _contracts(directory: Path) -> Iterator[Finding]:
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415

    root = find_workspace(directory.resolve()).root
    folder = root / "contracts"
    if not folder.is_dir():
        yield Finding("note", "contracts", f"no folder {folder}", "etlctl init makes a demo contract")
        return
    found = sorted({path.parent for path in folder.rglob("extract.yaml")})
    yield Finding("ok", "contracts", f"{len(found)} in {folder}; check them with: etlctl validate {folder.name}")


def _state(directory: Path) -> Iterator[Finding]:
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    workspace = find_workspace(directory.resolve())
    ledger = open_ledger(state_dir=workspace.state_dir)
    try:
        yield Finding(
            "ok", "state", f"{ledger.description}, {len(ledger.runs(limit=1000))} of the latest 1,000 runs kept"
        )
    finally:
        ledger.close()


def _disk(directory: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(directory.resolve()).free >> 20
    if free < _ROOM_MB:
        yield Finding(
            "problem", "disk", f"only {free} MiB free", "make room: destinations need space beside the old data"
        )
    else:
        yield Finding("ok", "disk", f"{free:,} MiB free")


_LOOKS: tuple[Callable[[Path], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _workspace,
    _components,
    _contracts,
    _state,
    _disk,
)
