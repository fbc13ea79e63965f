"""Finding a user's own Python: the contract's folder first, then the workspace, then what is installed.

A module of one contract never answers for the module of the same name of another: a name that was imported from
elsewhere steps aside while ours is imported, and comes back afterwards.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from etlctl.errors import FatalError

WORKSPACE_FILE = "etlctl.yaml"

_lock = threading.RLock()
_loaded: dict[tuple[Path, str], ModuleType] = {}


def load_callable(module: str, name: str, base_dir: Path) -> Any:
    """Import a module and return one of its attributes, which must be callable.

    Args:
        module: Dotted name of the module.
        name: Name of the function or class in it.
        base_dir: The contract's folder.

    Raises:
        FatalError: There is no such module or name, or importing the module failed.
    """
    found = _load(module, base_dir)
    value = getattr(found, name, None)
    if callable(value):
        return value
    if value is not None:
        raise FatalError(f"{module}.{name} is a {type(value).__name__}, not a function or class")
    names = [known for known in dir(found) if not known.startswith("_") and callable(getattr(found, known))]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it defines {', '.join(names[:10]) or 'nothing callable'}"
    raise FatalError(f"module {module!r} ({found.__file__ or 'built in'}) has no function {name!r}", help=hint)


def source_of(module: str, base_dir: Path) -> Path | None:
    """Return the file of a user's own module; None for one that is installed, and for a package.

    Args:
        module: Dotted name of the module.
        base_dir: The contract's folder.
    """
    for folder in (base_dir.resolve(), workspace_of(base_dir)):
        path = folder / Path(*module.split(".")).with_suffix(".py") if folder is not None else None
        if path is not None and path.is_file():
            return path
    return None


def workspace_of(base_dir: Path) -> Path | None:
    """Return the nearest folder at or above one that holds ``etlctl.yaml``."""
    folder = base_dir.resolve()
    return next((each for each in (folder, *folder.parents) if (each / WORKSPACE_FILE).is_file()), None)


def _load(module: str, base_dir: Path) -> ModuleType:
    folders = [base_dir.resolve()]
    workspace = workspace_of(base_dir)
    if workspace is not None and workspace not in folders:
        folders.append(workspace)
    path = Path(*module.split("."))
    home = next((each for each in folders if _holds(each, path)), None)
    try:
        with _lock:
            return importlib.import_module(module) if home is None else _load_from(home, module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise FatalError(f"module {module!r} cannot be imported: {error}") from error
        places = ", ".join(str(each) for each in folders)
        raise FatalError(
            f"there is no module {module!r} in {places} or among the installed packages",
            help="put the file beside the contract, or install the package into this environment",
        ) from error
    except Exception as error:
        raise FatalError(f"module {module!r} cannot be imported: {type(error).__name__}: {error}") from error


def _holds(folder: Path, path: Path) -> bool:
    return (folder / path).with_suffix(".py").is_file() or (folder / path / "__init__.py").is_file()


def _load_from(folder: Path, module: str) -> ModuleType:
    known = _loaded.get((folder, module))
    if known is not None:
        return known
    top = module.partition(".")[0]
    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == top}
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        found = importlib.import_module(module)
    finally:
        sys.path.remove(str(folder))
        if aside:
            for name in [name for name in sys.modules if name.partition(".")[0] == top]:
                del sys.modules[name]
            sys.modules.update(aside)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # so that imports inside functions find the module's neighbours later
    _loaded[folder, module] = found
    return found
