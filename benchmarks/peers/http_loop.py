"""Pages of an API into SQLite by hand: aiohttp, eight requests in flight, orjson, ``executemany``."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson

IN_FLIGHT = 8


class Table:
    """The table, made by the first record."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._insert = ""

    def add(self, records: list[dict[str, Any]]) -> None:
        """Insert a page."""
        if not self._insert:
            names = list(records[0])
            self._connection.execute(f"CREATE TABLE flights ({', '.join(names)})")
            self._insert = f"INSERT INTO flights VALUES ({', '.join('?' * len(names))})"
        self._connection.executemany(self._insert, [tuple(record.values()) for record in records])

    def close(self) -> None:
        """Commit everything."""
        self._connection.commit()
        self._connection.close()


async def pages(url: str, table: Table) -> None:
    """Fetch page after page, several in flight, until one is empty."""
    async with aiohttp.ClientSession() as session:

        async def page(number: int) -> list[dict[str, Any]]:
            async with session.get(url, params={"page": str(number)}) as response:
                return orjson.loads(await response.read())["data"]  # type: ignore[no-any-return]

        flying = [asyncio.ensure_future(page(number)) for number in range(1, IN_FLIGHT + 1)]
        following = IN_FLIGHT + 1
        while records := await flying.pop(0):
            flying.append(asyncio.ensure_future(page(following)))
            following += 1
            table.add(records)
        for left in flying:
            left.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


def main() -> None:
    """Run it: ``http_loop.py URL TARGET``."""
    table = Table(Path(sys.argv[2]))
    asyncio.run(pages(sys.argv[1], table))
    table.close()


if __name__ == "__main__":
    main()
