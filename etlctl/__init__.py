"""etlctl: declarative data pipelines, checked before they run, streamed, balanced and resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlctl.orchestrator import ETLOrchestrator
    from etlctl.orchestrator.delta import run_delta
    from etlctl.orchestrator.storage import Storage
    from etlctl.orchestrator.tracker import DeltaTracker
    from etlctl.run import ETLProgress, RunResult

__version__ = "0.1.0"

__all__ = ["DeltaTracker", "ETLOrchestrator", "ETLProgress", "RunResult", "Storage", "__version__", "run_delta"]

_HERE = Path(__file__).parent
if not (_HERE / "extractors").is_dir() and (_HERE.parent / "extractors").is_dir():
    # A checkout that was not installed: the component folders stand beside the package, not inside it.
    __path__.append(str(_HERE.parent))

_WHERE = {
    "DeltaTracker": "etlctl.orchestrator.tracker",
    "ETLOrchestrator": "etlctl.orchestrator",
    "ETLProgress": "etlctl.run",
    "RunResult": "etlctl.run",
    "Storage": "etlctl.orchestrator.storage",
    "run_delta": "etlctl.orchestrator.delta",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'etlctl' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
