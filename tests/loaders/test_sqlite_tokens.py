"""Commit tokens in SQLite: who may commit what, also when two real processes race for it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from etlctl.loaders.sqlite import Sqlite
from sqlite_driving import (
    batch_of,
    child,
    context,
    execute,
    load,
    numbered,
    put,
    query,
    started,
    tables,
    token,
)

from etlctl.errors import CheckpointError, FatalError, FencedError
from etlctl.kit.sql import tokens
from etlctl.sdk import CommitToken

OPTIONS = {"path": "x.db", "table": "t", "create_table": True}
MODES = pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])


@MODES
async def test_the_token_says_what_is_there(tmp_path: Path, once) -> None:
    ctx = context(tmp_path, publish_once=once)
    writer = await Sqlite(**OPTIONS).open(ctx)
    assert await writer.committed() is None
    await put(writer, ctx, numbered(0, 3), 1)
    assert await writer.committed() == CommitToken(
        "people", "run_a", 1, 1, {"next": 1}, {"loaded": 1}, visible=not once
    )
    await put(writer, ctx, numbered(3, 3), 2)
    published = await writer.finish()
    held = await writer.committed()
    assert (held.seq, held.finished, held.visible, published.records) == (2, True, True, 6)
    await writer.close()
    later = await Sqlite(**OPTIONS).open(context(tmp_path, run_id="run_b", fence=2))
    assert (await later.committed()).run == "run_a"
    await later.suspend()


@MODES
async def test_a_run_without_batches_is_marked_as_finished(tmp_path: Path, once) -> None:
    execute(tmp_path, "CREATE TABLE t (id INTEGER)")
    await load(tmp_path, [], ctx={"publish_once": once})
    assert query(tmp_path, "SELECT run, seq, finished FROM _etlctl_commits") == [("run_a", 0, 1)]


@MODES
@pytest.mark.parametrize("seq", [1, 3, 9])
async def test_only_the_next_batch_is_committed(tmp_path: Path, once, seq) -> None:
    ctx = context(tmp_path, publish_once=once)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, numbered(0, 3), 1)
    await writer.write(batch_of(numbered(3, 3), seq))
    with pytest.raises(CheckpointError, match="batch 1 of run run_a"):
        await writer.commit(token(ctx, seq))
    await put(writer, ctx, numbered(3, 3), 2)
    assert (await writer.finish()).records == 6
    assert len(query(tmp_path)) == 6


@MODES
async def test_a_new_run_begins_with_batch_1(tmp_path: Path, once) -> None:
    await load(tmp_path, [numbered(0, 2), numbered(2, 2)], ctx={"publish_once": once}, **OPTIONS)
    ctx = context(tmp_path, publish_once=once, run_id="run_b")
    writer = await Sqlite(**OPTIONS).open(ctx)
    await writer.write(batch_of(numbered(9, 1), 3))
    with pytest.raises(CheckpointError):
        await writer.commit(token(ctx, 3))
    await put(writer, ctx, numbered(9, 1), 1)
    await writer.finish()
    assert len(query(tmp_path)) == 5


@MODES
async def test_an_older_lease_cannot_do_anything_once_a_newer_one_has_opened(tmp_path: Path, once) -> None:
    old = context(tmp_path, publish_once=once)
    paused = await Sqlite(**OPTIONS).open(old)
    await put(paused, old, numbered(0, 2), 1)
    new = context(tmp_path, publish_once=once, fence=2, resume=True)
    writer = await Sqlite(**OPTIONS).open(new)
    assert (await writer.committed()).seq == 1
    with pytest.raises(FencedError, match="lease 2"):
        await paused.write(batch_of(numbered(50, 2), 2))
    with pytest.raises(FencedError):
        await paused.finish()
    await paused.abort()
    await put(writer, new, numbered(2, 2), 2)
    assert (await writer.finish()).records == 4
    assert query(tmp_path, "SELECT id FROM t") == [(0,), (1,), (2,), (3,)]


@MODES
async def test_a_claim_holds_before_the_first_batch(tmp_path: Path, once) -> None:
    old = context(tmp_path, publish_once=once)
    paused = await Sqlite(**OPTIONS).open(old)
    writer = await Sqlite(**OPTIONS).open(context(tmp_path, publish_once=once, fence=2, run_id="run_b"))
    assert await writer.committed() is None
    with pytest.raises(FencedError):
        await paused.write(batch_of(numbered(0, 2), 1))
    await paused.suspend()
    await writer.abort()


@MODES
async def test_a_newer_lease_in_the_destination_is_shown_and_not_touched(tmp_path: Path, once) -> None:
    ctx = context(tmp_path, publish_once=once, fence=7)
    ahead = await Sqlite(**OPTIONS).open(ctx)
    await put(ahead, ctx, numbered(0, 2), 1)
    writer = await Sqlite(**OPTIONS).open(context(tmp_path, publish_once=once, fence=3))
    assert (await writer.committed()).fence == 7
    with pytest.raises(FencedError):
        await writer.write(batch_of(numbered(5, 2), 1))
    await writer.abort()
    await put(ahead, ctx, numbered(2, 2), 2)
    assert (await ahead.finish()).records == 4
    await ahead.close()


async def test_an_unused_newer_lease_is_shown_too(tmp_path: Path) -> None:
    await (await Sqlite(**OPTIONS).open(context(tmp_path, fence=7))).suspend()
    writer = await Sqlite(**OPTIONS).open(context(tmp_path, fence=3))
    held = await writer.committed()
    assert (held.fence, held.seq) == (7, 0)
    await writer.suspend()
    writer = await Sqlite(**OPTIONS).open(context(tmp_path, fence=8))
    assert await writer.committed() is None
    await writer.suspend()


async def test_what_an_unfinished_run_has_staged_goes_when_another_begins(tmp_path: Path) -> None:
    execute(tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    ctx = context(tmp_path, publish_once=True)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    await writer.suspend()
    assert any(name.startswith("_etlctl_stage") for name in tables(tmp_path))
    await load(tmp_path, [numbered(5, 1)], ctx={"publish_once": True, "run_id": "run_b", "fence": 2}, **OPTIONS)
    assert query(tmp_path, "SELECT id FROM t") == [(5,)]
    again = await Sqlite(**OPTIONS).open(context(tmp_path, publish_once=True, resume=True, fence=3))
    assert (await again.committed()).run == "run_b"
    await again.abort()


@MODES
async def test_a_run_that_died_after_its_publication_finishes_again_without_doing_anything(
    tmp_path: Path, once
) -> None:
    await load(tmp_path, [numbered(0, 2), numbered(2, 2)], ctx={"publish_once": once}, **OPTIONS)
    writer = await Sqlite(**OPTIONS).open(context(tmp_path, publish_once=once, resume=True, fence=2))
    assert (await writer.committed()).finished
    assert (await writer.finish()).records == 4
    with pytest.raises(FatalError, match="closed"):
        await writer.write(batch_of(numbered(4, 2), 3))
    await writer.close()
    assert len(query(tmp_path)) == 4


async def test_the_token_of_rows_that_were_dropped_says_so(tmp_path: Path) -> None:
    ctx = context(tmp_path, publish_once=True)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    await writer.abort()
    assert tables(tmp_path) == {"_etlctl_commits"}
    writer = await Sqlite(**OPTIONS).open(context(tmp_path, publish_once=True, resume=True))
    assert await writer.committed() is None
    await writer.suspend()


async def test_a_run_that_begins_anew_is_not_held_up_by_what_it_had_staged(tmp_path: Path) -> None:
    ctx = context(tmp_path, publish_once=True)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    await put(writer, ctx, numbered(2, 2), 2)
    await writer.suspend()
    writer = await Sqlite(**OPTIONS).open(ctx)
    assert await writer.committed() is None
    await put(writer, ctx, numbered(5, 1), 1)
    assert (await writer.finish()).records == 1
    assert query(tmp_path, "SELECT id FROM t") == [(5,)]


def test_the_statement_itself_refuses_an_older_lease() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(tokens.CREATE)
    newer, older = (
        tokens.TokenTable(connection.execute, stream="s", run=run, fence=fence, place="here")
        for run, fence in (("run_b", 2), ("run_a", 1))
    )
    newer.claim(None)
    with pytest.raises(FencedError, match="another run has taken s over with lease 2"):
        older.advance(tokens.Token("s", "run_a", 1, 1), 5)
    newer.advance(tokens.Token("s", "run_b", 1, 2, {"next": 1}), 5)
    with pytest.raises(FencedError, match="run run_b has taken s over"):
        older.advance(tokens.Token("s", "run_a", 1, 1), 5)
    with pytest.raises(FencedError):
        older.finish(5)
    assert newer.read().token == tokens.Token("s", "run_b", 1, 2, {"next": 1})
    assert newer.read().records == 5


async def test_a_run_is_not_resumed_without_its_staged_rows_or_in_another_mode(tmp_path: Path) -> None:
    ctx = context(tmp_path, publish_once=True)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    await writer.suspend()
    with pytest.raises(CheckpointError, match="staged"):
        await Sqlite(**OPTIONS).open(context(tmp_path, resume=True))
    stage = next(name for name in tables(tmp_path) if name.startswith("_etlctl_stage"))
    execute(tmp_path, f"DROP TABLE {stage}")
    with pytest.raises(CheckpointError, match=stage):
        await Sqlite(**OPTIONS).open(context(tmp_path, publish_once=True, resume=True))


@MODES
async def test_a_run_whose_batches_gave_no_record_yet_is_resumed(tmp_path: Path, once) -> None:
    ctx = context(tmp_path, publish_once=once)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, [], 1)
    await writer.suspend()
    ctx = context(tmp_path, publish_once=once, resume=True)
    writer = await Sqlite(**OPTIONS).open(ctx)
    assert (await writer.committed()).seq == 1
    await put(writer, ctx, numbered(0, 3), 2)
    assert (await writer.finish()).records == 3
    await writer.close()
    assert len(query(tmp_path)) == 3


@MODES
async def test_what_is_not_committed_is_gone(tmp_path: Path, once) -> None:
    ctx = context(tmp_path, publish_once=once)
    writer = await Sqlite(**OPTIONS).open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    await writer.write(batch_of(numbered(2, 2), 2))
    await writer.suspend()
    again = context(tmp_path, publish_once=once, resume=True, fence=2)
    writer = await Sqlite(**OPTIONS).open(again)
    assert (await writer.committed()).seq == 1
    await put(writer, again, numbered(4, 2), 2)
    assert (await writer.finish()).records == 4
    await writer.close()
    assert query(tmp_path, "SELECT id FROM t") == [(0,), (1,), (4,), (5,)]


@MODES
def test_of_two_processes_only_the_newer_lease_commits(tmp_path: Path, once) -> None:
    job = {"count": 4, "options": {"create_table": True}}
    old = started(tmp_path, pause=2, ctx={"publish_once": once}, **job)
    try:
        assert old.stdout.readline() == "ready\n"  # batch 1 is committed
        new = child(tmp_path, ctx={"publish_once": once, "fence": 2, "run_id": "run_b"}, **job)
        assert new.stdout == "from 0\n", new.stderr
        out, err = old.communicate("\n", timeout=60)
    finally:
        old.kill()
    assert "fenced: batch 2" in out, err
    assert "run_b" in out
    assert query(tmp_path, "SELECT run, seq, fence, finished FROM _etlctl_commits") == [("run_b", 4, 2, 1)]
    assert len(query(tmp_path)) == (400 if once else 100 + 400)
