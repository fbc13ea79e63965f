"""``run_delta``: run the contract of a name from a moment on, whatever its cursor says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from etlctl.errors import ContractError
from etlctl.orchestrator.incremental import ReadRange
from etlctl.orchestrator.tracker import checked_timestamp


def run_delta(source_name: str, since_timestamp: str, verbose: bool = False) -> dict[str, Any]:
    """Run the incremental contract of a name in the workspace one stands in, from a moment on.

    What lies after that moment is read and loaded again, even if runs before have loaded it; the contract's cursor
    moves on as after any run, and never back.

    Args:
        source_name: Name of a contract, or of its folder.
        since_timestamp: ISO 8601 date or datetime to begin at, itself included.
        verbose: Say on stdout what runs, and print progress to stderr.

    Returns:
        ``status`` (``succeeded``, ``partial``, ``failed``, …), ``from`` (the moment), ``to`` (where the cursor stands
        afterwards; None: nowhere), ``records`` (loaded), ``rejected``, ``run_id``, ``contract``, and ``error`` (None
        when it went well).

    Raises:
        ValueError: The moment is no timestamp.
        ContractError: There is no contract of that name, it does not hold, or it is not incremental.
        RuntimeError: An event loop is running in this thread; use ``ETLOrchestrator.run`` there.
    """
    from etlctl.orchestrator.orchestrator import ETLOrchestrator  # noqa: PLC0415

    since = checked_timestamp(since_timestamp)
    path = find_contract(source_name)
    if verbose:
        sys.stdout.write(f"[delta] running {source_name} from {since}\n")
        sys.stdout.flush()
    orchestrator = ETLOrchestrator(path, verbose=verbose)
    result = asyncio.run(orchestrator.run(read=ReadRange(low=since), trigger="delta"))
    return {
        "status": str(result.status),
        "from": since,
        "to": _cursor_after(path, since),
        "records": result.counts.loaded,
        "rejected": result.counts.rejected,
        "run_id": result.run_id,
        "contract": result.contract,
        "error": result.error,
    }


def find_contract(name: str) -> Path:
    """Return the contract of a name in the workspace one stands in: its folder's name, or what it calls itself.

    Raises:
        ContractError: There is none, or more than one.
    """
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
    from etlctl.contract.layout import find_contracts, read_layout  # noqa: PLC0415

    folder = find_workspace(Path.cwd()).contracts_dir
    known = list(find_contracts(folder)) if folder.is_dir() else []
    named = {path: _name(read_layout(path)) for path in known}
    found = [path for path in known if named[path] == name] or [path for path in known if path.stem == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ContractError(f"{len(found)} contracts are named {name!r}: {', '.join(map(str, found))}")
    names = ", ".join(sorted(set(named.values()))) or "none"
    raise ContractError(f"there is no contract {name!r} in {folder}", help=f"contracts there: {names}")


def _name(layout: Any) -> str:
    part = layout.sections.get("contract")
    own = part.data.get("name") if part is not None and isinstance(part.data, dict) else None
    return own if isinstance(own, str) else str(layout.default_name)


def _cursor_after(path: Path, since: str) -> str | None:
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
    from etlctl.contract.compile import load_contract  # noqa: PLC0415
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    contract = load_contract(path, cursor=since)
    if contract.increment is None:
        return None
    with open_ledger(None, find_workspace(path).state_dir, create=False) as ledger:
        found = ledger.cursor(contract.increment.stream, contract.increment.window.field)
    return found.value if found is not None else None
