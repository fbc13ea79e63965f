"""``@frozen``: as good as a frozen dataclass to whoever uses the value, and much cheaper to define."""

import dataclasses

import pytest

from etlctl.frozen import frozen


@frozen
class Point:
    """A place."""

    x: int
    y: int = 0
    note: str = dataclasses.field(default="", compare=False, repr=False)


@frozen(kw_only=True)
class Named:
    """A named place."""

    name: str
    tags: list[str] = dataclasses.field(default_factory=list)


@frozen
class Other:
    """Looks like a place."""

    x: int
    y: int = 0


def test_it_is_equal_by_what_it_holds_and_by_what_it_is() -> None:
    assert Point(1, 2, "a") == Point(1, 2, "b")
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Other(1, 2)  # type: ignore[comparison-overlap]
    assert {Point(1, 2), Point(1, 2), Point(2, 1)} == {Point(1, 2), Point(2, 1)}


def test_it_shows_what_it_holds() -> None:
    assert repr(Point(1, note="hidden")) == "Point(x=1, y=0)"
    assert repr(Named(name="here")) == "Named(name='here', tags=[])"


def test_the_functions_of_dataclasses_work() -> None:
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Named(name="here", tags=["a"])) == {"name": "here", "tags": ["a"]}
    assert [one.name for one in dataclasses.fields(Point)] == ["x", "y", "note"]
    assert Named(name="a").tags is not Named(name="b").tags


def test_only_by_name_means_only_by_name() -> None:
    with pytest.raises(TypeError):
        Named("here")  # type: ignore[call-arg]


def test_methods_of_its_own_stay() -> None:
    @frozen
    class Loud:
        x: int

        def __repr__(self) -> str:
            return "LOUD"

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    assert repr(Loud(1)) == "LOUD"
    assert Loud(1) == Loud(2)
    with pytest.raises(TypeError):
        hash(Loud(1))
