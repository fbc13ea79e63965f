"""The three kinds of components: where each lives and how people call it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etlctl.sdk.component import Component


class Kind(StrEnum):
    """What a component is for."""

    extractor = "extractor"
    operation = "operation"
    loader = "loader"

    @property
    def folder(self) -> str:
        """Name of the folder, of the built-in package and of the entry-point group's last part."""
        return _FOLDERS[self]

    @property
    def group(self) -> str:
        """Entry-point group of installed plug-ins."""
        return f"etlctl.{self.folder}"

    @property
    def noun(self) -> str:
        """What a contract calls it, for messages: ``extract type``."""
        return _NOUNS[self]

    @property
    def base(self) -> type[Component]:
        """The class of ``etlctl.sdk`` that components of this kind derive from."""
        from etlctl import sdk  # noqa: PLC0415

        bases: dict[Kind, type[Component]] = {
            Kind.extractor: sdk.Extractor,
            Kind.operation: sdk.Operation,
            Kind.loader: sdk.Loader,
        }
        return bases[self]


_FOLDERS = {Kind.extractor: "extractors", Kind.operation: "transforms", Kind.loader: "loaders"}
_NOUNS = {Kind.extractor: "extract type", Kind.operation: "operation", Kind.loader: "load type"}
