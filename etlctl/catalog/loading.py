"""Imports the code of a component and finds its class; every way this can go wrong is one clear error."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from etlctl.catalog.kinds import Kind
from etlctl.catalog.source import syntax_problem
from etlctl.errors import CatalogError, EtlctlError
from etlctl.sdk.component import Component


class _FreshLoader(SourceFileLoader):
    """Reads the source each time: cached bytecode misses an edit of the same size within the same second."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return self.source_to_code(self.get_data(self.path), self.path)


def private_name(path: Path, kind: Kind) -> str:
    """Return the module name of a workspace's own component file: unique to its folder, never a public name."""
    root = hashlib.sha256(str(path.parent.parent).encode()).hexdigest()[:12]
    return f"etlctl_workspace_{root}.{kind.folder}.{path.stem}"


def import_path(path: Path, kind: Kind) -> ModuleType:
    """Run a component file of a workspace under a private module name.

    A component file stands alone: it imports installed packages (``etlctl.sdk`` first of all), not its neighbours.

    Raises:
        CatalogError: It cannot be imported; the message names file and line.
    """
    name = private_name(path, kind)
    spec = importlib.util.spec_from_file_location(name, path, loader=_FreshLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise CatalogError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    # Registered while it runs and after: pydantic resolves annotations, and pickle finds classes, through it.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, Exception | SystemExit):
            raise import_problem(str(path), error, path) from error
        raise
    return module


def import_module(name: str, origin: str) -> ModuleType:
    """Import an installed module.

    Raises:
        CatalogError: It cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise import_problem(origin, error, None) from error


def import_problem(origin: str, error: BaseException, path: Path | None) -> EtlctlError:
    """Return the clear error for a component whose code cannot be imported."""
    if isinstance(error, EtlctlError):
        return error
    if isinstance(error, SyntaxError):
        return syntax_problem(path or origin, error)
    where = f"{origin}:{line}" if (line := _line(error, path)) else origin
    if isinstance(error, ModuleNotFoundError) and error.name:
        return CatalogError(
            f"{where}: needs the package {error.name.split('.')[0]!r}, which is not installed",
            help=f"install it (pip install {error.name.split('.')[0]}); a component file stands alone: "
            "it imports etlctl.sdk and installed packages, not its neighbours",
        )
    return CatalogError(
        f"{where}: cannot be loaded: {type(error).__name__}: {error}",
        help="mend the file, or let its name begin with an underscore when it is no component",
    )


def _line(error: BaseException, path: Path | None) -> int | None:
    if path is None:
        return None
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)


def component_class(module: ModuleType, kind: Kind, origin: str) -> type[Component]:
    """Return the one component class that a module defines.

    Raises:
        CatalogError: There is none, or more than one, it is of another kind, or its verb is missing.
    """
    found = [
        value
        for value in dict.fromkeys(item for item in vars(module).values() if isinstance(item, type))
        if issubclass(value, Component) and value.__module__ == module.__name__ and not value.__name__.startswith("_")
    ]
    base = kind.base
    if not found:
        raise CatalogError(
            f"{origin} defines no {kind}: no public class in it derives from etlctl.sdk.{base.__name__}",
            help="write one class that does, or let the file name begin with an underscore when it is no component",
        )
    if len(found) > 1:
        names = " and ".join(sorted(cls.__name__ for cls in found))
        raise CatalogError(
            f"{origin} defines more than one component: {names}",
            help="one file is one component: move one of them to its own file, "
            "or let a shared base class begin with an underscore",
        )
    return checked_class(found[0], kind, origin)


def checked_class(cls: object, kind: Kind, origin: str) -> type[Component]:
    """Return ``cls`` when it is a complete component of the kind.

    Raises:
        CatalogError: It is not.
    """
    base = kind.base
    if not (isinstance(cls, type) and issubclass(cls, base)):
        name = cls.__name__ if isinstance(cls, type) else repr(cls)
        raise CatalogError(
            f"{origin}: {name} does not derive from etlctl.sdk.{base.__name__}, and {kind.folder} holds {kind}s",
            help="move the file to the folder of its kind, or change its base class",
        )
    if inspect.isabstract(cls):
        missing = ", ".join(f"{name}()" for name in sorted(cls.__abstractmethods__))
        raise CatalogError(
            f"{origin}: {cls.__name__} does not define {missing}",
            help=f"every {kind} must define it; see etlctl.sdk.{base.__name__}",
        )
    return cls
