"""What every component must hold: documented, closed options, a JSON Schema, examples that compile."""

from __future__ import annotations

from pydantic import ValidationError

from etlctl.catalog.docs import class_docs, field_help
from etlctl.catalog.kinds import Kind
from etlctl.contract.option_schema import model_schema
from etlctl.contract.sections import ExtractEnvelope, LoadEnvelope
from etlctl.sdk.component import Component
from etlctl.testing.examples import compile_example, example_folder, kind_of, type_of
from etlctl.testing.findings import Findings, findings


def check_component(cls: type[Component]) -> None:
    """Check what every component must hold, whatever its kind.

    Raises:
        ConformanceError: It does not; every problem is listed.
    """
    with findings(f"{kind_of(cls)} {type_of(cls)!r} ({cls.__name__})") as found:
        _check_docs(cls, found)
        _check_options(cls, found)
        _check_schema(cls, found)
        for example in cls.examples:
            with example_folder(example) as folder:
                compile_example(cls, example, folder, found)


def _check_docs(cls: type[Component], found: Findings) -> None:
    found.expect(class_docs(cls)[0], "its class has no docstring: the first paragraph is its summary")
    helps = field_help(cls)
    for name in cls.model_fields:
        found.expect(helps.get(name), f"option {name!r} is not documented: put a string under the field")
    found.expect(cls.examples, "it has no examples: they are its documentation and its tests")
    titles = [example.title for example in cls.examples]
    found.expect(len(set(titles)) == len(titles), f"two examples have the same title: {titles}")


def _check_options(cls: type[Component], found: Findings) -> None:
    config = cls.model_config
    found.expect(config.get("frozen"), "its options can be changed: keep frozen=True")
    found.expect(config.get("extra") == "forbid", "it accepts unknown options: keep extra='forbid'")
    try:
        cls.model_validate({"no_such_option_at_all": 1})
    except ValidationError as error:
        kinds = {details["type"] for details in error.errors()}
        found.expect("extra_forbidden" in kinds or not kinds & {"missing"}, "unknown options are not reported")
    except TypeError as error:
        found.add(f"it cannot be made: {error}")
    for name in _envelope_keys(cls) & {info.alias or name for name, info in cls.model_fields.items()}:
        found.add(f"option {name!r} has the name of a key that every {kind_of(cls)} has")


def _envelope_keys(cls: type[Component]) -> set[str]:
    kind = kind_of(cls)
    if kind is Kind.operation:
        return set()
    envelope = ExtractEnvelope if kind is Kind.extractor else LoadEnvelope
    return {"type", *envelope.model_fields}


def _check_schema(cls: type[Component], found: Findings) -> None:
    try:
        made, _ = model_schema(cls, type_of(cls), references=True)
    except Exception as error:  # noqa: BLE001 - pydantic raises many kinds here
        found.add(f"no JSON Schema can be made of its options: {type(error).__name__}: {error}")
        return
    found.expect(made.get("type") == "object", f"its JSON Schema is not that of an object: {made.get('type')!r}")
