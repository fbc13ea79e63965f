"""Memory does not grow with the number of records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import asyncio, resource, sys
from pathlib import Path
import polars as pl
from etlctl.batch import Batch
from etlctl.loaders.file import File
from etlctl.sdk import WriteContext

def frame(seq):
    n = pl.int_range(seq * 50_000, (seq + 1) * 50_000, eager=True)
    made = pl.DataFrame({"id": n, "text": n.cast(pl.String) + " of some text", "ratio": n / 7, "more": n * 3 % 1000})
    return made.with_columns(late=n) if seq >= int(sys.argv[3]) else made

async def main():
    writer = await File(path=sys.argv[1]).open(WriteContext(base_dir=Path(sys.argv[4])))
    for seq in range(int(sys.argv[2])):
        batch = Batch.of_frame(frame(seq), {})
        batch.seq = seq + 1
        await writer.write(batch)
    await writer.finish()
asyncio.run(main())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak_mb(folder: Path, name: str, batches: int, late: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, name, str(batches), str(late), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="ru_maxrss")
@pytest.mark.parametrize("name", ["o.parquet", "o.jsonl", "o.csv"])
@pytest.mark.parametrize("late", [10_000, 5], ids=["same columns", "a column comes later"])
def test_three_million_records_need_no_more_than_half_a_million(tmp_path, name, late) -> None:
    few, many = peak_mb(tmp_path, name, 10, late), peak_mb(tmp_path, name, 60, late)
    assert many < few * 1.25 + 20, f"{few} MiB for 0.5 M records, {many} MiB for 3 M"
