"""The catalogue finds components without importing them, and every mistake is one clear error."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
from pydantic import ValidationError

from etlctl.catalog import Catalog, Entry, Kind
from etlctl.errors import CatalogError, MissingExtraError

CONSTANT = '''
"""A source for tests."""
from etlctl.sdk import Batch, Extractor, ReadContext


class Constant(Extractor):
    """Yields the same record
    a number of times.

    Useful in tests.
    """

    value: int
    """The value of the field
    ``value``."""
    count: int = 1
    """How many records."""

    async def read(self, ctx: ReadContext):
        yield Batch.of_rows([{"value": self.value}] * self.count, position={"done": True})
'''


def add(root: Path, name: str, text: str, folder: str = "extractors") -> Path:
    path = root / folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def own(root: Path, name: str, kind: Kind = Kind.extractor) -> Entry:
    return Catalog.for_workspace(root).find(kind, name)


def test_a_file_appears_and_disappears_with_no_other_edit(tmp_path: Path) -> None:
    before = Catalog.for_workspace(tmp_path)
    path = add(tmp_path, "constant", CONSTANT)
    during = Catalog.for_workspace(tmp_path)
    path.unlink()
    after = Catalog.for_workspace(tmp_path)
    assert "constant" not in before.names(Kind.extractor)
    assert during.find(Kind.extractor, "constant").origin == "workspace extractors/constant.py"
    with pytest.raises(CatalogError, match="Unknown extract type: 'constant'"):
        after.find(Kind.extractor, "constant")


def test_an_unknown_name_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    add(tmp_path, "constant", CONSTANT)
    with pytest.raises(CatalogError) as caught:
        Catalog.for_workspace(tmp_path).find(Kind.extractor, "constnt")
    assert caught.value.help is not None
    assert "did you mean 'constant'?" in caught.value.help
    assert "known extract types: cloud_storage, constant, " in caught.value.help


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Kind.extractor, "Unknown extract type: 'ftp'"),
        (Kind.loader, "Unknown load type: 'ftp'"),
        (Kind.operation, "Unknown operation: 'ftp'"),
    ],
)
def test_the_message_names_the_kind(kind: Kind, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog.for_workspace(None).find(kind, "ftp")
    assert message in str(caught.value)


def test_finding_and_docs_run_no_code_of_the_workspace(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    add(tmp_path, "constant", f"open({str(marker)!r}, 'w').close()\n" + CONSTANT)
    entry = own(tmp_path, "constant")
    docs = entry.docs()
    assert entry.summary == "Yields the same record a number of times."
    assert docs.description == "Useful in tests."
    assert [(o.name, o.type, o.required, o.default, o.help) for o in docs.options] == [
        ("value", "integer", True, None, "The value of the field ``value``."),
        ("count", "integer", False, "1", "How many records."),
    ]
    entry.options_model()
    assert not marker.exists()
    entry.load()
    assert marker.exists()


def test_loading_gives_the_class_under_a_private_name(tmp_path: Path) -> None:
    add(tmp_path, "constant", CONSTANT)
    entry = own(tmp_path, "constant")
    cls = entry.load()
    assert cls is entry.load()
    assert cls.__module__.startswith("etlctl_workspace_")
    assert "constant" not in sys.modules
    assert entry.options_model(import_code=True) is cls
    assert cls.model_validate({"value": 1}).count == 1  # type: ignore[attr-defined]


def test_an_edit_of_the_same_size_within_a_second_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = add(tmp_path, "constant", CONSTANT)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert own(tmp_path, "constant").load().model_fields["count"].default == 1
    path.write_text(path.read_text(encoding="utf-8").replace("= 1", "= 2"), encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert own(tmp_path, "constant").load().model_fields["count"].default == 2
    assert not (path.parent / "__pycache__").exists()


def test_two_workspaces_do_not_see_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    add(tmp_path / "a", "constant", CONSTANT)
    add(tmp_path / "b", "constant", CONSTANT.replace("count: int = 1", "count: int = 7"))
    first, second = own(tmp_path / "a", "constant").load(), own(tmp_path / "b", "constant").load()
    assert first.model_fields["count"].default == 1
    assert second.model_fields["count"].default == 7
    assert first.__module__ != second.__module__


def test_files_that_begin_with_an_underscore_are_no_components(tmp_path: Path) -> None:
    add(tmp_path, "_shared", "x = 1")
    add(tmp_path, "__init__", "")
    assert Catalog.for_workspace(tmp_path).names(Kind.extractor) == Catalog.for_workspace(None).names(Kind.extractor)


def test_the_repository_is_a_workspace_of_its_own_components() -> None:
    repository = Path(__file__).parents[2]
    assert [entry.origin for entry in Catalog.for_workspace(repository).entries()] == [
        entry.origin for entry in Catalog.for_workspace(None).entries()
    ]


def test_a_name_taken_twice_names_both_origins() -> None:
    twice = [
        Entry(Kind.loader, "shop", "built in", None, trusted=True, module="a"),
        Entry(Kind.loader, "shop", "plug-in shop 1.0 (shop:Loader)", None, trusted=True, module="b"),
    ]
    with pytest.raises(CatalogError) as caught:
        Catalog(twice)
    assert str(caught.value) == "the load type 'shop' exists twice: built in and plug-in shop 1.0 (shop:Loader)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no extractor: no public class in it derives from etlctl.sdk.Extractor"),
        (CONSTANT + "\n\nclass Other(Extractor):\n    pass\n", "defines more than one component: "),
        ("class Broken(:\n    pass\n", "constant.py:1: not valid Python: "),
        (CONSTANT.replace("Extractor", "Loader"), "derives? from "),
        ("import etlctl\n1 / 0\n" + CONSTANT, "constant.py:2: cannot be loaded: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit()\n" + CONSTANT, "constant.py:2: cannot be loaded: SystemExit"),
        ("import no_such_thing_at_all\n" + CONSTANT, "constant.py:1: needs the package 'no_such_thing_at_all'"),
        (CONSTANT.replace("async def read", "async def raed"), r"Constant does not define read\(\)"),
    ],
    ids=["none", "two", "syntax", "kind", "error", "exit", "package", "verb"],
)
def test_every_way_to_fail_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    add(tmp_path, "constant", text)
    with pytest.raises(CatalogError, match=message):
        own(tmp_path, "constant").load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no extractor"),
        (CONSTANT + "\n\nclass Other(Extractor):\n    pass\n", r"Constant \(line 6\) and Other \(line "),
        ("class Broken(:\n    pass\n", "constant.py:1: not valid Python: "),
        (CONSTANT.replace("Extractor", "Loader"), "Constant derives from Loader, but the folder extractors/"),
    ],
    ids=["none", "two", "syntax", "kind"],
)
def test_mistakes_are_found_without_running_the_file(tmp_path: Path, text: str, message: str) -> None:
    add(tmp_path, "constant", text)
    for ask in (Entry.docs, Entry.options_model):
        with pytest.raises(CatalogError, match=message):
            ask(own(tmp_path, "constant"))


def test_a_missing_package_of_an_extra_names_the_install_command(tmp_path: Path) -> None:
    text = CONSTANT.replace("    value: int\n", '    extra = "excel"\n    value: int\n', 1)
    add(tmp_path, "constant", "import no_such_thing_at_all\n" + text)
    with pytest.raises(MissingExtraError, match=r"extract type 'constant' needs .* pip install 'etlctl\[excel\]'"):
        own(tmp_path, "constant").load()


def test_a_shared_base_class_in_the_file_gives_its_options(tmp_path: Path) -> None:
    text = CONSTANT.replace(
        "class Constant(Extractor):",
        'class _Base(Extractor):\n    url: str\n    """Where."""\n\n\nclass Constant(_Base):',
    )
    add(tmp_path, "constant", text)
    entry = own(tmp_path, "constant")
    first = entry.docs().options[0]
    assert (first.name, first.help) == ("url", "Where.")
    assert list(entry.options_model().model_fields) == list(entry.load().model_fields)


def test_options_under_an_unknown_base_class_accept_more(tmp_path: Path) -> None:
    text = CONSTANT.replace("class Constant(Extractor):", "from some_package import Base\n\n\nclass Constant(Base):")
    add(tmp_path, "constant", text)
    model = own(tmp_path, "constant").options_model()
    model.model_validate({"value": 1, "inherited": "x"})
    with pytest.raises(ValidationError):
        model.model_validate({"value": "x"})


def test_a_plug_in_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_etl.py").write_text(CONSTANT, encoding="utf-8")
    info = tmp_path / "shop_etl-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-etl\nVersion: 1.5\n", encoding="utf-8")
    points = "[etlctl.extractors]\nshop = shop_etl:Constant\nstore = shop_etl\ngone = shop_etl:Gone\n"
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog.for_workspace(None)
    shop = catalog.find(Kind.extractor, "shop")
    assert shop.origin == "plug-in shop-etl 1.5 (shop_etl:Constant)"
    assert "shop_etl" not in sys.modules
    assert shop.load() is catalog.find(Kind.extractor, "store").load()
    assert shop.docs().options[0].help == "The value of the field ``value``."
    assert shop.summary == "Yields the same record a number of times."
    with pytest.raises(CatalogError, match="None does not derive from"):
        catalog.find(Kind.extractor, "gone").load()
    sys.modules.pop("shop_etl")
