"""The version of contracts to compare with: a contract, a folder of contracts, or what git has at a revision."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from etlctl.catalog.workspace import CONFIG_NAME
from etlctl.contract.checked import Checked
from etlctl.contract.compile import Settings, examine
from etlctl.contract.layout import SECTION_FILES, find_contracts, is_contract_dir, read_layout, shown_path
from etlctl.errors import EtlctlError

GIT = "git:"


class AgainstError(EtlctlError):
    """There is nothing to compare with at the place named."""

    exit_code = 2


@dataclass
class OldVersions:
    """Contracts of an older version.

    Attributes:
        root: Where they are.
        label: What paths in them are shown with in place of the root; None: as they are.
        contracts: Each contract by its path from the root.
    """

    root: Path
    label: str | None = None
    contracts: dict[str, Path] = field(default_factory=dict)
    _met: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.root.exists():
            self.contracts = {_relative(path, self.root): path for path in find_contracts(self.root)}

    def match(self, contract: Path, root: Path, new: Checked, settings: Settings) -> Checked | None:
        """Return the old version of a contract: the one at the same path, else of the same name; None if it is new.

        Args:
            contract: The contract.
            root: The path it was found at or below.
            new: The contract, checked.
            settings: How it was checked.
        """
        where = _relative(contract, root)
        if where not in self.contracts:
            alone = len(self.contracts) == 1 and where == "."
            named = [key for key, path in self.contracts.items() if self._checked(path, new, settings).name == new.name]
            where = next(iter(self.contracts)) if alone else named[0] if named else ""
        if where not in self.contracts:
            return None
        self._met.add(where)
        return self._checked(self.contracts[where], new, settings)

    def removed(self) -> list[str]:
        """Return the contracts that nothing was matched with, as messages show them."""
        return [self._shown(self.contracts[key]) for key in self.contracts if key not in self._met]

    def _checked(self, path: Path, new: Checked, settings: Settings) -> Checked:
        layout = read_layout(path)
        # Sources and workspace are those of today: only what the contract says is compared.
        layout.base_dir = new.layout.base_dir
        layout.path = self._shown(path)
        for document in layout.documents:
            document.file = self._shown(document.path)
        return examine(path, settings, layout)

    def _shown(self, path: Path) -> str:
        if self.label is None:
            return shown_path(path)
        inside = _relative(path, self.root)
        return self.label if inside == "." else f"{self.label.rstrip('/')}/{inside}"


def _relative(path: Path, root: Path) -> str:
    return shown_path(path.relative_to(root)) if path.is_relative_to(root) else shown_path(path)


@contextmanager
def old_versions(place: str, root: Path) -> Iterator[OldVersions]:
    """Give the old versions of the contracts at or below a path.

    Args:
        place: A path, or ``git:REV`` for the same path at a revision of git.
        root: The path.

    Raises:
        AgainstError: There is no such path or revision.
    """
    if not place.startswith(GIT):
        path = Path(place)
        if path.name in SECTION_FILES.values():
            path = path.parent
        if not place:
            raise AgainstError("there is nothing to compare with: --against was given an empty text")
        if not path.exists():
            raise AgainstError(
                f"there is nothing to compare with: {place} does not exist",
                help=f"give a path, or a revision of git: {GIT}{place}",
            )
        if not is_contract_dir(path) and path.is_dir() and not any(find_contracts(path)):
            raise AgainstError(f"there is no contract at or below {place} to compare with")
        if path.is_file() and (path.suffix.lower() not in {".yaml", ".yml"} or path.name == CONFIG_NAME):
            raise AgainstError(f"{place} is no contract to compare with", help="give a contract, or a folder of them")
        yield OldVersions(path)
        return
    with tempfile.TemporaryDirectory(prefix="etlctl-against-") as folder:
        yield _from_git(place.removeprefix(GIT), root, Path(folder))


def _from_git(revision: str, root: Path, folder: Path) -> OldVersions:
    """Write the contract files that git has at a revision into a folder; the work tree is not touched."""
    around = root if root.is_dir() else root.parent
    top = Path(_git(around, "rev-parse", "--show-toplevel").decode().strip())
    inside = shown_path(root.resolve().relative_to(top.resolve()))
    commit = (
        _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    )
    names = _git(top, "ls-tree", "-r", "-z", "--name-only", commit, "--", inside).decode("utf-8", "surrogateescape")
    for name in filter(None, names.split("\0")):
        if name.endswith((".yaml", ".yml")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_git(top, "cat-file", "blob", f"{commit}:{name}"))
    return OldVersions(folder / inside, f"{GIT}{revision}:{inside}")


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        # Arguments are a list, and a revision stands behind --end-of-options.
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - wherever the user has it
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise AgainstError(
            f"git cannot be run: {error.strerror or error}", help="install git, or name a path"
        ) from error
    if done.returncode:
        said = (
            done.stderr.decode("utf-8", "replace").strip() or f"git knows no revision {arguments[-1].split('^')[0]!r}"
        )
        raise AgainstError(f"nothing to compare with: {said.splitlines()[0]}", help="name a revision, such as git:main")
    return done.stdout
