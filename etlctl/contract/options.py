"""Checks a section's values against a pydantic model; every problem is reported in the words of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from etlctl.contract.document import PathKey
from etlctl.contract.explanations import Place, entry_of, explain
from etlctl.contract.scalars import plain_scalar
from etlctl.diagnostics import Diagnostic

M = TypeVar("M", bound=BaseModel)


def check_options(model: type[M], data: Any, place: Place, report: Callable[[Diagnostic], None]) -> M | None:
    """Return the model filled with data, or None after reporting every problem.

    The data is checked as JSON: a list does for a tuple and a text for an enumeration, but a text never for a number.
    """
    found, error = _try(model, data)
    if error is not None and (reread := _reread(data, error.errors(include_url=False), place)) is not None:
        data = reread
        found, error = _try(model, data)
    complete = error is None
    while error is not None:
        for diagnostic in explain(model, error, place):
            report(diagnostic)
        data = _without_entries(data, error)
        error = _try(model, data)[1] if data is not None else None
    return found if complete else None


def _try(model: type[M], data: Any) -> tuple[M | None, ValidationError | None]:
    try:
        return model.model_validate_json(json.dumps(data)), None
    except ValidationError as error:
        return None, error


def _without_entries(data: Any, error: ValidationError) -> Any:
    """Return the data without the entries that a validator of a whole mapping refused; None when there are none.

    Such a validator stops at the first bad entry; without it, it gets to the next.
    """
    errors = error.errors(include_url=False)
    bad = {(*_existing(data, details["loc"]), *entry_of(details)) for details in errors if entry_of(details)}
    bad = {path for path in bad if _existing(data, path) == path}
    return _cut(data, (), bad) if bad and len(bad) == len(errors) else None


def _cut(data: Any, path: PathKey, bad: set[PathKey]) -> Any:
    if isinstance(data, dict):
        return {key: _cut(value, (*path, key), bad) for key, value in data.items() if (*path, key) not in bad}
    return data


def _reread(data: Any, errors: Sequence[ErrorDetails], place: Place) -> Any:
    """Return the data with the texts that came from a lone reference, and are of the wrong type, read as scalars."""
    allowed = {path[len(place.path) :] for path in place.rereadable}
    wrong = {_existing(data, error["loc"]) for error in errors} & allowed
    changes = {path: plain_scalar(_get(data, path)) for path in wrong}
    changes = {path: value for path, value in changes.items() if not isinstance(value, str)}
    if not changes:
        return None
    return _with_changes(data, (), changes)


def _existing(data: Any, loc: Sequence[str | int]) -> PathKey:
    path: PathKey = ()
    for part in loc:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if inside:
            data = data[part]
            path = (*path, part)
    return path


def _get(data: Any, path: PathKey) -> Any:
    for part in path:
        data = data[part]
    return data


def _with_changes(data: Any, path: PathKey, changes: dict[PathKey, Any]) -> Any:
    if path in changes:
        return changes[path]
    if isinstance(data, dict):
        return {key: _with_changes(value, (*path, key), changes) for key, value in data.items()}
    if isinstance(data, list):
        return [_with_changes(value, (*path, number), changes) for number, value in enumerate(data)]
    return data
