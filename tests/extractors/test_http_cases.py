"""The acceptance cases of the http extractor, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from etlctl.extractors.http import Http
from http_reading import records

from etlctl.errors import ContractError, EtlctlError
from etlctl.orchestrator import ETLOrchestrator

if TYPE_CHECKING:
    from hostile_server import HostileServer

ALL = yaml.safe_load((Path(__file__).parents[1] / "cases" / "http_cases.yaml").read_text("utf-8"))
CASES = ALL["cases"]


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


@pytest.mark.parametrize("case", ALL["params"], ids=lambda case: case["id"])
async def test_parameters_of_the_contract(case: dict[str, Any], hostile: HostileServer, tmp_path: Path) -> None:
    extract = {"type": "http", "url": hostile.url + "/p", "path_fields": False, **case["given"]["extract"]}
    (tmp_path / "extract.yaml").write_text(yaml.safe_dump(extract))
    (tmp_path / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    orchestrator = ETLOrchestrator(tmp_path, warn=lambda _text: None)
    params = case["given"].get("run_kwargs", {})
    if "error_contains" in case["expect"]:
        with pytest.raises(ContractError, match="required parameter 'symbol' is not given"):
            await orchestrator.run(params=params)
        assert not hostile.hits
        return
    assert (await orchestrator.run(params=params)).success
    assert hostile.last.query == case["expect"]["request_param"]


async def test_parameters_that_are_referred_to_go_nowhere_else(hostile: HostileServer, tmp_path: Path) -> None:
    text = """type: http
url: URL/v1/{account}
input_params: {account: {type: string}, day: {type: date}, size: {type: integer, default: 5}, fields: {default: a}}
params: {since: "${day}"}
"""
    (tmp_path / "extract.yaml").write_text(text.replace("URL", hostile.url))
    (tmp_path / "transform.yaml").write_text("transform: {add: {f: '${param:fields}'}}\n")
    (tmp_path / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    result = await ETLOrchestrator(tmp_path, warn=lambda _text: None).run(params={"account": "a1", "day": "2026-01-02"})
    assert result.success, result.error
    assert hostile.last.raw_path == "/v1/a1?size=5&since=2026-01-02"
