"""Options read from source without running it check like those of the class itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from etlctl.catalog import Catalog, Entry, Kind

SOURCE = '''
"""Options of every shape."""
from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field
import pydantic

from etlctl import sdk
from etlctl.run import ProcessingMode

if TYPE_CHECKING:
    from some.where import Unknown

Mode = Literal["fast", "slow"]
LIMIT = 9


class Speed(StrEnum):
    low = "low"
    high = "high"


class Auth(BaseModel):
    """How to log in."""

    model_config = ConfigDict(extra="forbid", strict=True)
    user: str
    """Who."""
    tries: int = 3


class Shapes(sdk.Extractor):
    """Shapes."""

    examples: ClassVar[tuple[sdk.Example, ...]] = (sdk.Example("One", "name: x\\n", expect=[{"a": 1}]),)
    tabular = True

    name: str
    """A name."""
    number: float = 1.5
    flag: bool = False
    words: list[str] = Field(default_factory=list)
    counts: dict[str, int] = {}
    pair: tuple[int, ...] = Field(default=(), strict=False)
    maybe: int | None = None
    also: Optional[str] = None
    either: Union[int, str] = 0
    mode: Mode = "fast"
    size: int = Field(default=LIMIT, ge=1, le=100)
    code: Annotated[str, Field(pattern="^[a-z]+$", max_length=5)] = "a"
    from_: str = Field(default="", alias="from")
    auth: Auth | None = None
    when: dt.date | None = None
    price: "Decimal | None" = None
    more: Mapping[str, Any] = Field(default_factory=dict)
    anything: Any = None
    strange: make_type() = None
    speed: Annotated[Speed, Field(strict=False)] = Speed.low
    level: pydantic.PositiveInt = 1
    processing: Annotated[ProcessingMode, Field(strict=False)] = ProcessingMode.full
    computed: int = LIMIT * 2
    _private: int = 0

    async def read(self, ctx):
        yield
'''
GOOD: list[dict[str, Any]] = [
    {},
    {"number": 2},
    {"words": ["a"], "counts": {"a": 1}, "pair": [1, 2]},
    {"maybe": None, "also": "x", "either": "y"},
    {"mode": "slow", "size": 100, "code": "abc", "from": "x"},
    {"auth": {"user": "me"}},
    {"more": {"a": [1]}, "anything": {"x": 1}},
    {"speed": "high", "level": 2, "processing": "streaming", "computed": 3},
]
BAD: list[dict[str, Any]] = [
    {"number": "2"},
    {"flag": "yes"},
    {"flag": 1},
    {"words": "a"},
    {"words": [1]},
    {"counts": {"a": "1"}},
    {"maybe": "1"},
    {"either": 1.5},
    {"mode": "medium"},
    {"size": 0},
    {"size": 101},
    {"code": "ABC"},
    {"code": "abcdef"},
    {"auth": {}},
    {"auth": {"user": "me", "password": "x"}},
    {"auth": {"user": "me", "tries": "3"}},
    {"speed": "middling"},
    {"level": 0},
    {"processing": "later"},
    {"unknown": 1},
    {"_private": 1},
]


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    (tmp_path / "extractors").mkdir()
    text = SOURCE.replace("    strange: make_type() = None\n", "")
    (tmp_path / "extractors" / "shapes.py").write_text(text, encoding="utf-8")
    return Catalog.for_workspace(tmp_path).find(Kind.extractor, "shapes")


def accepts(model: type[BaseModel], options: dict[str, Any]) -> bool:
    try:
        model.model_validate({"name": "x", **options})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("options", GOOD, ids=str)
def test_both_accept(entry: Entry, options: dict[str, Any]) -> None:
    assert accepts(entry.options_model(import_code=True), options)
    assert accepts(entry.options_model(), options)


@pytest.mark.parametrize("options", BAD, ids=str)
def test_both_refuse(entry: Entry, options: dict[str, Any]) -> None:
    assert not accepts(entry.options_model(import_code=True), options)
    assert not accepts(entry.options_model(), options)


def test_fields_are_the_same_in_order_and_need(entry: Entry) -> None:
    real, static = entry.options_model(import_code=True), entry.options_model()
    assert [(name, info.alias, info.is_required()) for name, info in static.model_fields.items()] == [
        (name, info.alias, info.is_required()) for name, info in real.model_fields.items()
    ]


def test_what_cannot_be_read_accepts_anything(tmp_path: Path) -> None:
    (tmp_path / "extractors").mkdir()
    (tmp_path / "extractors" / "shapes.py").write_text(SOURCE, encoding="utf-8")
    model = Catalog.for_workspace(tmp_path).find(Kind.extractor, "shapes").options_model()
    for value in (1, "x", {"a": 1}, None):
        assert accepts(model, {"strange": value})


def test_declarations_are_read(entry: Entry) -> None:
    assert entry.options_model().tabular is True  # type: ignore[attr-defined]


def test_docs_show_types_defaults_and_nested_options(entry: Entry) -> None:
    docs = entry.docs()
    shown = {option.name: option for option in docs.options}
    assert shown["name"].help == "A name."
    assert shown["mode"].type == '"fast" or "slow"'
    assert shown["words"].type == "list of string"
    assert shown["counts"].type == "mapping of string to integer"
    assert shown["size"].default == "9"
    assert shown["from"].default == '""'
    assert shown["number"].default == "1.5"
    assert [option.name for option in shown["auth"].options] == ["user", "tries"]
    assert [(example.title, example.expect) for example in docs.examples] == [("One", [{"a": 1}])]


def test_an_operation_declares_its_place_in_the_map_form(tmp_path: Path) -> None:
    (tmp_path / "transforms").mkdir()
    text = 'from etlctl.sdk import Operation\n\nclass Shout(Operation):\n    """Shouts."""\n    map_order = 42\n    def rows(self, rows, ctx): ...\n'
    (tmp_path / "transforms" / "shout.py").write_text(text, encoding="utf-8")
    model = Catalog.for_workspace(tmp_path).find(Kind.operation, "shout").options_model()
    assert model.map_order == 42  # type: ignore[attr-defined]
