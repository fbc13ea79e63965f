"""The acceptance cases of the http extractor, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from etlctl.extractors.http import Http
from http_reading import records

from etlctl.errors import EtlctlError

if TYPE_CHECKING:
    from hostile_server import HostileServer

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "http_cases.yaml").read_text("utf-8"))["cases"]


def options(case: dict[str, Any], home: str) -> dict[str, Any]:
    """Return the options of a case: its addresses are below the server's."""
    given = dict(case["given"]["extract"])
    if "url" in given:
        given["url"] = home + given["url"]
    else:
        given["base_url"] = home
    return given


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
async def test_case(case: dict[str, Any], hostile: HostileServer) -> None:
    expect = case["expect"]
    source = Http(**options(case, hostile.url))
    if "error_contains" in expect:
        with pytest.raises(EtlctlError) as caught:
            await records(source)
        told = expect["error_contains"].removeprefix("HTTP error ")  # texts are matched by meaning
        assert told in str(caught.value)
        assert len(hostile.hits) == expect.get("requests", 0)
        return
    found = await records(source)
    if isinstance(expect.get("rows"), list):
        assert found == expect["rows"]
    count = expect.get("row_count", expect.get("rows") if isinstance(expect.get("rows"), int) else None)
    if count is not None:
        assert len(found) == count
    if "ids" in expect or count == 25:
        assert [record["i"] for record in found] == list(range(25))
    if "requests" in expect:
        assert len(hostile.hits) == expect["requests"]
    if "gaps_seconds" in expect:
        assert all(gap >= least * 0.99 for gap, least in zip(hostile.gaps(), expect["gaps_seconds"], strict=True))
    if "server_received" in expect:
        assert yaml.safe_load(hostile.last.body) == expect["server_received"]
    if "path" in expect:
        assert hostile.last.raw_path == expect["path"] == found[0]["path"]
    for name, value in expect.get("record_gets", {}).items():
        assert found[0][name] == value
