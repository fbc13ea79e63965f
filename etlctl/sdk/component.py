"""The base of every component: its options are its fields, its docs are its docstrings."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from etlctl.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etlctl.sdk.extractor import Extractor


@frozen
class Example:
    """A runnable example of a component, checked by the conformance tests and shown in the reference.

    Attributes:
        title: What it shows, one line.
        yaml: The options as they stand in a contract (for an operation: the value under its name).
        given: Records going in (operations), or files by name (file-like extractors).
        expect: Records coming out.
        rejected: Rules of the records that are refused, in order.
        files: Files beside the contract, by name, that the options refer to.
    """

    title: str
    yaml: str
    given: Any = None
    expect: Any = None
    rejected: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


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

    nested: ClassVar[tuple[str, ...]] = ()
    """Options that are whole extractor sections (``type:`` and its options) or lists of them, such as ``with`` of join.

    Their declared type is a mapping, or a list of mappings; variables in them are filled in and they are checked as in
    ``extract.yaml``. What they stand for is in ``sources``.
    """

    variables: ClassVar[tuple[str, ...]] = ()
    """Options of an operation, at any depth, whose ``${env:…}``, ``${secret:…}`` and ``${param:…}`` are filled in.

    In all other texts of a transform section ``${…}`` is a field of the record.
    """

    _nested_sources: dict[str, tuple[Extractor, ...]] = PrivateAttr(default_factory=dict)
    _contract_dir: str | None = PrivateAttr(default=None)

    def with_sources(self, sources: Mapping[str, tuple[Extractor, ...]], base_dir: str) -> Self:
        """Return the component with the extractors its ``nested`` options stand for.

        Args:
            sources: Extractors by option.
            base_dir: The contract's folder.
        """
        return self.remade(_nested_sources=dict(sources), _contract_dir=base_dir)

    def remade(self, **private: Any) -> Self:
        """Return a copy with other values of private attributes, such as what a run has to begin without."""
        made = self.model_copy()
        for name, value in private.items():
            setattr(made, name, value)
        return made

    def sources(self, option: str) -> tuple[Extractor, ...]:
        """Return the extractors that a ``nested`` option stands for; none before the contract is compiled."""
        return self._nested_sources.get(option, ())

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the files and folders of this machine that an extractor reads or a loader writes, absolute.

        A run that would write where it reads is refused. Blocks; a component that touches no files has none.

        Args:
            base_dir: Folder that relative paths start at.
        """
        inner = [source for sources in self._nested_sources.values() for source in sources]
        return tuple(place for source in inner for place in source.places(base_dir))
