"""Components that do exactly what a test scripts: a source, a destination that keeps what it got, and small steps."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from etlctl.batch import Batch, Encoded, Rejection
from etlctl.engine.options import Claim, RunSettings
from etlctl.errors import FatalError
from etlctl.sdk import Extractor, Loader, Operation, Published, Receipt, RowSlice, Scope, Screening, Verdict, Writer
from etlctl.sdk.guard import ReplaceGuard


class Scripted(Extractor):
    """Yields chunks of given sizes with records {"n": 0}, {"n": 1}, …; some numbers are unreadable."""

    sizes: list[int]
    form: str = "rows"
    bad: tuple[int, ...] = ()
    fail_at: int | None = None

    async def read(self, ctx):
        first = 0
        begin = ctx.position["next"] if ctx.position else 0
        for number, size in enumerate(self.sizes):
            numbers = range(first, first + size)
            first += size
            if number < begin:
                continue
            if self.fail_at == number:
                raise FatalError("the source broke")
            good = [n for n in numbers if n not in self.bad]
            rejected = [
                Rejection(n - numbers[0], "extract", "extract", "test.bad", f"{n} is bad", f"raw {n}")
                for n in numbers
                if n in self.bad
            ]
            position = {"next": number + 1}
            where = lambda index, good=good: f"src:{good[index]}"  # noqa: E731
            if self.form == "frame":
                frame = pl.DataFrame({"n": good}, schema={"n": pl.Int64})
                yield Batch.of_frame(frame, position, rejected=rejected, locate=where)
            else:
                yield Batch.of_rows([{"n": n} for n in good], position, rejected=rejected, locate=where)


@dataclass
class Kept:
    """What a destination got."""

    batches: list[Batch] = field(default_factory=list)
    published: bool = False
    aborted: bool = False
    threads: set[str] = field(default_factory=set)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for batch in self.batches for record in batch.to_rows()]


class KeepWriter(Writer):
    def __init__(self, kept: Kept, refuse: tuple[int, ...], fail_at: int | None) -> None:
        self.kept, self.refuse, self.fail_at = kept, refuse, fail_at
        self.count = 0

    async def write(self, batch):
        self.kept.threads.add(threading.current_thread().name)
        if self.fail_at == batch.seq:
            raise OSError("the disk is gone")
        self.kept.batches.append(batch)
        refused = [
            Rejection(i, "load", "load", "load.refused", "no", record)
            for i, record in enumerate(batch.to_rows())
            if record.get("n") in self.refuse
        ]
        self.count += len(batch) - len(refused)
        return Receipt(len(batch) - len(refused), refused)

    async def finish(self):
        self.kept.published = True
        return Published(("memory",), self.count)

    async def abort(self):
        self.kept.aborted = True


class EncodingWriter(KeepWriter):
    """Takes rows as text; refuses some numbers while encoding."""

    def encoder(self):
        return self.encode

    def encode(self, records):
        refused = [
            Rejection(i, "load", "load", "load.refused", "no", None)
            for i, record in enumerate(records)
            if record["n"] in self.refuse
        ]
        texts = [f"{record['n']}" for record in records if record["n"] not in self.refuse]
        return Encoded(len(texts), texts, refused)

    async def write(self, batch):
        assert batch.encoded is not None
        self.kept.batches.append(batch)
        records = sum(part.records for part in batch.encoded)
        self.count += records
        return Receipt(records)


class Keep(Loader):
    kept: Any = None
    refuse: tuple[int, ...] = ()
    fail_at: int | None = None
    encoding: bool = False

    async def open(self, ctx):
        if self.encoding:
            return EncodingWriter(self.kept, self.refuse, self.fail_at)
        return KeepWriter(self.kept, self.refuse, self.fail_at)


class DropEven(Operation):
    """Drops even numbers."""

    has_frame: ClassVar[bool] = True
    changes_count: ClassVar[bool] = True

    def rows(self, rows: RowSlice, ctx):
        for i, record in enumerate(rows.records):
            if record["n"] % 2 == 0:
                rows.drop(i)

    def frame(self, plan, ctx):
        plan.filter(pl.col("n") % 2 != 0)


class Twice(Operation):
    """Gives every record twice."""

    changes_count: ClassVar[bool] = True

    def rows(self, rows: RowSlice, ctx):
        for i, record in enumerate(rows.records):
            rows.replace(i, [record, {**record, "copy": True}])


class RefuseTens(Operation):
    """Refuses multiples of ten; adds a field to the others. Its frame form suspects multiples of five."""

    has_frame: ClassVar[bool] = True

    def rows(self, rows: RowSlice, ctx):
        for i, record in enumerate(rows.records):
            if record["n"] % 10 == 0:
                rows.reject(i, "test.ten", f"{record['n']} is a multiple of ten", field="n")
            record["x"] = record["n"] * 2

    def frame(self, plan, ctx):
        plan.with_columns({"x": (pl.col("n") * 2, pl.Int64())}, suspects=[pl.col("n") % 5 == 0])


class CountAll(Operation):
    """Batch-scoped: adds how many records it saw at once."""

    @property
    def scope(self):
        return Scope.batch

    def rows(self, rows: RowSlice, ctx):
        for record in rows.records:
            record["seen"] = len(rows.records)


class Once(Screening):
    """Refuses a number seen before."""

    def needs(self):
        return ("n",)

    def fresh(self):
        self.__dict__["_seen"] = set()
        return self

    def screen(self, columns):
        seen, out = self.__dict__["_seen"], []
        for position, value in enumerate(columns["n"]):
            key = value % 7
            if key in seen:
                out.append(Verdict(position, "test.seen", f"{value} again", "n"))
            seen.add(key)
        return out


class Boom(Operation):
    """Raises."""

    def rows(self, rows: RowSlice, ctx):
        raise KeyError("zap")


@dataclass
class Step:
    name: str
    operation: Operation


@dataclass
class Plan:
    extractor: Extractor
    steps: list[Step]
    loader: Loader
    name: str = "scripted"
    base_dir: Path = field(default_factory=Path.cwd)
    stream: str = "scripted"
    params: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    guard: ReplaceGuard = field(default_factory=ReplaceGuard)


class Book:
    """A ledger that remembers what it was told."""

    def __init__(self, checkpoint=None, **claim) -> None:
        self.events: list[tuple] = []
        self.letters: list = []
        self.tokens: list = []
        self.attempts: list = []
        self.result = None
        self.mode = "streaming"
        self.claim = {"run_id": "run_test", "fence": 1, "checkpoint": checkpoint, **claim}

    def begin(self, started_at):
        self.events.append(("start", self.claim["run_id"]))
        return Claim(**{"started_at": started_at, **self.claim})

    def renew(self):
        self.events.append(("renew",))

    def raise_fence(self, at_least):
        self.events.append(("fence", at_least))
        return at_least

    def add_dead_letters(self, letters):
        self.letters += letters

    def clear_dead_letters(self, after_seq):
        self.letters = [letter for letter in self.letters if letter.seq <= after_seq]

    def save_checkpoint(self, token, error=None):
        self.tokens.append(token)

    def add_attempts(self, attempts):
        self.attempts += attempts

    def progress(self, run_id, counts, batches):
        self.events.append(("progress", batches))

    def finish_run(self, result):
        self.result = result


def plan(sizes, operations=(), *, kept=None, **options) -> Plan:
    source = {key: options.pop(key) for key in ("form", "fail_at") if key in options}
    source["bad"] = tuple(options.pop("bad", ()))
    kept = kept if kept is not None else Kept()
    steps = [Step(f"transform[{i}].{type(op).__name__}", op) for i, op in enumerate(operations)]
    return Plan(Scripted(sizes=sizes, **source), steps, Keep(kept=kept, **options))


def settings(**options) -> RunSettings:
    return RunSettings(**{"run_id": "run_test", **options})


class Backwards(Operation):
    """Batch-scoped: turns the order round and drops the first record."""

    @property
    def scope(self):
        return Scope.batch

    def rows(self, rows: RowSlice, ctx):
        rows.exchange(list(reversed(rows.records))[1:])
