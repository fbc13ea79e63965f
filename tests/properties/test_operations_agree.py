"""The law of the two forms: every operation, and every chain of them, gives the same in rows and in frame form."""

# ruff: noqa: DTZ001

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from pydantic import PrivateAttr, ValidationError

sys.path.insert(0, str(Path(__file__).parents[1] / "transforms"))

from operations_driver import build, exact, operation_classes, ready, run_frame, run_ready, run_rows

from etlctl.batch import Batch, frame_to_rows, rows_to_frame
from etlctl.contract.data_rules import FieldRule, RecordSchema
from etlctl.contract.record_check import record_checks
from etlctl.errors import ConversionError, FatalError, RecordRejected
from etlctl.sdk import Extractor, Operation, ReadContext, Scope
from etlctl.types import parse

FIELDS = ["a", "b", "c", "d", "a.b", "a_b"]
EDGES = [0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
NUMBER_TEXT = [
    "5",
    "+5",
    "-5",
    "05",
    "-0",
    "007",
    "5.0",
    "5.9",
    "5.",
    ".5",
    ".",
    "-",
    "+",
    "1e3",
    "1E-2",
    "1e400",
    "1e-400",
    "inf",
    "-inf",
    "nan",
    "NaN",
    "Infinity",
    "1_000",
    "0x10",
    "1,000",
    "12,34",
    "1.234,5",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "9007199254740993",
    "0.1",
    "1e",
    "5f",
    "2.2250738585072011e-308",
    "--5",
    "٣",
    "５",
    "²",
    "123456789012345678901234567890",
    "5.00",
    "0.0",
    "1.0",
]
TIME_TEXT = [
    *[
        "2024-01-05",
        "2024-1-5",
        "20240105",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31",
        "2024-02-30",
        "2023-02-29",
        "+2024-01-05",
        "12024-01-05",
    ],
    *[
        "2024-01-05T10:00:00Z",
        "2024-01-05T10:00:00z",
        "2024-01-05T10:00:60Z",
        "2024-01-05T24:00:00Z",
        "2024-01-05T00:00:00",
    ],
    *[
        "2024-01-05T10:00:00+02:00",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-01:00",
        "2024-01-05T10:00:00.123Z",
    ],
    *["2024-01-05T10:00:00.1234567Z", "2024-01-05T10:00:00.123456000Z", "2024-01-05T10:00", "20240105T100000Z"],
    *[
        "2024-01-05T10:00:00+0200",
        "2024-W01-5",
        "2024-01-05T10:00:00+24:00",
        "+2024-1-05T10:00:00Z",
        "10:00",
        "10:00:00",
        "24:00:00",
    ],
    *["10:00:00.5", "01-JAN-14", "1-feb-69", "31-feb-14", "05.01.2024", "5.1.2024", "05.01.24"],
    "2024-01-05 10:00:00",
    "2024- 1-05T10:00:00Z",
    " 2024-01-05 ",
    "2024-01-05T10:00:00 Z",
    "\t2024-1-05T10:00:00Z",
]
WORDS = [
    "true",
    "FALSE",
    " Yes ",
    "no",
    "on",
    "off",
    "T",
    "f",
    "1",
    "0",
    "",
    " ",
    "NA",
    "null",
    "straße",
    "İ",
    "Σας",
    "ǅ",
]
PADDED = [" 5", "5 ", "\t5\n", "\x1c5", "\u20035", "5\x00", " 5.0 "]

number_text = st.sampled_from([*NUMBER_TEXT, *PADDED]) | st.integers(-(10**20), 10**20).map(str) | st.floats().map(repr)
time_text = (
    st.sampled_from(TIME_TEXT) | st.dates().map(str) | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
)
free_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "number_text": number_text,
    "plain_number_text": st.integers(-999, 9999).map(str) | st.sampled_from(["", "x", "5.0"]),
    "time_text": time_text,
    "plain_time_text": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(
        lambda m: f"{m:%Y-%m-%dT%H:%M:%S}Z"
    ),
    "words": st.sampled_from(WORDS) | free_text,
    "integer": st.sampled_from(EDGES) | st.integers(-5, 5),
    "float": st.sampled_from([0.0, -0.0, 1.0, 0.5, 5.0, 2.0**53, 2.0**63, 1e300, float("nan"), float("inf")])
    | st.floats(),
    "boolean": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes() | st.dates().map(lambda day: datetime(day.year, day.month, day.day)),
    "zoned": st.datetimes(timezones=st.just(UTC)),
    "time": st.times(),
    "list": st.lists(st.integers(-3, 3) | st.none(), max_size=3),
    "struct": st.fixed_dictionaries(
        {"b": st.none() | st.integers(0, 3), "c": st.none() | st.fixed_dictionaries({"d": free_text})}
    ),
}
TYPES = ["string", "integer", "float", "decimal", "boolean", "date", "datetime", "time"]
VALUES = st.sampled_from(
    [0, 1, 5, -1, 0.5, 5.0, 2**53, 2**63, 2.0**60, True, "5", "", "x", "s", "2024-01-05", "2024-01-05T10:00:00Z"]
)

