"""Text: code points and UTF-16 units where the reference counts them, JSON as it writes it, encodings."""

from __future__ import annotations

from typing import Any

import pytest

from etlctl.jsonata import evaluate
from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions import BUILTINS, compile_regex
from etlctl.jsonata.values import NOTHING, JsonataError


def call(name: str, *args: Any) -> Any:
    return BUILTINS[name].call(*args)


def test_characters_are_code_points() -> None:
    assert call("length", "a😀b") == 3
    assert call("substring", "a😀b", 1, 1) == "😀"
    assert call("pad", "😀", 3, "é") == "😀éé"
    assert call("pad", "x", -4, "😀é") == "😀é😀x"
    assert call("substringAfter", "a😀b", "😀") == "b"


def test_matches_count_utf16_units() -> None:
    assert call("match", "😀x", compile_regex("x"))[0]["index"] == 2
    assert call("match", "éx", compile_regex("x"))[0]["index"] == 1
    assert call("replace", "a😀b", compile_regex("b"), "c") == "a😀c"
    assert call("split", "😀-😀", compile_regex("-")) == ["😀", "😀"]
    assert call("contains", "😀", compile_regex("^..$")) is True


def test_splitting_at_nothing_keeps_characters_whole() -> None:
    """The reference cuts pairs of surrogates in two, which no UTF-8 file can hold."""
    assert call("split", "a😀b", "") == ["a", "😀", "b"]


def test_sorting_goes_by_utf16_units() -> None:
    assert call("sort", ["\uffee", "😀", "a"]) == ["a", "😀", "\uffee"]
    assert call("sort", ["b", "\u00e9", "a"]) == ["a", "b", "\u00e9"]


def test_json_text() -> None:
    value = {"a": [1, 2.50, None, True, 'é\n\x7f\x01"\\'], "b": {}, "c": [], "f": Closure(len, 1), "n": NOTHING}
    assert call("string", value) == '{"a":[1,2.5,null,true,"é\\n\x7f\\u0001\\"\\\\"],"b":{},"c":[],"f":""}'
    assert call("string", {"a": [1, {}], "b": []}, True) == '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": []\n}'
    assert call("string", ["\ud83d"]) == '["\\ud83d"]'
    assert call("string", [NOTHING]) == "[null]"


def test_only_four_blanks_are_trimmed() -> None:
    assert call("trim", " \t a \r\n b\n ") == "a b"
    assert call("trim", "\u00a0a\u000b") == "\u00a0a\u000b"


def test_halves_of_characters_have_no_url() -> None:
    for name in ("encodeUrl", "encodeUrlComponent"):
        with pytest.raises(JsonataError) as caught:
            call(name, "\ud83d")
        assert caught.value.code == "D3140"
    assert call("base64encode", "😀") == "PQA="


def test_missing_replacements_are_errors() -> None:
    """The reference writes the word "undefined" into the text."""
    with pytest.raises(JsonataError) as caught:
        evaluate('$replace("abc", "b", missing)', {})
    assert caught.value.code == "D3012"
    assert evaluate('$replace("abc", "x", missing)', {}) == "abc"


def test_options_of_formatnumber_are_checked() -> None:
    assert call("formatNumber", 1234.5, "#.##0,00", {"decimal-separator": ",", "grouping-separator": "."}) == "1.234,50"
    with pytest.raises(JsonataError) as caught:
        call("formatNumber", 1, "0", {"zero-digit": ""})
    assert caught.value.code == "T0410"


def test_arrays_keep_the_items_they_were_given() -> None:
    items = [3, 1, 2]
    call("sort", items)
    call("reverse", items)
    call("append", items, 4)
    call("shuffle", items)
    call("distinct", items)
    call("sort", items, Closure(lambda left, right: left > right, 2))
    assert items == [3, 1, 2]


def test_objects_keep_their_fields() -> None:
    first, second = {"a": 1}, {"b": 2}
    assert call("merge", [first, second]) == {"a": 1, "b": 2}
    assert (first, second) == ({"a": 1}, {"b": 2})
    copy = call("clone", {"a": [first]})
    copy["a"][0]["a"] = 9
    assert first == {"a": 1}
    assert call("clone", {"a": NOTHING, "b": [NOTHING]}) == {"b": [None]}


def test_true_is_not_one() -> None:
    assert call("distinct", [1, True, 1.0, "1", None, False, 0]) == [1, True, "1", None, False, 0]
    assert call("distinct", [{"a": 1}, {"a": True}]) == [{"a": 1}, {"a": True}]


def test_shuffling_gives_every_order() -> None:
    assert {tuple(call("shuffle", [1, 2, 3])) for _ in range(500)} == {
        (1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1),
    }  # fmt: skip
