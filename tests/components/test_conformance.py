"""Every component of the catalogue conforms; a new file is tested by being there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etlctl.catalog import Catalog, Entry, Kind
from etlctl.testing import check_extractor_class, check_loader_class, check_operation

ENTRIES = Catalog.for_workspace(None, plug_ins=False).entries()
CHECKS: dict[Kind, Callable[[Any], None]] = {
    Kind.extractor: check_extractor_class,
    Kind.operation: check_operation,
    Kind.loader: check_loader_class,
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.type}")
def test_component_conforms(entry: Entry) -> None:
    CHECKS[entry.kind](entry.load())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.type}")
def test_docs_read_from_source_match_the_class(entry: Entry) -> None:
    docs = entry.docs()
    assert docs.summary == entry.summary != ""
    assert len(docs.examples) == len(entry.load().examples)
    assert all(option.help for option in docs.options)