name = st.sampled_from(FIELDS)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    columns = draw(st.lists(name, unique=True, min_size=1, max_size=4))
    kinds = {column: KINDS[draw(st.sampled_from(sorted(KINDS)))] for column in columns}
    height = draw(st.integers(1, 6))
    record = st.fixed_dictionaries({}, optional={column: st.none() | kind for column, kind in kinds.items()})
    records = draw(st.lists(record, min_size=height, max_size=height))
    try:
        frame = rows_to_frame(records)
    except ConversionError:
        assume(False)
    assume(frame.width > 0)
    return frame


def long_form(kind: str) -> st.SearchStrategy[Any]:
    options: dict[str, st.SearchStrategy[Any]] = {
        "on_error": st.sampled_from(["reject", "keep", "null", None]),
        "null_values": st.sampled_from([[], ["NA", ""], ["5"]]),
    }
    if kind in {"integer", "float", "decimal"}:
        options["thousands"] = st.sampled_from([",", "_"])
    if kind in {"date", "datetime", "time"}:
        options["format"] = st.sampled_from(["%d-%b-%y", "%d.%m.%Y", "%Y%m%d", "%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=options)


EXPRESSIONS = st.sampled_from(
    """${a}|${b} ${c}|x${a:-none}y|${a.b}|${a:-5}|upper(${a})|lower(${b})|trim(${c})|len(${a})|concat(${a}, ',', ${b})
    |coalesce(${a}, ${b}, 'z')|int(${a})|float(${b})|bool(${c})|date(${a})|datetime(${b})|str(${c})|now()|now('%Y')
    |env(SEED, 'd')|${b:?needed}|int(trim(${a}))|coalesce(${a}, int(${b}))|Total (net)|upper(concat(${a}, 5))
    |date(${a}, '%d-%b-%y')|${a.c.d}""".replace("\n    ", "").split("|")
)


def condition() -> st.SearchStrategy[dict[str, Any]]:
    compared = st.fixed_dictionaries(
        {
            "field": name,
            "operator": st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte", "contains", "not_contains"]),
            "value": VALUES,
        }
    )
    affix = st.fixed_dictionaries(
        {"field": name, "operator": st.sampled_from(["starts_with", "ends_with"]), "value": VALUES}
    )
    member = st.fixed_dictionaries(
        {"field": name, "operator": st.sampled_from(["in", "not_in"]), "value": st.lists(VALUES, max_size=3)}
    )
    null = st.fixed_dictionaries({"field": name, "operator": st.sampled_from(["is_null", "not_null"])})
    return compared | affix | member | null


def distinct_targets(fields: dict[str, str]) -> bool:
    return len(set(fields.values())) == len(fields)


CONFIGS: dict[str, st.SearchStrategy[Any]] = {
    "rename": st.dictionaries(name, name, max_size=3).filter(distinct_targets),
    "convert": st.dictionaries(
        name, st.sampled_from(TYPES) | st.sampled_from(TYPES).flatmap(long_form), min_size=1, max_size=3
    ),
    "defaults": st.dictionaries(name, VALUES | st.none(), max_size=3),
    "add": st.dictionaries(name, EXPRESSIONS | VALUES, min_size=1, max_size=3),
    "select": st.lists(name, max_size=4),
    "drop": st.lists(name, max_size=3),
    "filter": condition() | st.lists(condition(), max_size=2),
    "unnest": st.fixed_dictionaries(
        {"fields": st.lists(name, min_size=1, max_size=2, unique=True)}, optional={"keep_empty": st.booleans()}
    ),
    "flatten": st.fixed_dictionaries(
        {},
        optional={
            "fields": st.lists(name, max_size=2),
            "separator": st.sampled_from(["_", "."]),
            "max_depth": st.just(1),
        },
    ),
}


MEASURES = ["sum", "mean", "min", "max", "count", "count_distinct", "first", "last", "list", "any", "all"]
CONFIGS["map"] = (
    st.dictionaries(
        name,
        st.fixed_dictionaries(
            {
                "values": st.dictionaries(
                    st.sampled_from(["5", "x", "", "-5", "1", "s", "\u0130"]), VALUES | st.none(), max_size=3
                )
            },
            optional={"to": st.sampled_from(["t", "u"])},
        ).flatmap(
            lambda options: (
                st.fixed_dictionaries(
                    {key: st.just(value) for key, value in options.items()},
                    optional={"default": VALUES | st.none()},
                )
                | st.fixed_dictionaries(
                    {key: st.just(value) for key, value in options.items()},
                    optional={"on_missing": st.sampled_from(["reject", "keep", "null", None])},
                )
            )
        ),
        min_size=1,
        max_size=2,
    )
    .flatmap(lambda fields: st.tuples(st.just(fields), st.booleans()).map(_with_integer_keys))
    .filter(lambda fields: len({options.get("to", name) for name, options in fields.items()}) == len(fields))
)
CONFIGS["dedupe"] = st.fixed_dictionaries(
    {},
    optional={
        "by": st.lists(name, max_size=2),
        "keep": st.sampled_from(["first", "last"]),
        "within": st.sampled_from(["run", "batch"]),
        "on_duplicate": st.sampled_from(["drop", "reject"]),
    },
)
CONFIGS["aggregate"] = st.fixed_dictionaries(
    {
        "measures": st.dictionaries(
            st.sampled_from(["m", "n", "o"]),
            st.just("count") | st.dictionaries(st.sampled_from(MEASURES), name, min_size=1, max_size=1),
            min_size=1,
            max_size=3,
        )
    },
    optional={"by": st.lists(name, max_size=2, unique=True)},
)
MASKS = (
    st.sampled_from(["redact", "partial"])
    | st.fixed_dictionaries({"method": st.sampled_from(["hash", "tokenise"]), "key": st.just("k" * 16)})
    | st.fixed_dictionaries({"method": st.just("hash"), "unkeyed": st.just(True)})
    | st.fixed_dictionaries(
        {"method": st.just("redact"), "replacement": st.sampled_from([None, 0, 2**63, True, 0.5, "x"])}
    )
    | st.fixed_dictionaries(
        {"method": st.just("partial"), "keep_first": st.integers(0, 2), "keep_last": st.integers(0, 2)}
    )
)
CONFIGS["mask"] = st.dictionaries(name, MASKS, min_size=1, max_size=3)


def _with_integer_keys(drawn: tuple[dict[str, Any], bool]) -> dict[str, Any]:
    fields, wanted = drawn
    if not wanted:
        return fields
    numbers = {"5": "5", "-5": "-5", "1": "1"}
    return {
        field: {
            **options,
            "key_type": "integer",
            "values": {key: value for key, value in options["values"].items() if key in numbers},
        }
        for field, options in fields.items()
    }


class Given(Extractor):
    """Gives one chunk."""

    _chunk: Batch = PrivateAttr()

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        yield self._chunk


def operations(kind: str) -> st.SearchStrategy[Operation]:
    return CONFIGS[kind].map(lambda config: build(operation_classes()[kind], config))


NOW = datetime(2024, 1, 5, 10, tzinfo=UTC)
CONTEXT = {"now": NOW, "environ": {"SEED": "s"}}
SETTINGS = settings(
    max_examples=int(os.environ.get("ETLCTL_TEST_EXAMPLES", "250")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def agree(chain: list[Operation], frame: pl.DataFrame) -> None:
    by_rows = run_rows(chain, frame_to_rows(frame), **CONTEXT)
    by_frame = run_frame(chain, frame, **CONTEXT)
    event(f"forms: {' '.join(sorted(set(by_frame.forms)))}")
    assert by_frame.refused == by_rows.refused
    assert by_frame.ordinals == by_rows.ordinals
    assert [exact(record) for record in by_frame.records] == [exact(record) for record in by_rows.records]


@pytest.mark.parametrize("kind", sorted(CONFIGS))
@SETTINGS
@given(data=st.data())
def test_both_forms_of_an_operation_agree(kind: str, data: st.DataObject) -> None:
    agree([data.draw(operations(kind))], data.draw(tables()))


@SETTINGS
@given(data=st.data())
def test_both_forms_of_a_chain_agree(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(CONFIGS)), min_size=2, max_size=5))
    agree([data.draw(operations(kind)) for kind in kinds], data.draw(tables()))


@st.composite
def sides(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Two tables whose keys often meet, and the names of their keys."""
    few: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(0, 2),
        "words": st.sampled_from(["x", "y", "", "\u0130"]),
        "boolean": st.booleans(),
        "date": st.sampled_from([date(2024, 1, 5), date(2024, 1, 6)]),
        "float": st.sampled_from([0.0, -0.0, 1.0, float("nan")]),
    }
    names = draw(st.lists(st.sampled_from(["k", "a.b"]), min_size=1, max_size=2, unique=True))
    kinds = {column: few[draw(st.sampled_from(sorted(few)))] for column in names}
    frames = []
    for other in ("v", "w"):
        mine = {column: few["integer"] if draw(st.integers(0, 9)) == 0 else kind for column, kind in kinds.items()}
        record = st.fixed_dictionaries(
            {column: st.none() | kind for column, kind in {**mine, other: st.integers()}.items()}
        )
        records = draw(st.lists(record, min_size=1, max_size=6))
        try:
            frames.append(rows_to_frame(records))
        except ConversionError:
            assume(False)
    return frames[0], frames[1], names


@SETTINGS
@given(data=st.data(), as_frame=st.booleans())
def test_both_forms_of_a_join_agree(data: st.DataObject, as_frame: bool) -> None:
    left, right, names = data.draw(sides())
    config = {
        "with": {"type": "given"},
        "on": names,
        "how": data.draw(st.sampled_from(["left", "inner", "right", "outer"])),
        "on_many": data.draw(st.sampled_from(["multiply", "first", "reject"])),
    }
    if config["how"] == "inner" and data.draw(st.booleans()):
        config["unmatched"] = "reject"
    source = Given()
    source._chunk = Batch.of_frame(right, {}) if as_frame else Batch.of_rows(frame_to_rows(right), {})
    join = build(operation_classes()["join"], config).with_sources({"with": (source,)}, ".")
    before = build(operation_classes()["convert"], {"v": "string"})
    agree([before, join] if data.draw(st.booleans()) else [join], left)


@SETTINGS
@given(data=st.data())
def test_an_operation_does_not_care_how_records_are_cut(data: st.DataObject) -> None:
    chain = [data.draw(operations(data.draw(st.sampled_from(sorted(CONFIGS)))))]
    assume(chain[0].scope is Scope.record)
    records = frame_to_rows(data.draw(tables()))
    whole = run_rows(chain, records, **CONTEXT)
    steps = ready(chain, **CONTEXT)
    parts = [run_ready(steps, Batch.of_rows([dict(record)], position={}), **CONTEXT) for record in records]
    assert [exact(record) for record in whole.records] == [exact(r) for part in parts for r in part.records]
    assert [row[1:] for row in whole.refused] == [row[1:] for part in parts for row in part.refused]


@SETTINGS
@given(
    kind=st.sampled_from(["integer", "float", "datetime"]),
    texts=st.lists(
        st.none() | number_text | time_text | KINDS["plain_time_text"] | st.integers() | st.floats(), max_size=4
    ),
)
def test_converting_many_at_once_is_converting_each(kind: str, texts: list[Any]) -> None:
    outcome = run_rows([build(operation_classes()["convert"], {"a": kind})], [{"a": text} for text in texts])
    each = {}
    for number, text in enumerate(texts):
        with contextlib.suppress(RecordRejected):
            each[number] = exact(parse(text, kind))
    made = [exact(record["a"]) for record in outcome.records]
    assert dict(zip(outcome.ordinals, made, strict=True)) == each


def can_be_kept(rule: dict[str, Any]) -> bool:
    """Tell whether the contract takes a rule: it refuses those that no value could pass."""
    try:
        FieldRule.model_validate(rule)
    except ValidationError:
        return False
    return True


RULES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["string", "integer", "float", "boolean", "date", "datetime", "array", "object", "any"]
        ),
        "required": st.booleans(),
        "unique": st.booleans(),
        "enum": st.lists(VALUES, max_size=3),
        "minimum": st.sampled_from([-1, 0, 5, 2**53, 2.0**63]),
        "maximum": st.sampled_from([0, 5.5, 2**53]),
        "min_length": st.integers(0, 3),
        "max_length": st.integers(0, 3),
        "pattern": st.sampled_from(
            ["^5", r"\d$", r"^\w*$", "^[^T]*$", "(?:a|e)+", r"(?i)yes", r"\s", ".", "[0-9]{2}-"]
        ),
    },
)


@SETTINGS
@given(
    fields=st.dictionaries(name, RULES.filter(can_be_kept), max_size=3),
    additional=st.sampled_from(["allow", "drop", "reject"]),
    frame=tables(),
)
def test_both_forms_of_the_schema_check_agree(fields: dict[str, Any], additional: str, frame: pl.DataFrame) -> None:
    schema = RecordSchema.model_validate({"fields": fields, "additional_fields": additional})
    agree(record_checks(schema), frame)


def test_a_failing_conversion_fails_in_both_forms() -> None:
    chain = [build(operation_classes()["convert"], {"a": {"type": "integer", "on_error": "fail"}})]
    frame = pl.DataFrame({"a": ["1", "x"]})
    for run, given_records in ((run_rows, frame_to_rows(frame)), (run_frame, frame)):
        with pytest.raises(FatalError, match=r"field 'a': 'x' is not an integer; on_error is fail"):
            run(chain, given_records)


@pytest.mark.parametrize(
    ("config", "column"),
    [
        ({"rename": {"a": "b"}}, ["x"]),
        ({"convert": {"a": "integer"}}, ["1", "2"]),
        ({"convert": {"a": "float"}}, ["1.5", "2"]),
        ({"convert": {"a": "integer"}}, ["517.0", " 5.0 "]),
        ({"convert": {"a": "boolean"}}, ["yes", "F"]),
        ({"convert": {"a": "datetime"}}, ["2013-01-01T10:00:00Z"]),
        ({"convert": {"a": "datetime"}}, ["2013-01-01 10:00:00.25+02:00"]),
        ({"convert": {"a": "datetime"}}, ["2013-01-01"]),
        ({"convert": {"a": {"type": "date", "format": "%d-%b-%y"}}}, ["01-JAN-14", "2-feb-15"]),
        ({"convert": {"a": {"type": "date", "format": "%m/%d/%Y"}}}, ["1/5/2013", "12/31/2013"]),
        ({"convert": {"a": {"type": "integer", "thousands": ",", "null_values": ["NA"]}}}, ["1,234", "NA"]),
        ({"convert": {"a": "date"}}, ["2013-01-01"]),
        ({"convert": {"a": "time"}}, ["10:00:00"]),
        ({"defaults": {"a": "x", "b": 1}}, ["x", None]),
        ({"add": {"b": "${a}-${c:-none}", "c": "upper(${a})", "d": "now()", "e": "uuid()", "f": "len(${a})"}}, ["x"]),
        ({"select": ["a", "b"]}, ["x"]),
        ({"drop": ["b"]}, ["x"]),
        ({"filter": {"field": "a", "operator": "gte", "value": 5}}, [1, 9]),
        ({"filter": {"field": "a", "operator": "in", "value": ["x"]}}, ["x", "y"]),
        ({"filter": {"field": "a", "operator": "gt", "value": "2024-01-05"}}, [date(2024, 1, 6)]),
        ({"filter": {"field": "a", "operator": "lt", "value": "2024-01-05T10:00:00Z"}}, [NOW]),
        ({"filter": {"field": "a", "operator": "eq", "value": "10:00"}}, [time(10)]),
        ({"unnest": "a"}, [[1, 2], [], None]),
        ({"flatten": ["a"]}, [{"b": {"c": 1}}]),
    ],
)
def test_the_everyday_case_stays_a_frame(config: dict[str, Any], column: list[Any]) -> None:
    ((kind, value),) = config.items()
    outcome = run_frame([build(operation_classes()[kind], value)], pl.DataFrame({"a": column}))
    assert outcome.forms == ["frame"]
    assert not outcome.refused
