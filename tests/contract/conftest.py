"""A small workspace to compile contracts in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

EXTRACTOR = '''"""Extractor of the tests."""
from pathlib import Path
from typing import Any

Path(__file__).with_name("imported.txt").write_text("extractor", encoding="utf-8")

from etlctl.sdk import Batch, Extractor


class Made(Extractor):
    """Yields nothing."""

    path: str = "x"
    size: int = 1
    ratio: float = 1.0
    flag: bool = False
    names: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    token: str | None = None
    primary_key: str | None = None
    anything: Any = None

    async def read(self, ctx):
        yield Batch.of_rows([], position={})
'''
LOADER = '''"""Loader of the tests."""
from etlctl.sdk import Delivery, FatalError, Loader


class Sink(Loader):
    """Takes nothing."""

    url: str = ""
    password: str = ""

    def delivery(self):
        return Delivery.exactly_once

    async def open(self, ctx):
        raise FatalError("no")
'''

Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Return a function that writes a contract into a workspace and returns its folder."""
    for folder, name, text in (("extractors", "made", EXTRACTOR), ("loaders", "sink", LOADER)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "etlctl.yaml").write_text("name: tests\n", encoding="utf-8")

    def made(name: str = "orders", **sections: Any) -> Path:
        folder = tmp_path / "contracts" / name
        folder.mkdir(parents=True, exist_ok=True)
        sections = {"extract": {"type": "made"}, "load": {"type": "sink"}, **sections}
        for section, content in sections.items():
            if content is not None:
                text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
                (folder / f"{section}.yaml").write_text(text, encoding="utf-8")
        return folder

    return made
