"""Where refused records of a chunk came from, also when many others of it could not be read."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from etlctl.batch import Batch, Rejection
from etlctl.engine.applied import Applied, Refused, Tally
from etlctl.engine.chunks import AppliedChunk, ChunkView
from etlctl.sdk.rows import RowRejection


def view_of(size: int, bad: list[int], refused: list[int]) -> ChunkView:
    """A chunk of records {"n": ordinal}; ``refused`` are places among the readable ones."""
    good = sorted(set(range(size)) - set(bad))
    unreadable = [Rejection(n, "extract", "extract", "test.bad", "bad", n) for n in bad]
    source = Batch.of_rows([{"n": n} for n in good], {}, rejected=unreadable)
    refusals = [Refused("step", RowRejection(place, "test.rule", "refused", None)) for place in refused]
    applied = Applied(source.records, None, None, len(good), refusals, [Tally()])
    return ChunkView(AppliedChunk(source, applied, {"at": None, "skip": 0}))


@given(data=st.data(), size=st.integers(1, 30))
def test_a_refused_record_keeps_the_ordinal_it_has_in_the_source(data: st.DataObject, size: int) -> None:
    bad = sorted(data.draw(st.sets(st.integers(0, size - 1))))
    readable = size - len(bad)
    refused = sorted(data.draw(st.sets(st.integers(0, readable - 1)))) if readable else []
    found = [one for one in view_of(size, bad, refused).rejections(0, size, 100) if one.stage == "transform"]
    assert [one.index - 100 for one in found] == [one.raw["n"] for one in found]
    assert len(found) == len(refused)


def test_many_unreadable_and_many_refused_records_take_no_time_that_grows_with_both() -> None:
    size = 60_000
    view = view_of(size, list(range(0, size, 2)), list(range(size // 2)))
    began = time.perf_counter()
    assert sum(1 for _ in view.rejections(0, size, 0)) == size
    assert time.perf_counter() - began < 5
