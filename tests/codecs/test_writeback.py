"""The hint that lets the system begin to write early: which ranges it is given, and that no byte is harmed."""

import os
from pathlib import Path

import pytest

from etlctl.kit.byte_sink import ByteSink
from etlctl.kit.writeback import Writeback

STEP = 8 << 20


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the system was told, as (start, length)."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _file, start, length, _advice: told.append((start, length)), raising=False
    )
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    return told


def test_every_byte_is_hinted_once_and_small_growth_never(ranges: list[tuple[int, int]]) -> None:
    writeback = Writeback()
    for length in (1, STEP - 1, STEP, STEP + 1, 3 * STEP, 3 * STEP):
        writeback.grown(0, length)
    assert ranges == [(0, STEP), (STEP, 2 * STEP)]


def test_without_the_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    Writeback().grown(0, 10 * STEP)


@pytest.mark.parametrize("direct", [True, False])
def test_a_sink_hints_what_it_wrote_and_the_file_is_whole(
    tmp_path: Path, ranges: list[tuple[int, int]], direct: bool
) -> None:
    block = bytes(range(256)) * 4096 * 3
    sink = ByteSink.create(tmp_path / "file")
    for _ in range(7):
        file = sink.direct() if direct else None
        if file is not None:
            file.write(block)
            sink.wrote()
        else:
            sink.write(block)
    assert sink.checkpoint() == 7 * len(block)
    sink.close()
    assert (tmp_path / "file").read_bytes() == block * 7
    assert [start for start, _ in ranges] == [0, *[sum(length for _, length in ranges[:end]) for end in (1,)]]
    assert sum(length for _, length in ranges) <= 7 * len(block)
