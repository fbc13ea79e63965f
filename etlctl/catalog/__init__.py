"""The catalogue: finds the components of the installed build, of plug-ins and of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlctl.catalog.catalogue import Catalog, ComponentDocs, Entry, Kind, OptionDoc
    from etlctl.catalog.workspace import Workspace, WorkspaceConfig, find_workspace

__all__ = [
    "Catalog",
    "ComponentDocs",
    "Entry",
    "Kind",
    "OptionDoc",
    "Workspace",
    "WorkspaceConfig",
    "find_workspace",
]

_WORKSPACE = {"Workspace", "WorkspaceConfig", "find_workspace"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'etlctl.catalog' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"etlctl.catalog.{'workspace' if name in _WORKSPACE else 'catalogue'}"), name)
