"""Whether the process that a run was recorded for still lives on this machine."""

from __future__ import annotations

import platform
from datetime import datetime

_SLACK_SECONDS = 60
"""A process that began this long after the run last reported is another one with the same number."""


def is_gone(host: str, pid: int, seen_at: datetime) -> bool:
    """Tell whether a process is surely gone; of another machine nothing is known.

    Args:
        host: The machine the run was recorded on.
        pid: Its process.
        seen_at: When the run last reported.
    """
    if host != platform.node():
        return False
    import psutil  # noqa: PLC0415

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return process.create_time() > seen_at.timestamp() + _SLACK_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
