"""Records that are still text and go straight through the steps end as those that were read first."""

from __future__ import annotations

import asyncio
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etlctl import ETLOrchestrator
from etlctl.engine.cutter import Cutter
from etlctl.engine.pipeline import Pipeline
from etlctl.kit.codecs.jsonl_reader import JsonlReader
from etlctl.kit.sources import open_sources
from etlctl.state import open_ledger

STEPS = """\
transform:
- filter: {field: n, operator: lt, value: 90}
- jsonata: {expression: 'n % 7 = 0 ? [$, {"n": n, "twin": true}] : (n % 11 = 0 ? n : $merge([$, {"seen": true}]))'}
- convert: {word: integer}
"""

good = st.builds(
    lambda n, word, deep: json.dumps({"n": n, "word": word, "deep": deep}),
    st.integers(0, 100),
    st.sampled_from(["1", "22", "x", "", "007"]),
    st.sampled_from([None, [1, {"a": 2.5}], {"b": "ü"}, 0.1]),
)
odd = st.sampled_from(
    [
        "",
        "   ",
        "[1]",
        '{"n": 1',
        "7",
        '{"n": 1, "n": 2}',
        '{"n": 1.00000000000000000001}',
        '{"n": 12345678901234567890123}',
        '{"n": 3}  ',
    ]
)


def written(folder: Path, lines: list[str], batch: int, mode: str) -> Path:
    (folder / "etlctl.yaml").write_text("")
    contract = folder / "c"
    contract.mkdir()
    text = f"type: file\npath: in.jsonl\nbatch_size: {batch}\nprocessing_mode: {mode}\n"
    (contract / "extract.yaml").write_text(text)
    (contract / "transform.yaml").write_text(STEPS)
    (contract / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    (contract / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return contract


def outcome(contract: Path, **options: Any) -> tuple[Any, ...]:
    """Return everything a run leaves: what it wrote, its counts and its dead letters."""
    result = asyncio.run(ETLOrchestrator(contract_dir=contract, **options).run())
    out = contract / "out.jsonl"
    with open_ledger(f"sqlite:///{contract.parent / '.etlctl' / 'state.db'}") as ledger:
        letters = [
            (one.seq, one.index, one.stage, one.step, one.rule, one.message, one.field, one.location, one.raw)
            for one in ledger.dead_letters(run_id=result.run_id)
        ]
    steps = [(one.name, one.records_in, one.filtered, one.added, one.rejected, one.records_out) for one in result.steps]
    return out.read_bytes(), result.counts, result.batches, steps, sorted(letters, key=str)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.one_of(st.lists(good, max_size=60), st.lists(st.one_of(good, good, good, odd), max_size=60)),
    batch=st.sampled_from([1, 3, 10, 1000]),
    mode=st.sampled_from(["streaming", "full"]),
)
def test_nothing_tells_whether_records_were_deferred(lines: list[str], batch: int, mode: str) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        deferred = outcome(written(Path(one), lines, batch, mode))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pipeline, "_may_defer", property(lambda _self: False))
            read_first = outcome(written(Path(other), lines, batch, mode))
        assert deferred == read_first


def test_good_lines_are_deferred_at_all(tmp_path: Path) -> None:
    contract = written(tmp_path, [json.dumps({"n": n}) for n in range(500)], 100, "streaming")
    (source,) = open_sources("in.jsonl", contract / "in.jsonl", "none", list)
    chunk, _last_line_without_end = JsonlReader(defer=True).chunks(source, None)
    assert chunk.deferred is not None
    assert (chunk.records, len(chunk)) == (None, 499)
    assert chunk.deferred.read(7, 9) == [{"n": 7}, {"n": 8}]
    assert chunk.line_of is not None
    assert chunk.line_of(7) == 8


@pytest.mark.parametrize(
    "line",
    ["", '{"a": 12345678901234567890123}', '{"a": "\xff"}'.encode("latin-1"), '{"a": 0.10000000000000000000001}'],
)
def test_lines_that_need_a_closer_look_are_not_deferred(tmp_path: Path, line: str | bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a": 1}\n' + (line if isinstance(line, bytes) else line.encode()) + b'\n{"a": 2}\n')
    (source,) = open_sources("in.jsonl", path, "none", list)
    (chunk,) = JsonlReader(defer=True).chunks(source, None)
    assert chunk.deferred is None
    assert chunk.records is not None


@pytest.mark.parametrize(("size", "fed"), [(3, [10, 4]), (250, [1000, 10]), (300, [1000]), (1000, [999, 2, 5])])
def test_slices_end_where_batches_end(size: int, fed: list[int]) -> None:
    ends, total = set(), 0
    cutter = Cutter([], size)
    for count in fed:
        spans = cutter.spans(count)
        assert spans is not None
        slices = list(spans)
        assert slices[0][0] == 0
        assert slices[-1][1] == count
        assert all(first[1] == second[0] for first, second in pairwise(slices))
        assert all(0 < end - start <= 250 for start, end in slices)
        ends |= {total + end for _, end in slices}
        total += count
        cutter._pending.extracted = total % size  # what feeding them would leave
    assert set(range(size, total + 1, size)) <= ends


def test_batches_that_are_repeated_are_not_sliced() -> None:
    assert Cutter([], 10, redo=[5]).spans(10) is None
    assert Cutter([], 10, replay=5).spans(10) is None
