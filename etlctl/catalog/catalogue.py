"""The catalogue: every component that a contract may name, from the build, from plug-ins and from a workspace."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from etlctl.catalog.docs import ComponentDocs, OptionDoc
from etlctl.catalog.entry import Entry
from etlctl.catalog.kinds import Kind
from etlctl.errors import CatalogError

__all__ = ["Catalog", "ComponentDocs", "Entry", "Kind", "OptionDoc"]


class Catalog:
    """The components of one build and one workspace, as they were when the catalogue was made.

    Args:
        entries: The components.

    Raises:
        CatalogError: A name is taken twice.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: dict[tuple[Kind, str], Entry] = {}
        for entry in entries:
            other = self._entries.setdefault((entry.kind, entry.type), entry)
            if other is not entry:
                raise CatalogError(
                    f"the {entry.kind.noun} {entry.type!r} exists twice: {other.origin} and {entry.origin}",
                    help="rename one of the two; the file name (or the name of the entry point) is the type",
                )

    @classmethod
    def for_workspace(cls, root: Path | None, *, plug_ins: bool = True) -> Catalog:
        """Find all components: built in, installed plug-ins, and those of a workspace.

        Finding reads file names and entry points only; no component is imported.

        Args:
            root: The workspace's folder; None for the installed build and its plug-ins alone.
            plug_ins: Look for installed plug-ins too.

        Raises:
            CatalogError: A name is taken twice.
        """
        own = _own(root) if root is not None else ()
        return cls([*_built_in(), *(_plug_ins() if plug_ins else ()), *own])

    def find(self, kind: Kind, type: str) -> Entry:  # noqa: A002 - the word of the contract
        """Return a component by name.

        Raises:
            CatalogError: There is none; the message suggests the nearest name and lists all.
        """
        entry = self._entries.get((kind, type))
        if entry is not None:
            return entry
        names = self.names(kind)
        near = difflib.get_close_matches(type, names, n=1, cutoff=0.5)
        suggestion = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(names) or "none"
        raise CatalogError(f"Unknown {kind.noun}: {type!r}", help=f"{suggestion}known {kind.noun}s: {known}")

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of a kind, in alphabetical order."""
        return tuple(sorted(name for of_kind, name in self._entries if of_kind is kind))

    def entries(self, kind: Kind | None = None) -> tuple[Entry, ...]:
        """Return all components, or those of a kind, by kind and name."""
        chosen = [entry for entry in self._entries.values() if kind is None or entry.kind is kind]
        order = list(Kind)
        return tuple(sorted(chosen, key=lambda entry: (order.index(entry.kind), entry.type)))


def built_in_folder(kind: Kind) -> Path | None:
    """Return the folder of the built-in components of a kind; in a checkout it stands beside the package."""
    # Not imported: looking for a submodule imports its parent alone, and ``etlctl`` is loaded already.
    spec = importlib.util.find_spec(f"etlctl.{kind.folder}")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def _built_in() -> Iterator[Entry]:
    for kind in Kind:
        folder = built_in_folder(kind)
        for path in _component_files(folder) if folder else ():
            yield Entry(kind, path.stem, "built in", path, trusted=True, module=f"etlctl.{kind.folder}.{path.stem}")


def _plug_ins() -> Iterator[Entry]:
    installed = importlib.metadata.entry_points()  # once for all kinds: it looks into every distribution
    for kind in Kind:
        for point in sorted(installed.select(group=kind.group), key=lambda point: point.name):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
            yield Entry(
                kind,
                point.name,
                f"plug-in {package} ({point.value})",
                None,
                trusted=True,
                module=point.module,
                attribute=point.attr or None,
            )


def _own(root: Path) -> Iterator[Entry]:
    if _is_our_repository(root):
        return
    for kind in Kind:
        folder = root / kind.folder
        if not folder.is_dir():
            continue
        for path in _component_files(folder.resolve()):
            yield Entry(kind, path.stem, f"workspace {kind.folder}/{path.name}", path, trusted=False)


def _is_our_repository(root: Path) -> bool:
    """Tell whether the workspace is etlctl's own repository: its folders are the built-in ones, not a second set.

    Its name card decides, not the place of the folders: a plain install has its own copy of them elsewhere.
    """
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return isinstance(project, dict) and project.get("name") == "etlctl"


def _component_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")) and path.is_file())
