"""One quick starter of processes for all tests of a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from harness import Shop

if os.name == "nt":  # pragma: no cover
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.close()
