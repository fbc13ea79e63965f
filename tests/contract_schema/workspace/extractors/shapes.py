"""A source whose options have every shape."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from etlctl.sdk import Batch, Example, Extractor, ReadContext


class Pace(StrEnum):
    """How fast."""

    slow = "slow"
    fast = "fast"


class Auth(BaseModel):
    """How to log in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user: str
    """Who."""
    tries: int = Field(default=3, ge=1)
    """How often."""


class Shapes(Extractor):
    """Has options of every shape."""

    examples: ClassVar[tuple[Example, ...]] = (Example("The least", "name: x", expect=[{"name": "x"}]),)

    name: str
    """Any text."""
    code: str = Field(default="abc", pattern="^[a-z]+$", max_length=5)
    """Text that is limited."""
    count: int = Field(default=1, ge=0, le=100)
    """A whole number that is limited."""
    ratio: float = 0.5
    """Any number."""
    quick: bool = False
    """Yes or no."""
    mode: Literal["one", "two"] = "one"
    """One of two."""
    pace: Annotated[Pace, Field(strict=False)] = Pace.slow
    """How fast."""
    words: tuple[str, ...] = Field(default=(), strict=False)
    """A list of text."""
    numbers: list[int] = Field(default_factory=list)
    """A list of whole numbers."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Text by text."""
    auth: Auth | None = None
    """An object inside."""
    limit: int | None = None
    """May be null."""
    either: int | str = 0
    """Two kinds."""
    anything: Any = None
    """Whatever."""
    after: str = Field(default="", alias="from")
    """An option whose name is a word of Python."""

    async def read(self, ctx: ReadContext):
        """Yield the name."""
        yield Batch.of_rows([{"name": self.name}], position={"done": True})
