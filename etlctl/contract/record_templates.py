"""Options of a loader in which ``${field}`` is a field of the record, as it is everywhere in ``transform.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from etlctl.catalog import Catalog, Kind
from etlctl.errors import CatalogError
from etlctl.expression import Reference, Template

PathKey = tuple[str | int, ...]


def record_templates(catalog: Catalog, data: Any, *, import_code: bool) -> Callable[[PathKey], bool]:
    """Return what tells, for a path in a load section, whether the text there is a template for records.

    Args:
        catalog: What loaders there are.
        data: The section: one destination, or a list of them under ``load``.
        import_code: A workspace's own code may be imported.
    """
    items: dict[PathKey, Any] = {(): data}
    listed = data.get("load") if isinstance(data, Mapping) else None
    if isinstance(listed, list):
        items |= {("load", number): item for number, item in enumerate(listed)}
    options = {path: _options(catalog, item, import_code=import_code) for path, item in items.items()}
    known = {path: names for path, names in options.items() if names}

    def is_template(path: PathKey) -> bool:
        return any(path[: len(top)] == top and path[len(top)] in names for top, names in known.items() if path != top)

    return is_template


def _options(catalog: Catalog, item: Any, *, import_code: bool) -> tuple[str, ...]:
    name = item.get("type") if isinstance(item, Mapping) else None
    if not isinstance(name, str) or name not in catalog.names(Kind.loader):
        return ()
    try:
        model = catalog.find(Kind.loader, name).options_model(import_code=import_code)
    except CatalogError:
        return ()  # whoever makes the component says what is wrong with it
    return tuple(getattr(model, "record_templates", ()))


def rest_of(text: str, template: Template, values: Callable[[Reference], str | None]) -> str | None:
    """Return a template for records with everything filled in that is no field; None when something has no value yet.

    What is filled in is text and cannot become a reference.

    Args:
        text: The template.
        template: The same, read.
        values: Returns the value of a reference.
    """
    made = ""
    for part in template.parts:
        if isinstance(part, str):
            made += _literal(part)
        elif part.scope is None:
            made += text[part.start : part.end]
        elif (value := values(part)) is not None:
            made += _literal(value)
        else:
            return None
    return made


def _literal(text: str) -> str:
    return text.replace("${", "$${")
