"""Progress: turns what the stages did into events, and never lets a listener hurt the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from etlctl.clock import Clock
from etlctl.run import ETLProgress

ProgressCallback = Callable[[ETLProgress], object]
_MIB = 1 << 20
_SAMPLE_SECONDS = 0.02
"""Several stages ask after each batch; the answer is good for so long."""


def resident_bytes() -> int:
    """Return the resident memory of the process in bytes."""
    if sys.platform != "linux":
        import psutil  # noqa: PLC0415

        return int(psutil.Process().memory_info().rss)
    # As psutil does it, without the time that importing it takes.
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class ProgressReporter:
    """Sends progress events to a callback.

    Args:
        callback: Gets every event; what it raises is reported once through ``warn`` and otherwise ignored.
        warn: Reports a callback that raises.
        clock: Where the time comes from.
    """

    def __init__(self, callback: ProgressCallback | None, warn: Callable[[str], None], clock: Clock) -> None:
        self._callback = callback
        self._warn = warn
        self._clock = clock
        self._began = clock.monotonic()
        self._broken = False
        self._sampled, self._used_mb = float("-inf"), 0.0
        self.peak_memory_mb = 0.0

    def memory_mb(self) -> float:
        """Return the resident memory of the process in MiB, as it was a moment ago, and remember the peak."""
        now = self._clock.monotonic()
        if now - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = now
            self._used_mb = resident_bytes() / _MIB
            self.peak_memory_mb = max(self.peak_memory_mb, self._used_mb)
        return self._used_mb

    def send(self, stage: str, batch_num: int, records: int, errors: int, *, total: int | None = None) -> None:
        """Send one event.

        Args:
            stage: ``extract``, ``transform``, ``load`` or ``done``.
            batch_num: Number of the batch, from 1.
            records: Source records handled so far.
            errors: Records rejected so far.
            total: Source records in all, when known.
        """
        if self._callback is None:
            return
        elapsed = self._clock.monotonic() - self._began
        remaining = elapsed * (total - records) / records if total is not None and records else None
        event = ETLProgress(
            stage=stage,
            batch_num=batch_num,
            records_processed=records,
            records_total=total,
            elapsed_seconds=elapsed,
            estimated_remaining_seconds=remaining,
            memory_usage_mb=self.memory_mb(),
            error_count=errors,
        )
        try:
            self._callback(event)
        except Exception as error:  # noqa: BLE001 - a listener may raise anything, and must not stop the run
            if not self._broken:
                self._broken = True
                self._warn(f"the progress callback raised {type(error).__name__}: {error}; the run goes on")
