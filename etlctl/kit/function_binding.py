"""What of a user's function or class is called, and with which keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from etlctl.errors import FatalError

METHODS = ("optimize", "run", "__call__")


def bound(found: Any, path: str, kwargs: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what to call and with which keyword arguments: the function, or a method of one object of the class."""
    if not inspect.isclass(found):
        _check_kwargs(found, path, kwargs)
        return found, kwargs
    takes = _named(found)
    try:
        instance = found(**{name: value for name, value in kwargs.items() if name in takes})
    except Exception as error:
        raise FatalError(f"custom function {path}: making the object raised {type(error).__name__}: {error}") from error
    method = next((getattr(instance, name) for name in METHODS if hasattr(instance, name)), None)
    if method is None:
        raise FatalError(f"class {path} has none of the methods {', '.join(METHODS)}")
    again = _named(method)
    rest = {name: value for name, value in kwargs.items() if name not in takes or name in again}
    _check_kwargs(method, path, rest)
    return method, rest


def _named(function: Any) -> frozenset[str]:
    """Return the names of the keyword arguments a callable takes; ``**kwargs`` names none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(parameter.name for parameter in parameters if parameter.kind in kinds)


def _check_kwargs(function: Any, path: str, kwargs: dict[str, Any]) -> None:
    """Refuse keyword arguments that no call can take, once and before the first record."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions do not tell
    try:
        signature.bind(None, **kwargs)
    except TypeError as error:
        given = ", ".join(kwargs) or "none"
        raise FatalError(
            f"custom function {path}{signature} cannot be called with records and the kwargs given ({given}): {error}",
            help="it gets the record (or the records) as its first argument, and kwargs: as keyword arguments",
        ) from None
