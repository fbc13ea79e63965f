"""How much memory the process holds, asked often: an evaluation that makes too much of it has to be stopped in time."""

from __future__ import annotations

import os
import sys
from functools import lru_cache


def held() -> int:
    """Return the bytes of memory the process holds."""
    if sys.platform != "linux":
        import psutil  # noqa: PLC0415

        return int(psutil.Process().memory_info().rss)
    return int(os.pread(_statm(os.getpid()), 200, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")


@lru_cache(maxsize=1)
def _statm(process: int) -> int:  # noqa: ARG001 - a child of this process has a file of its own
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
