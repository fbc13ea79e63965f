"""A set of key texts that grows without bound in bounded memory, exactly: nothing is ever taken for another.

The keys stand in sorted levels, each about twice as large as the next: a new batch is looked up in each of them by
binary search over 64-bit hashes, and what has the same hash is compared in full. Levels are merged as they fill up.
Small batches, as records come in rows, are gathered in a plain set of at most some ten thousand keys first.
When they hold more than the memory given, all of them go to a temporary SQLite database, which is a file without a
name: it is gone with the process, however that ends.

A key takes 24 bytes and, from its 13th byte on, those of its text: a million order numbers take about 25 MB.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import polars as pl

MIB = 1 << 20
_SEED = 7
_PER_KEY = 24
_INLINE = 12
_CACHE_KIB = 64 << 10
_SMALL = 4096
"""From so many keys on a batch becomes a level at once; smaller ones are gathered, for a level costs at every look."""
_MANY = 1 << 16


class KeySet:
    """Tells which keys were not there before.

    Args:
        memory: Bytes to hold in memory before keys go to disk; the database's cache comes on top.
    """

    def __init__(self, memory: int = 256 * MIB) -> None:
        self._memory = memory
        self._levels: list[pl.DataFrame] = []
        self._recent: set[str] = set()
        self.size = 0
        """Bytes that the keys in memory take."""
        self._disk: _OnDisk | None = None

    def __len__(self) -> int:
        return sum(level.height for level in self._levels) + len(self._recent) + self.on_disk

    @property
    def on_disk(self) -> int:
        """Return how many of the keys are on disk."""
        return self._disk.keys if self._disk is not None else 0

    def add(self, keys: pl.Series | Sequence[str]) -> pl.Series:
        """Add keys; return for each whether it is new, which of several equal ones only the first is.

        Args:
            keys: Texts without null.
        """
        texts = (keys if isinstance(keys, pl.Series) else pl.Series(keys, dtype=pl.String)).alias("key")
        hashes = texts.hash(_SEED).alias("hash")
        fresh = texts.is_first_distinct() & ~self._known(texts, hashes)
        self._put(pl.DataFrame([hashes, texts]).filter(fresh))
        return fresh

    def add_new(self, keys: pl.Series) -> None:
        """Add keys that ``known`` said were not there, no two of them equal."""
        if keys.len() < _SMALL:
            self.add_few(set(keys.to_list()))
        else:
            self._put(pl.DataFrame([keys.hash(_SEED).alias("hash"), keys.alias("key")]))

    def add_few(self, keys: set[str]) -> None:
        """Add keys that are not there; quicker than ``add`` for a thousand at a time."""
        if keys:
            self.size += _PER_KEY * len(keys) + sum(size for size in map(_bytes, keys) if size > _INLINE)
            self._recent |= keys
            if len(self._recent) >= _MANY or self.size > self._memory:
                self._settle()

    def has_any(self, keys: set[str]) -> bool:
        """Tell whether any of some keys was added before; quicker than ``known`` for a thousand at a time."""
        if not self._recent.isdisjoint(keys):
            return True
        if not keys or not (self._levels or self._disk):
            return False
        texts = pl.Series(list(keys), dtype=pl.String)
        hashes = texts.hash(_SEED)
        if any(_within(level, hashes, texts).any() for level in self._levels):
            return True
        return self._disk is not None and self._disk.known(texts).len() > 0

    def _put(self, new: pl.DataFrame) -> None:
        if new.height < _SMALL:
            self.add_few(set(new.get_column("key").to_list()))
        else:
            self.size += _size(new.get_column("key"))
            self._levels.append(new.sort("hash"))
            self._merge()

    def _settle(self) -> None:
        """Make a level of the keys that came in small batches."""
        texts = pl.Series("key", list(self._recent), dtype=pl.String)
        self._recent.clear()
        self._levels.append(pl.DataFrame([texts.hash(_SEED).alias("hash"), texts]).sort("hash"))
        self._merge()

    def known(self, keys: pl.Series) -> pl.Series:
        """Return for each key whether it was added before.

        Args:
            keys: Texts without null.
        """
        return self._known(keys, keys.hash(_SEED))

    def _known(self, texts: pl.Series, hashes: pl.Series) -> pl.Series:
        if self._recent and texts.len() >= _SMALL:
            self._settle()
        if self._recent:
            found = pl.Series([text in self._recent for text in texts.to_list()], dtype=pl.Boolean)
        else:
            found = pl.repeat(value=False, n=texts.len(), eager=True, dtype=pl.Boolean)
        for level in self._levels:
            found |= _within(level, hashes, texts)
        if self._disk is not None:
            open_ = (~found).arg_true()
            found = found.scatter(open_.gather(self._disk.known(texts.gather(open_))), values=True)
        return found

    def _merge(self) -> None:
        levels = self._levels
        while len(levels) > 1 and levels[-2].height <= 2 * levels[-1].height:
            last = levels.pop()
            levels[-1] = pl.concat([levels[-1], last]).sort("hash")
        if self.size > self._memory:
            self._disk = self._disk or _OnDisk()
            self._disk.add(pl.concat(levels).get_column("key").sort())
            levels.clear()
            self.size = 0


def _bytes(key: str) -> int:
    return len(key) if key.isascii() else len(key.encode())


def _size(keys: pl.Series) -> int:
    """Return the bytes of a level: 8 of the hash, 16 of the text, which hold up to 12 of its own."""
    lengths = keys.str.len_bytes()
    return keys.len() * _PER_KEY + int(lengths.filter(lengths > _INLINE).sum())


def _within(level: pl.DataFrame, hashes: pl.Series, keys: pl.Series) -> pl.Series:
    """Tell for each key whether a level has it."""
    found = pl.repeat(value=False, n=keys.len(), eager=True, dtype=pl.Boolean)
    ordered, texts = level.get_column("hash"), level.get_column("key")
    rows = pl.int_range(keys.len(), eager=True)
    places = ordered.search_sorted(hashes, side="left").cast(pl.Int64)
    while rows.len():
        inside = places < level.height
        same = inside & (ordered.gather(places.clip(upper_bound=level.height - 1)) == hashes.gather(rows))
        rows, places = rows.filter(same), places.filter(same)
        equal = texts.gather(places) == keys.gather(rows)
        if equal.any():
            found = found.scatter(rows.filter(equal), values=True)
        # Another key may have the same hash, and stand behind it.
        rows, places = rows.filter(~equal), places.filter(~equal) + 1
    return found


class _OnDisk:
    """Keys in a database without a name."""

    def __init__(self) -> None:
        # The steps of a run work on changing threads, one at a time.
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", f"cache_size = -{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self.keys = 0

    def add(self, keys: pl.Series) -> None:
        """Add keys that are not there, in order."""
        self._database.execute("BEGIN")
        self._database.execute("INSERT INTO keys SELECT value FROM json_each(?)", [json.dumps(keys.to_list())])
        self._database.execute("COMMIT")
        self.keys += keys.len()

    def known(self, keys: pl.Series) -> pl.Series:
        """Return the places of the keys that are there."""
        order = keys.arg_sort()  # neighbours in the tree, one after the other
        asked = json.dumps(keys.gather(order).to_list())
        there = "SELECT asked.key FROM json_each(?) AS asked WHERE EXISTS (SELECT 1 FROM keys WHERE key = asked.value)"
        found = [place for (place,) in self._database.execute(there, [asked])]
        return order.gather(pl.Series(found, dtype=pl.UInt32))
