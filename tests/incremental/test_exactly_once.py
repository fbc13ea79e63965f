"""However a growing source is split into runs, each record is loaded exactly once."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from incremental_shop import FORMS, Shop

BASE = datetime.fromisoformat("2024-03-30T22:00:00")
LAG = 3
"""Hours."""


def at(hour: int) -> str:
    return (BASE + timedelta(hours=hour)).isoformat() + "Z"


@pytest.mark.parametrize("form", FORMS)
@given(
    steps=st.lists(st.lists(st.integers(-6, 8), max_size=6), min_size=2, max_size=4),
    batch=st.sampled_from([1, 2, 50]),
    lag=st.booleans(),
    alike=st.booleans(),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_split_loads_each_record_once(
    form: str, steps: list[list[int]], batch: int, *, lag: bool, alike: bool
) -> None:
    """Hours are relative to the largest so far; what lies further back than the lag is late, and stays out."""
    with tempfile.TemporaryDirectory() as folder:
        section: dict[str, Any] = {"lag": f"{LAG}h"} if lag else {}
        extract = {"processing_mode": "streaming", "batch_size": batch}
        shop = Shop(Path(folder), form, incremental=section, extract=extract)
        wanted: Counter[str] = Counter()
        top: int | None = None
        number = 0
        for hours in steps:
            base = top or 0
            floor = None if top is None else top - (LAG if lag else 0)
            records = []
            for hour in hours:
                number += 1
                identity = "same" if alike else str(number)  # records that are equal in every field are still several
                records.append({"id": identity, "at": at(base + hour)})
                if floor is None or base + hour >= floor:
                    wanted[identity] += 1
                    top = base + hour if top is None else max(top, base + hour)
            shop.grow(*records)
            shop.run()
        assert shop.loaded() == wanted
        shop.run()
        assert shop.loaded() == wanted
