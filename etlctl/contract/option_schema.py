"""JSON Schema of a pydantic model as people write it in YAML: help texts in, noise out, ``${…}`` where it may stand."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from etlctl.catalog.docs import field_help
from etlctl.catalog.source import split_doc

Schema = dict[str, Any]

REFERENCE = "reference"
INTERPOLATED = "interpolated"
REFERENCE_DEFS: Mapping[str, Schema] = {
    REFERENCE: {
        "type": "string",
        "pattern": r"^\$\{[\s\S]+\}$",
        "description": "A variable, without quotes around it: ${env:NAME}, ${param:NAME}, ${secret:NAME}, "
        "each with :-default or :?message.",
    },
    INTERPOLATED: {
        "type": "string",
        "pattern": r"\$\{[\s\S]+\}",
        "description": "Text with variables in it: ${env:NAME}, ${param:NAME}, ${secret:NAME}, ${run_date}.",
    },
}
_NOISE = {"title"}
_ANNOTATIONS = ("description", "default", "examples", "deprecated")
_TEXT_LIMITS = {"pattern", "minLength", "maxLength", "format"}
_ONE = ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs")


class _WithHelp(GenerateJsonSchema):
    """Adds the string under each field as its description, and the first paragraph of each nested class."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        cls: type[BaseModel] = schema["cls"]
        helps = field_help(cls)
        for name, info in cls.model_fields.items():
            shown = made.get("properties", {}).get(info.alias or name)
            if shown is not None and name in helps:
                shown["description"] = helps[name]
        summary, _ = split_doc(inspect.cleandoc(cls.__dict__.get("__doc__") or ""))
        if summary:
            made["description"] = summary
        return made


def model_schema(model: type[BaseModel], name: str, *, references: bool) -> tuple[Schema, dict[str, Schema]]:
    """Return the schema of a model, and those of the models inside it.

    Args:
        model: The options.
        name: Prefix for the names of inner schemas, unique in the document.
        references: A ``${…}`` may stand for any value but a list or a mapping.
    """
    made = model.model_json_schema(schema_generator=_WithHelp, ref_template=f"#/$defs/{name}.{{model}}")
    made = _walk(made, references=references)
    inner = {f"{name}.{key}": value for key, value in made.pop("$defs", {}).items()}
    return made, inner


def _walk(schema: Any, *, references: bool) -> Any:
    if not isinstance(schema, dict):
        return schema
    out: Schema = {key: value for key, value in schema.items() if key not in _NOISE or not isinstance(value, str)}
    for key in _ONE:
        if key in out:
            out[key] = _walk(out[key], references=references)
    for key in _NAMED:
        if key in out:
            out[key] = {name: _walk(value, references=references) for name, value in out[key].items()}
    for key in _SEVERAL:
        if key in out:
            # The members of a choice are choices of one value: the reference is added once, to the whole.
            out[key] = [_walk(item, references=references and not _is_scalar(item)) for item in out[key]]
    if "default" in out and out["default"] is None:
        # "May be left out" is said by its absence from ``required`` already.
        del out["default"]
    return _or_reference(out) if references else out


def _is_scalar(schema: Any) -> bool:
    return isinstance(schema, dict) and _wanted(schema) is not None


def _wanted(schema: Schema) -> str | None:
    """Return which kind of reference may stand for a value; None when plain text is allowed anyway, or none can."""
    if "const" in schema or "enum" in schema:
        return INTERPOLATED
    kind = schema.get("type")
    if kind == "string":
        return INTERPOLATED if _TEXT_LIMITS & schema.keys() else None
    return REFERENCE if kind in {"integer", "number", "boolean"} else None


def _or_reference(schema: Schema) -> Schema:
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        if any(choice == {"type": "string"} for choice in choices):
            return schema
        wanted = {kind for choice in choices if (kind := _wanted(choice))}
        # A text with more than the reference in it can only become text.
        kinds = [INTERPOLATED] if INTERPOLATED in wanted else sorted(wanted)
        return {**schema, "anyOf": [*choices, *({"$ref": f"#/$defs/{kind}"} for kind in kinds)]}
    kind = _wanted(schema)
    if kind is None:
        return schema
    about = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    bare = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    return {**about, "anyOf": [bare, {"$ref": f"#/$defs/{kind}"}]}
