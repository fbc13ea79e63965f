"""What a glance at a user's file tells of the function a contract names in it. Nothing is imported."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from etlctl.frozen import frozen
from etlctl.kit.user_code import workspace_of

_UNTOLD = frozenset({"__getattr__", "exec", "eval", "globals", "setattr", "vars", "__dict__"})
"""Names in a module that may make names which its text does not show."""


@frozen
class Trouble:
    """Why a function cannot be called.

    Attributes:
        message: What is wrong.
        of_module: It is about the module; else about the function in it.
        candidates: Names that could have been meant.
    """

    message: str
    of_module: bool
    candidates: tuple[str, ...] = ()


def trouble_with(module: str, function: str, base_dir: Path) -> Trouble | None:
    """Return why a function certainly cannot be called; None when it can, or when only importing it tells.

    Args:
        module: Dotted name of the module.
        function: Name of the function or class in it.
        base_dir: The contract's folder.
    """
    workspace = workspace_of(base_dir)
    folders = list(dict.fromkeys(folder for folder in (base_dir.resolve(), workspace) if folder is not None))
    path = next((found for folder in folders for found in _files(folder, module)), None)
    if path is None:
        return None if _is_installed(module) else _no_module(module, folders)
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, str(path), "exec", dont_inherit=True)
            tree = ast.parse(source)
    except OSError:
        return None
    except SyntaxError as error:
        return Trouble(f"{path.name}, line {error.lineno or 1}: {error.msg}", of_module=True)
    except (ValueError, RecursionError, MemoryError) as error:
        return Trouble(f"{path.name} is no Python: {error}", of_module=True)
    names = list(dict.fromkeys(_bound(tree.body)))
    if function in names or "*" in names or _is_untold(tree):
        return None
    public = tuple(name for name in names if not name.startswith("_"))
    return Trouble(f"{path.name} has no function {function!r}", of_module=False, candidates=public)


def _files(folder: Path, module: str) -> Iterator[Path]:
    path = folder.joinpath(*module.split("."))
    yield from (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())


def _is_installed(module: str) -> bool:
    """Tell whether an import may find a module; of a package only the top is looked for, below it the import tells."""
    top = module.partition(".")[0]
    if top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return True  # something is there, and only the import can tell what


def _no_module(module: str, folders: list[Path]) -> Trouble:
    beside = {
        path.stem for folder in folders for path in folder.glob("*.py") if path.is_file() and path.stem.isidentifier()
    }
    where = "beside the contract, in the workspace" if len(folders) > 1 else "beside the contract"
    message = f"there is no module {module!r} {where} or among the installed packages"
    return Trouble(message, of_module=True, candidates=tuple(sorted(beside)))


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind, those of nested blocks included."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.stmt) and node is not statement:
                yield from _bound([node])


def _is_untold(tree: ast.Module) -> bool:
    """Tell whether the module may have names that its text does not show."""
    for node in ast.walk(tree):
        name = getattr(node, "id", None) or getattr(node, "name", None) or getattr(node, "attr", None)
        if name in _UNTOLD or isinstance(node, ast.Global):
            return True
    return False
