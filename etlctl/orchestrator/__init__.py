"""The Python face of contracts: ``ETLOrchestrator``."""

from etlctl.orchestrator.orchestrator import ETLOrchestrator
from etlctl.run import ETLProgress, RunResult

__all__ = ["ETLOrchestrator", "ETLProgress", "RunResult"]
