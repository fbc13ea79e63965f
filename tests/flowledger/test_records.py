"""What the daily contract makes of a record: published as it should be, or a dead letter that says why."""

from __future__ import annotations

import re
from typing import Any

import pytest
from daily import CASES, Daily, lines

GOOD = {"record_key": "good", "full_name": "Good", "email": "good@example.org", "age": 40, "source": "web"}
# What a case's text says, as this contract says it: the rule that was broken, its field, and the message.
MEANINGS = {
    "age must be an integer": [
        ("check.type", "age", r"^field 'age': .+ is \w+, not integer"),
        ("check.required", "age", r"^field 'age' is required"),
    ],
    "age must be between 18 and 120": [
        ("check.minimum", "age", r"less than the minimum 18$"),
        ("check.maximum", "age", r"more than the maximum 120$"),
    ],
    "email format is invalid": [("check.pattern", "email", r"does not match the pattern")],
    "record_key is required": [("check.required", "record_key", r"^field 'record_key' is required")],
}
RECORDS = [case for name, case in CASES.items() if name.startswith("fl-rec-")]


async def outcome(daily: Daily, record: Any) -> tuple[list[Any], list[Any]]:
    """Return what was published of a record, and its dead letters; a good one keeps it company."""
    from etlctl import ETLOrchestrator

    daily.give("2026-03-01", [record, GOOD])
    result = await ETLOrchestrator(daily.contract).run(run_date="2026-03-01")
    assert (result.success, result.exit_code) == (True, 0), result.error
    *published, last = lines(daily.published("2026-03-01"))
    assert last == {**GOOD, "age_group": "35-54"}
    file = daily.letters("2026-03-01")
    return published, lines(file) if file.exists() else []


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in RECORDS])
async def test_case(daily: Daily, case: dict[str, Any]) -> None:
    record, expect = case["given"]["record"], case["expect"]
    published, letters = await outcome(daily, record)
    if "valid" in expect:
        assert (published, letters) == ([expect["valid"]], [])
        assert type(published[0]["record_key"]) is str
        return
    assert published == []
    (letter,) = letters
    assert letter["raw"] == record
    meant = MEANINGS[expect["invalid"]]
    assert any(
        (letter["rule"], letter["field"]) == (rule, field) and re.search(text, letter["message"])
        for rule, field, text in meant
    ), letter


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": None}, "email"),
        ({"email": " "}, "email"),
        ({"email": 5}, "email"),
        ({"email": "two@@example.org"}, "email"),
        ({"email": "a b@example.org"}, "email"),
        ({"email": "a@example.org."}, "email"),
        ({"age": "40"}, "age"),
        ({"age": 40.5}, "age"),
        ({"age": None}, "age"),
        ({"age": [40]}, "age"),
        ({"age": {"years": 40}}, "age"),
        ({"record_key": None}, "record_key"),
        ({"record_key": ""}, "record_key"),
    ],
)
async def test_no_value_makes_a_step_fail_before_the_check_names_the_field(
    daily: Daily, change: dict[str, Any], field: str
) -> None:
    published, letters = await outcome(daily, {**GOOD, **change})
    assert published == []
    assert [(one["field"], one["stage"]) for one in letters] == [(field, "check")]


async def test_records_are_normalised(daily: Daily) -> None:
    untidy = {"record_key": " k 1 ", "full_name": "  Zoë  Q ", "email": " Zoë@Example.ORG ", "age": 35, "source": " "}
    published, _ = await outcome(daily, {**untidy, "other": 1})
    assert published == [
        {
            "record_key": "k 1",
            "full_name": "Zoë  Q",
            "email": "zoë@example.org",
            "age": 35,
            "age_group": "35-54",
            "source": "unknown",
        }
    ]


@pytest.mark.parametrize(("age", "group"), [(34, "18-34"), (35, "35-54"), (55, "55+"), (120, "55+")])
async def test_groups_begin_and_end_where_they_say(daily: Daily, age: int, group: str) -> None:
    published, _ = await outcome(daily, {**GOOD, "age": age})
    assert [one["age_group"] for one in published] == [group]


def test_the_sample_day_of_the_repository(daily: Daily) -> None:
    ended = daily.run("2026-02-22")
    assert ended.code == 0, ended.err
    counts = ended.data["counts"]
    assert (counts["extracted"], counts["loaded"], counts["rejected"]) == (13, 7, 6)
    assert [one["location"].rpartition(":")[2] for one in lines(daily.letters("2026-02-22"))] == [
        *("4", "5", "7", "8", "9", "13"),
    ]
    assert len(lines(daily.published("2026-02-22"))) == 7
    assert "13 read + 0 added = 7 loaded + 0 filtered + 6 rejected" in ended.err


def test_a_day_with_more_bad_records_than_good_ones_is_not_published(daily: Daily) -> None:
    daily.give("2026-03-02", [GOOD, {**GOOD, "age": 1}, {**GOOD, "age": 2}])
    ended = daily.run("2026-03-02")
    assert ended.code == 5
    assert "66.67 %" in ended.err
    assert not daily.published("2026-03-02").exists()
    assert len(lines(daily.letters("2026-03-02"))) == 2, "what was wrong is told all the same"
