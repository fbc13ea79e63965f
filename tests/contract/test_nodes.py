"""YAML with positions: values by the 1.2 core schema, exact places, limits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etlctl.contract.document import Document
from etlctl.contract.nodes import MAX_BYTES, parse_document, read_document
from etlctl.contract.scalars import plain_scalar


def parse(text: str | bytes) -> Document:
    raw = text.encode() if isinstance(text, str) else text
    return parse_document(raw, Document("x.yaml", Path("x.yaml")))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-7", -7),
        ("+3", 3),
        ("0", 0),
        ("0123", "0123"),
        ("00", "00"),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("-.inf", float("-inf")),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T06:00:00Z", "2024-01-31T06:00:00Z"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = parse(f"k: {text}\n").data["k"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number() -> None:
    value = plain_scalar(".NaN")
    assert value != value


def test_keys_are_always_text() -> None:
    assert parse("on: 1\n2024-01-31: 2\n12: 3\nnull: 4\n").data == {"on": 1, "2024-01-31": 2, "12": 3, "null": 4}


def test_quoted_values_are_text() -> None:
    assert parse("a: '12'\nb: \"true\"\nc: !!str 5\nd: ''\n").data == {"a": "12", "b": "true", "c": "5", "d": ""}


def test_core_tags_are_checked() -> None:
    document = parse("a: !!float 5\nb: !!int x\n")
    assert document.data["a"] == 5.0
    assert [problem.code for problem in document.problems] == ["E203"]


@pytest.mark.parametrize(
    ("text", "path", "word", "line", "column"),
    [
        ("k: one ${x} two", ("k",), "${x}", 1, 8),
        ("k: 'it''s ${x}'", ("k",), "${x}", 1, 11),
        ('k: "\\u00e9\\t${x}"', ("k",), "${x}", 1, 13),
        ('k: "a \\\n   ${x}"', ("k",), "${x}", 2, 4),
        ("é: ü ${x}", ("é",), "${x}", 1, 6),
        ("k: |\n  a\n\n    b ${x}\n", ("k",), "${x}", 4, 7),
        ("k: >-\n  a\n  b\n\n  c ${x}\n", ("k",), "${x}", 5, 5),
        ("k: a\n  b\n  ${x}\n", ("k",), "${x}", 3, 3),
        ("k: &name ${x}", ("k",), "${x}", 1, 10),
        ("k: !!str ${x}", ("k",), "${x}", 1, 10),
        ("- [a, {b: '${x}'}]", (0, 1, "b"), "${x}", 1, 12),
        ("\ufeffk: ${x}", ("k",), "${x}", 1, 4),
        ("a: 1\r\nk: ${x}\r\n", ("k",), "${x}", 2, 4),
    ],
)
def test_a_place_inside_a_text(text: str, path: tuple[str | int, ...], word: str, line: int, column: int) -> None:
    document = parse(text)
    assert document.problems == []
    value = document.data
    for part in path:
        value = value[part]
    span = document.inside(path, value.index(word), value.index(word) + len(word))
    assert span is not None
    assert (span.line, span.column) == (line, column)
    assert document.lines[line - 1][span.column - 1 : span.end_column - 1] == word


def test_keys_and_values_have_places() -> None:
    document = parse("a:\n  - b: cd\n    e:\n")
    key, value, empty = (
        document.key_span(("a", 0, "b")),
        document.value_span(("a", 0, "b")),
        document.value_span(("a", 0, "e")),
    )
    assert key is not None
    assert value is not None
    assert empty is not None
    assert (key.line, key.column, key.end_column) == (2, 5, 6)
    assert (value.line, value.column, value.end_column) == (2, 8, 10)
    assert (empty.line, empty.column) == (3, 5)


def test_all_duplicates_are_reported_with_both_lines() -> None:
    problems = parse("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n").problems
    assert [problem.code for problem in problems] == ["E102", "E102", "E102"]
    assert "first on line 1, again on line 3" in problems[1].message
    assert problems[1].related[0][1].line == 1


def test_merge_keys_keep_what_is_written() -> None:
    document = parse("base: &b {x: 1, y: 2}\nk: {<<: *b, y: 3}\nl: {<<: [*b, {z: 4}]}\n'<<': text\n")
    assert document.problems == []
    assert document.data["k"] == {"y": 3, "x": 1}
    assert document.data["l"] == {"x": 1, "y": 2, "z": 4}
    assert document.data["<<"] == "text"


def test_aliases_are_expanded_within_a_limit() -> None:
    assert parse("a: &a [1]\nb: [*a, *a]\n").data["b"] == [[1], [1]]
    levels = "abcdefghij"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise(levels)
    )
    assert [problem.code for problem in parse(bomb).problems] == ["E103"]


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "a: &a {b: *a}\n"])
def test_depth_and_cycles_are_refused(text: str) -> None:
    assert "E103" in {problem.code for problem in parse(text).problems}


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert [problem.code for problem in read_document(file).problems] == ["E103"]
    file.write_bytes(b"#" * MAX_BYTES)
    assert read_document(file).problems == []


def test_a_directory_in_place_of_a_file_is_a_finding(tmp_path: Path) -> None:
    assert [problem.code for problem in read_document(tmp_path).problems] == ["E105"]


def test_a_second_document_is_refused() -> None:
    assert "second document" in parse("a: 1\n---\nb: 2\n").problems[0].message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_data_or_problems(raw: bytes) -> None:
    document = parse(raw)
    assert document.problems or document.root is not None or document.data is None


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab \n'\"\\\t:#-é${}x&*!|>,[]"), max_size=30), st.sampled_from("'\"|>"))
def test_places_inside_any_text_are_inside_the_file(text: str, style: str) -> None:
    import yaml

    dumped = yaml.dump({"k": text}, default_style=style, allow_unicode=True)
    document = parse(dumped)
    assert document.data == {"k": text}
    for offset, char in enumerate(text):
        span = document.inside(("k",), offset, offset + 1)
        assert span is not None
        line = document.lines[span.line - 1]
        assert span.column <= len(line) + 1
        if char.isalpha():
            assert line[span.column - 1] in {char, "\\"}


def test_lines_end_where_editors_end_them() -> None:
    document = parse("a: 'x\u2028y'\n# \x85 \u2029\nb: [\n  c\n]\n")
    assert document.value_span(("b", 0)) is not None
    assert document.value_span(("b", 0)).line == 4  # type: ignore[union-attr]
    assert len(document.lines) == document.text.count("\n") + 1


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without an end")
def test_a_file_without_an_end_is_not_read_to_the_end() -> None:
    document = read_document(Path("/dev/zero"))
    assert [found.code for found in document.problems] == ["E103"]
