"""Several scripted destinations in the place of one: the engine's counterpart in tests of ``load:`` lists."""

from __future__ import annotations

from typing import Any, ClassVar

from banking import BankLoader, BankWriter
from scripted import plan

from etlctl.batch import Batch, Encoded, Rejection
from etlctl.sdk import Operation, RowSlice
from etlctl.sdk.destinations import Destination, Destinations


class LazyWriter(BankWriter):
    puts_off = True


class EncodingWriter(BankWriter):
    """Takes rows encoded, refusing while it encodes what it would refuse while it writes."""

    def encoder(self):
        return self.encode

    def encode(self, records):
        bad = [
            Rejection(i, "load", "load", "load.refused", "no", None)
            for i, record in enumerate(records)
            if record["n"] in self.bank.refuse
        ]
        good = [record for record in records if record["n"] not in self.bank.refuse]
        return Encoded(len(good), good, bad)

    async def write(self, batch):
        if batch.encoded is None:
            return await super().write(batch)
        return await super().write(Batch.of_rows([one for part in batch.encoded for one in part.payload], {}))


class LazyEncodingWriter(EncodingWriter):
    puts_off = True


class AnyLoader(BankLoader):
    kind: Any = None

    async def open(self, ctx):
        return self.kind(self.bank, ctx)


class Modulo(Operation):
    """Keeps numbers that leave a remainder; cannot decide about 7."""

    divisor: int
    remainder: int = 0
    changes_count: ClassVar[bool] = True

    def rows(self, rows: RowSlice, ctx):
        for i, record in enumerate(rows.records):
            if record["n"] == 7:
                rows.reject(i, "test.seven", "7 is odd")
            elif record["n"] % self.divisor != self.remainder:
                rows.drop(i)


def several(banks, wheres=(None, None, None), *, encoding=False) -> Destinations:
    made = []
    for name, bank, where in zip("abc", banks, wheres, strict=False):
        lazy = not bank.visible and bank.lazy > 1
        plain, encodes = (LazyWriter, LazyEncodingWriter) if lazy else (BankWriter, EncodingWriter)
        made.append(Destination(name, AnyLoader(bank=bank, kind=encodes if encoding else plain), where))
    return Destinations.of(made)


def dealt(sizes, operations=(), *, banks, wheres=(None, None, None), form="rows", bad=(), encoding=False):
    made = plan(sizes, operations, form=form, bad=bad)
    made.loader = several(banks, wheres, encoding=encoding)
    return made


def wheres_of(kind: str) -> tuple[Any, ...]:
    return {
        "all": (None, None, None),
        "parts": (Modulo(divisor=2), Modulo(divisor=2, remainder=1), Modulo(divisor=3)),
        "some": (None, Modulo(divisor=5), Modulo(divisor=1000, remainder=999)),
    }[kind]
