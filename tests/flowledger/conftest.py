"""The workspace of the daily contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from daily import Daily


@pytest.fixture
def daily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daily:
    monkeypatch.delenv("ETLCTL_STATE_URL", raising=False)
    return Daily.at(tmp_path)
