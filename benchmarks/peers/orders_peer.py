"""The reshape of nested orders by hand: ``orders_peer.py function|jsonata-python SOURCE TARGET [LIMIT]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

_LINES = 1000


def reshaped(order: dict[str, Any]) -> dict[str, Any]:
    """Return what the JSONata expression says, as one would write it in Python."""
    customer, items = order["customer"], order["items"]
    return {
        "order_id": order["id"],
        "customer": customer["name"].upper(),
        "email": customer["email"],
        "city": customer["address"]["city"],
        "n_items": len(items),
        "total": round(sum([item["price"] * item["qty"] for item in items]), 2),
        "skus": [item["sku"] for item in items],
    }


def function(name: str) -> Callable[[Any], Any]:
    """Return what reshapes one order."""
    if name == "function":
        return reshaped
    from jsonata import Jsonata

    from benchmarks.jobs import RESHAPE

    return Jsonata(RESHAPE).evaluate  # type: ignore[no-any-return]


def main() -> None:
    """Read JSON lines, reshape each, write JSON lines."""
    name, source, target, *limit = sys.argv[1:]
    reshape, loads, dumps, newline = function(name), orjson.loads, orjson.dumps, orjson.OPT_APPEND_NEWLINE
    with Path(source).open("rb") as lines, Path(target).open("wb", buffering=1 << 20) as out:
        left = islice(lines, int(limit[0]) if limit else None)
        while block := list(islice(left, _LINES)):
            out.write(b"".join([dumps(reshape(loads(line)), option=newline) for line in block]))


if __name__ == "__main__":
    main()
