"""JSON Schema documents (2020-12) of the contract files, made from the sections and every component there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from etlctl.catalog import Catalog, Entry, Kind
from etlctl.contract.cases import Case
from etlctl.contract.layout import CASES_KEY, TRANSFORM_KEYS
from etlctl.contract.option_schema import INTERPOLATED, REFERENCE_DEFS, Schema, model_schema
from etlctl.contract.sections import (
    ContractSection,
    DestinationEnvelope,
    ExtractEnvelope,
    LoadEnvelope,
    TransformEnvelope,
)
from etlctl.contract.steps import map_place
from etlctl.errors import CatalogError

SECTIONS = ("extract", "transform", "load", "contract", "pipeline", "cases")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_for(section: str, catalog: Catalog) -> Schema:
    """Return the JSON Schema of a contract file.

    Args:
        section: ``extract``, ``transform``, ``load``, ``contract``, ``pipeline`` or ``cases``.
        catalog: The components to offer. One whose file cannot be read is offered with any options.

    Raises:
        ValueError: There is no such section.
    """
    if section not in _MAKERS:
        raise ValueError(f"no section {section!r}; sections are {', '.join(SECTIONS)}")
    document = _Document(catalog)
    made = _MAKERS[section](document)
    head = {"$schema": DIALECT, "title": f"etlctl {section}.yaml"}
    return {**head, **made, "$defs": dict(sorted(document.defs.items()))} if document.defs else {**head, **made}


class _Document:
    """One document: its shared definitions, filled while its parts are made."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.defs: dict[str, Schema] = {}

    def extract(self) -> Schema:
        return self._component_section(Kind.extractor, ExtractEnvelope, "What to read, and how the run goes.")

    def load(self) -> Schema:
        about = "Where the records go."
        one = self._component_section(Kind.loader, LoadEnvelope, about)
        return {"description": about, "if": _HAS_LIST, "then": self._destinations(), "else": one}

    def _destinations(self) -> Schema:
        """Return the schema of a load section that holds several destinations."""
        own, inner = model_schema(DestinationEnvelope, "destination", references=True)
        self.defs.update(inner)
        operations = {entry.type: entry for entry in self.catalog.entries(Kind.operation)}
        condition = [self._operation(operations["filter"])] if "filter" in operations else []
        where = {"description": own["properties"]["where"]["description"], "anyOf": [{"type": "string"}, *condition]}
        for entry in self.catalog.entries(Kind.loader):
            made = self._options(entry, references=True)
            beside = {"name": own["properties"]["name"], "where": where, "type": {"const": entry.type}}
            made["properties"] = {**made.get("properties", {}), **beside}
            made["required"] = ["type", *made.get("required", ())]
            self.defs[f"destination.{entry.type}"] = made
        self.defs["load.list"] = {
            "type": "array",
            "description": "Several destinations: a record goes to every one whose 'where' holds.",
            "minItems": 1,
            "items": self._typed(Kind.loader, "One of several destinations.", "destination"),
        }
        shared = {name: {"$ref": f"#/$defs/envelope.{name}"} for name in LoadEnvelope.model_fields}
        return {
            "type": "object",
            "required": ["load"],
            "properties": {"load": {"$ref": "#/$defs/load.list"}, **shared},
            "additionalProperties": False,
        }

    def contract(self) -> Schema:
        made, inner = model_schema(ContractSection, "contract", references=False)
        self.defs.update(inner)
        return made

    def transform(self) -> Schema:
        loose = {entry.type: self._operation(entry) for entry in self._map_operations()}
        beside = self._steps_beside()
        made: Schema = {
            "type": "object",
            "description": "What happens to the records between reading and loading.",
            "properties": {**loose, "transform": self._block(), **beside, **self._settings()},
            "additionalProperties": False,
        }
        if loose:
            # The older spelling: operations at the top level, alone.
            made["if"] = {"required": ["transform"]}
            made["then"] = {"properties": dict.fromkeys(loose, False)}
        return made

    def cases(self) -> Schema:
        made, inner = model_schema(Case, "case", references=False)
        self.defs.update(inner)
        about = "Records given, and what must come of them: etlctl test."
        return {"type": "array", "description": about, "items": made}

    def pipeline(self) -> Schema:
        card = self.contract()
        steps = {"transform": self._block(), **self._steps_beside(), **self._settings()}
        self.defs["extract"], self.defs["load"] = self.extract(), self.load()
        either = {"if": {"type": "array"}, "then": {"$ref": "#/$defs/load.list"}, "else": {"$ref": "#/$defs/load"}}
        self.defs[CASES_KEY] = self.cases()
        beside = {CASES_KEY: {"$ref": f"#/$defs/{CASES_KEY}"}}
        sections = {"extract": {"$ref": "#/$defs/extract"}, "load": either, **beside}
        return {
            "type": "object",
            "description": "A whole contract in one file.",
            "required": ["extract", "load", *card.get("required", ())],
            "properties": {**card["properties"], **sections, **steps},
            "additionalProperties": False,
        }

    def _component_section(self, kind: Kind, envelope: type[BaseModel], about: str) -> Schema:
        self.defs.update(REFERENCE_DEFS)
        shared, inner = model_schema(envelope, "envelope", references=True)
        self.defs.update(inner)
        for name, option in shared["properties"].items():
            self.defs[f"envelope.{name}"] = option
        for entry in self.catalog.entries(kind):
            self.defs[f"{kind}.{entry.type}"] = self._component(entry, shared)
        return self._typed(kind, about, str(kind))

    def _typed(self, kind: Kind, about: str, prefix: str) -> Schema:
        """Return the schema of a mapping whose other keys depend on its ``type``."""
        names = self.catalog.names(kind)
        made: Schema = {
            "type": "object",
            "description": about,
            "required": ["type"],
            "properties": {
                "type": {
                    "description": f"Which {kind}: the options that may stand beside it depend on it.",
                    "anyOf": [{"enum": list(names)}, {"$ref": f"#/$defs/{INTERPOLATED}"}],
                }
            },
        }
        if names:
            made["allOf"] = [_when_type(name, f"#/$defs/{prefix}.{name}") for name in names]
        return made

    def _component(self, entry: Entry, shared: Schema) -> Schema:
        made = self._options(entry, references=True)
        beside = {name: {"$ref": f"#/$defs/envelope.{name}"} for name in shared["properties"]}
        made["properties"] = {**made.get("properties", {}), **beside, "type": {"const": entry.type}}
        made["required"] = ["type", *made.get("required", ()), *shared.get("required", ())]
        return made

    def _options(self, entry: Entry, *, references: bool) -> Schema:
        name = f"{entry.kind}.{entry.type}"
        try:
            made, inner = model_schema(entry.options_model(), name, references=references)
            made["description"] = entry.summary or made.get("description", "")
        except CatalogError as error:
            return {"type": "object", "description": f"Its options cannot be told: {error}"}
        self.defs.update(inner)
        return made

    def _operation(self, entry: Entry) -> Schema:
        """Return a reference to the schema of what stands under an operation's name."""
        name = f"operation.{entry.type}"
        if name not in self.defs:
            self.defs[name] = self._operation_value(entry)
        return {"$ref": f"#/$defs/{name}"}

    def _operation_value(self, entry: Entry) -> Schema:
        options = self._options(entry, references=False)
        option, only = shorthand(entry)
        if option is None:
            return options
        short = options.get("properties", {}).get(option)
        if short is None:
            return options
        if only:
            return {**short, "description": options["description"]}
        return {"description": options["description"], "if": {"type": "object"}, "then": options, "else": short}

    def _map_operations(self) -> list[Entry]:
        placed = [(map_place(self.catalog, entry.type), entry) for entry in self.catalog.entries(Kind.operation)]
        ordered = sorted((place, entry.type, entry) for place, entry in placed if place is not None)
        return [entry for _, _, entry in ordered]

    def _steps_beside(self) -> dict[str, Schema]:
        operations = {entry.type: entry for entry in self.catalog.entries(Kind.operation)}
        return {key: self._operation(operations[key]) for key in TRANSFORM_KEYS if key in operations}

    def _settings(self) -> dict[str, Schema]:
        """Return the keys of the transform section that are no steps."""
        made, inner = model_schema(TransformEnvelope, "transform.settings", references=False)
        self.defs.update(inner)
        properties: dict[str, Schema] = made["properties"]
        return properties

    def _block(self) -> Schema:
        """Return the schema of ``transform:``: the map form or the list form."""
        in_map = {entry.type: self._operation(entry) for entry in self._map_operations()}
        in_list = {entry.type: self._operation(entry) for entry in self.catalog.entries(Kind.operation)}
        self.defs["transform.map"] = {
            "type": "object",
            "description": f"Each operation at most once, in a fixed order: {', '.join(in_map) or 'none'}.",
            "properties": in_map,
            "additionalProperties": False,
            "minProperties": 1,
        }
        self.defs["transform.list"] = {
            "type": "array",
            "description": "Any operation any number of times, in the order written.",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": in_list,
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        }
        return {
            "description": "Operations on each record.",
            "type": ["array", "object"],
            "if": {"type": "array"},
            "then": {"$ref": "#/$defs/transform.list"},
            "else": {"$ref": "#/$defs/transform.map"},
        }


_HAS_LIST: Schema = {"type": "object", "required": ["load"]}

_MAKERS: dict[str, Callable[[_Document], Schema]] = {
    "extract": _Document.extract,
    "transform": _Document.transform,
    "load": _Document.load,
    "contract": _Document.contract,
    "pipeline": _Document.pipeline,
    "cases": _Document.cases,
}


def _when_type(name: str, target: str) -> Schema:
    return {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": {"$ref": target}}


def shorthand(entry: Entry) -> tuple[str | None, bool]:
    """Return the option that a bare value under the operation's name stands for, and whether there is no long form."""
    try:
        model: Any = entry.options_model()
    except CatalogError:
        return None, False
    return getattr(model, "shorthand", None), bool(getattr(model, "shorthand_only", False))
