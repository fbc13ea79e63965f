"""Parameters that nothing refers to are sent by extractors that say where: ``input_params: {symbol: …}`` is a query."""

from __future__ import annotations

from etlctl.catalog import Catalog, Kind
from etlctl.contract.checked import Checked
from etlctl.contract.inputs import RUN_DATE
from etlctl.contract.variables import Values
from etlctl.errors import CatalogError


def send_unreferenced(checked: Checked, values: Values, catalog: Catalog) -> None:
    """Put declared parameters that nothing in the contract refers to into the option that the extractor names for them.

    Args:
        checked: The contract; the references in its sections are filled in.
        values: Values, and what was referred to.
        catalog: Components.
    """
    resolved = checked.resolved.get("extract")
    option = _option(resolved.data, catalog) if resolved is not None else None
    if resolved is None or option is None:
        return
    given = resolved.data.get(option) or {}
    if not isinstance(given, dict):
        return  # reported as what it is
    transform = checked.part("transform")
    text = transform.document.text if transform is not None else ""
    unused = [name for name in values.declared if name not in values.referenced and "${" + name not in text]
    sent = {name: values.given[name] for name in unused if name != RUN_DATE and values.given.get(name) is not None}
    if sent:
        resolved.data = {**resolved.data, option: {**sent, **given}}


def _option(data: object, catalog: Catalog) -> str | None:
    name = data.get("type") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in catalog.names(Kind.extractor):
        return None
    try:
        model = catalog.find(Kind.extractor, name).options_model()
    except CatalogError:
        return None  # reported where the component is chosen
    found = getattr(model, "sends_params", None)
    return found if isinstance(found, str) else None
