"""Benchmark input: nested orders, the same for everybody who asks for as many (seeded)."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PLACES = ("Albany Intl", "Boise Air Terminal", "Charlotte Douglas", "Denver Intl", "El Paso", "Fresno Yosemite")
_STATUS = ("new", "paid", "shipped", "returned", None)


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Yield orders of one to six items."""
    chance = random.Random(7)
    for number in range(1, count + 1):
        place = chance.randrange(len(_PLACES))
        customer = chance.randrange(50_000)
        items = [
            {
                "sku": f"SKU-{chance.randrange(9000):04d}",
                "name": _PLACES[chance.randrange(len(_PLACES))],
                "price": round(chance.uniform(1, 500), 2),
                "qty": chance.randint(1, 9),
            }
            for _ in range(chance.randint(1, 6))
        ]
        address = {"city": _PLACES[place], "zone": "UTC", "zip": f"{chance.randrange(99999):05d}"}
        yield {
            "id": number,
            "placed_at": f"2024-{1 + number % 12:02d}-{1 + number % 28:02d}T10:00:00Z",
            "status": _STATUS[chance.randrange(5)],
            "customer": {
                "id": customer,
                "name": f"{_PLACES[place]} {customer}",
                "email": f"user{customer}@example.com",
                "address": address,
            },
            "items": items,
            "notes": None if number % 3 else "leave at the door",
        }


def main() -> None:
    """Write a JSONL file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    unfinished = arguments.path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(order, separators=(",", ":")) + "\n" for order in orders(arguments.count))
    unfinished.replace(arguments.path)


if __name__ == "__main__":
    main()
