"""The base of every component: its options are its fields, its docs are its docstrings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class Example:
    """A runnable example of a component, checked by the conformance tests and shown in the reference.

    Attributes:
        title: What it shows, one line.
        yaml: The options as they stand in a contract (for an operation: the value under its name).
        given: Records going in (operations), or files by name (file-like extractors).
        expect: Records coming out.
        rejected: Rules of the records that are refused, in order.
    """

    title: str
    yaml: str
    given: Any = None
    expect: Any = None
    rejected: tuple[str, ...] = ()


class Component(BaseModel):
    """A part of a contract. The class is its options; a subclass adds one verb.

    Options are frozen; unknown keys are errors; types are exact (a quoted number is not a number).
    Docs come from docstrings: the class docstring is the summary, the string under a field its help.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, defer_build=True)

    examples: ClassVar[tuple[Example, ...]] = ()
    """Runnable examples: documentation and tests at once."""

    extra: ClassVar[str | None] = None
    """Name of the extra to install, when the component needs packages outside the core."""

    def places(self, base_dir: Path) -> tuple[Path, ...]:  # noqa: ARG002
        """Return the files and folders of this machine that an extractor reads or a loader writes, absolute.

        A run that would write where it reads is refused. Blocks; a component that touches no files has none.

        Args:
            base_dir: Folder that relative paths start at.
        """
        return ()
