"""The workspace: the user's folder with ``etlctl.yaml``, contracts, own components and state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etlctl.errors import ContractError
from etlctl.frozen import frozen

CONFIG_NAME = "etlctl.yaml"
_KEYS = {"name": "a name for people", "contracts": "the folder that holds the contracts"}


@frozen
class WorkspaceConfig:
    """What ``etlctl.yaml`` says.

    Attributes:
        name: Name for people; the folder's name when left out.
        contracts: Folder of the contracts, relative to the workspace.
    """

    name: str
    contracts: str = "contracts"


@frozen
class Workspace:
    """The user's folder.

    Attributes:
        root: The folder.
        config: Settings, defaults where there is no ``etlctl.yaml``.
        config_file: The ``etlctl.yaml``, or None.
    """

    root: Path
    config: WorkspaceConfig
    config_file: Path | None = None

    @property
    def state_dir(self) -> Path:
        """Folder of the ledger and the run reports."""
        return self.root / ".etlctl"

    @property
    def contracts_dir(self) -> Path:
        """Folder of the contracts."""
        return self.root / self.config.contracts


def find_workspace(start: Path) -> Workspace:
    """Return the workspace of a path: the nearest folder upwards (``start`` included) that has an ``etlctl.yaml``.

    Without one, the current directory is the workspace, with default settings.

    Raises:
        ContractError: ``etlctl.yaml`` is not valid; the message names file, line and column.
    """
    here = start.absolute()
    for folder in (here, *here.parents):
        file = folder / CONFIG_NAME
        if file.is_file():
            return Workspace(folder, read_config(file), file)
    root = Path.cwd()
    return Workspace(root, WorkspaceConfig(root.name))


def read_config(file: Path) -> WorkspaceConfig:
    """Read an ``etlctl.yaml``.

    Raises:
        ContractError: It is not valid.
    """
    import yaml  # noqa: PLC0415

    try:
        node = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ContractError(f"{file} is not valid YAML: {error}") from error
    if node is None:
        return WorkspaceConfig(file.parent.name)
    if not isinstance(node, yaml.MappingNode):
        raise ContractError(f"{_at(file, node)}: a mapping is needed here, such as 'name: my-workspace'")
    values: dict[str, str] = {}
    for key, value in node.value:
        _check_key(file, key, values)
        if not isinstance(value, yaml.ScalarNode) or not value.value.strip() or value.tag.endswith(":null"):
            raise ContractError(f"{_at(file, value)}: {key.value!r} must be text: {_KEYS[key.value]}")
        values[key.value] = value.value
    return WorkspaceConfig(**{"name": file.parent.name, **values})


def _check_key(file: Path, key: Any, seen: dict[str, str]) -> None:
    if not isinstance(key.value, str) or key.value not in _KEYS:
        known = ", ".join(_KEYS)
        raise ContractError(f"{_at(file, key)}: unknown key {key.value!r}", help=f"known keys: {known}")
    if key.value in seen:
        raise ContractError(f"{_at(file, key)}: the key {key.value!r} stands here twice")


def _at(file: Path, node: Any) -> str:
    return f"{file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
