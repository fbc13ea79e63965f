"""A destination that commits rows and token as one, in memory, and can fail at any point: the engine's counterpart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from etlctl.batch import Record, Rejection
from etlctl.errors import FatalError, FencedError, RetryableError
from etlctl.sdk import CommitToken, Loader, Published, Receipt, Writer


@dataclass
class Bank:
    """What is durable, and what shall go wrong: ``{(call, number of the call): error}``."""

    rows: list[Record] = field(default_factory=list)
    staged: list[Record] = field(default_factory=list)
    token: CommitToken | None = None
    visible: bool = True
    lazy: int = 1
    faults: dict[tuple[str, int], BaseException] = field(default_factory=dict)
    after: dict[tuple[str, int], BaseException] = field(default_factory=dict)
    refuse: tuple[int, ...] = ()
    before: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def call(self, name: str) -> int:
        self.log.append(name)
        self.calls[name] = number = self.calls.get(name, 0) + 1
        error = self.faults.pop((name, number), None)
        if error is not None:
            raise error
        return number

    def done(self, name: str, number: int) -> None:
        error = self.after.pop((name, number), None)
        if error is not None:
            raise error


class BankWriter(Writer):
    keeps_tokens = True

    def __init__(self, bank: Bank, ctx: Any) -> None:
        self.bank, self.ctx = bank, ctx
        self.pending: list[Record] = []
        self.batch: list[Record] = []
        self.since = 0
        self.last: CommitToken | None = None
        if not ctx.resume:
            bank.before = len(bank.rows)
        if not ctx.resume or bank.token is None or bank.token.run != ctx.run_id:
            bank.staged = []
            if not bank.visible:
                bank.token = None

    async def committed(self):
        return self.bank.token

    async def write(self, batch):
        number = self.bank.call("write")
        self.batch = []
        bad = []
        for index, record in enumerate(batch.to_rows()):
            if record.get("n") in self.bank.refuse:
                bad.append(Rejection(index, "load", "load", "load.refused", "no", record))
            else:
                self.batch.append(record)
        self.bank.done("write", number)
        return Receipt(len(self.batch), bad)

    async def commit(self, token, *, now=False):
        number = self.bank.call("commit")
        if self.bank.token is not None and self.bank.token.fence > token.fence:
            raise FencedError("newer fence")
        self.pending += self.batch
        self.batch = []
        self.last = token
        self.since += 1
        if self.since < self.bank.lazy and not now:
            return False
        self.since = 0
        (self.bank.rows if self.bank.visible else self.bank.staged).extend(self.pending)
        self.pending = []
        self.bank.token = replace(token, visible=self.bank.visible)
        self.bank.done("commit", number)
        return True

    async def finish(self):
        token = self.bank.token
        if token is not None and token.finished:
            return Published(("bank",), len(self.bank.rows) - self.bank.before)
        number = self.bank.call("finish")
        self.bank.rows.extend(self.bank.staged + self.pending)
        self.bank.staged, self.pending = [], []
        if self.last is not None or token is not None:
            self.bank.token = replace(self.last or token, finished=True)
        self.bank.done("finish", number)
        return Published(("bank",), len(self.bank.rows) - self.bank.before)

    async def suspend(self):
        self.bank.log.append("suspend")

    async def abort(self):
        self.bank.log.append("abort")
        self.bank.staged = []

    async def close(self):
        self.bank.log.append("close")


class BankLoader(Loader):
    bank: Any = None

    async def open(self, ctx):
        return BankWriter(self.bank, ctx)


__all__ = ["Bank", "BankLoader", "FatalError", "RetryableError"]
