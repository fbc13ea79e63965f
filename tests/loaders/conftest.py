"""Loads batches through the file loader the way the engine does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from etlctl.loaders.file import File
from loading import Loaded, as_batch, context

from etlctl.batch import Batch
from etlctl.sdk import Rejection


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    async def run(
        path: str, batches: Sequence[Any], *, encoded: bool = False, run_id: str = "run_test", **options: Any
    ) -> Loaded:
        warnings: list[str] = []
        writer = await File(path=path, **options).open(context(tmp_path, run_id, warn=warnings.append))
        rejected: list[Rejection] = []
        try:
            for seq, content in enumerate(batches, 1):
                batch = as_batch(content, seq)
                encoder = writer.encoder()
                if encoded and encoder is not None and batch.records is not None:
                    parts = [encoder(batch.records[start : start + 2]) for start in range(0, len(batch.records), 2)]
                    rejected += [one for part in parts for one in part.rejected]
                    batch = Batch(None, None, {}, seq=seq, encoded=parts)
                receipt = await writer.write(batch)
                rejected += receipt.rejected
            return Loaded(await writer.finish(), rejected, warnings)
        except BaseException:
            await writer.abort()
            raise

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip(f"may not mount a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
