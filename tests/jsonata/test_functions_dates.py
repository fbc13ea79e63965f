"""Dates: against Python's calendar over many moments, and the rules that only the reference knows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etlctl.jsonata import compile, evaluate  # noqa: A004
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.functions.calendar_fields import FURTHEST, civil_from_days, days_from_civil
from etlctl.jsonata.values import NOTHING, JsonataError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def call(name: str, *args: Any) -> Any:
    return BUILTINS[name].call(*args)


def moments(count: int) -> list[int]:
    chance = random.Random(7)
    return [chance.randint(-30_000_000_000_000, 200_000_000_000_000) for _ in range(count)]


def test_iso_text_there_and_back() -> None:
    for millis in moments(3000):
        moment = EPOCH + timedelta(milliseconds=millis)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert call("fromMillis", millis) == text
        assert call("toMillis", text) == millis


@pytest.mark.parametrize(
    "picture",
    [
        "[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01].[f001]",
        "[D1o] [MNn] [Y0001] [h]:[m01]:[s01].[f001] [PN]",
        "[FNn], [D] [MNn,*-3] [Y0001] [H]:[m]:[s] [f001] [Z]",
        "[Y0001][M01][D01] [H01][m01][s01][f001]",
        "[YI] [Mi] [Da] [HW]/[m1]/[s1]/[f001]",
        "[Dwo] [MNn] [Y,4-4] [H01]:[m01]:[s01].[f001]",
    ],
)
def test_pictures_there_and_back(picture: str) -> None:
    for moment in moments(200):
        millis = moment % 2_000_000_000_000 if "[YI]" in picture else moment
        assert call("toMillis", call("fromMillis", millis, picture), picture) == millis


def test_weeks_are_those_of_iso_8601() -> None:
    for millis in moments(3000):
        moment = EPOCH + timedelta(milliseconds=millis)
        if moment.year < 1000:
            continue
        year, week, day = moment.isocalendar()
        assert call("fromMillis", millis, "[X]-[W]-[F0]") == f"{year}-{week}-{day}"
        assert call("fromMillis", millis, "[d]") == str(moment.timetuple().tm_yday)


def test_separators_are_written_but_not_read() -> None:
    """The reference's parser takes digits only."""
    assert call("fromMillis", 0, "[Y9,999,*]") == "1,970"
    assert call("toMillis", "1,970", "[Y9,999,*]") is NOTHING


def test_days_of_a_year() -> None:
    for millis in moments(300):
        day = millis // 86_400_000 * 86_400_000
        assert call("toMillis", call("fromMillis", millis, "[Y0001]-[d001]"), "[Y0001]-[d001]") == day


def test_days_and_dates() -> None:
    for days in range(-800_000, 800_000, 37):
        assert days_from_civil(*civil_from_days(days)) == days
    assert civil_from_days(0) == (1970, 1, 1)
    assert days_from_civil(2024, 14, 1) == days_from_civil(2025, 2, 1)


@pytest.mark.parametrize(
    ("timezone", "text"),
    [
        ("+0530", "1970-01-01T05:30:00.000+05:30"),
        ("-0500", "1969-12-31T19:00:00.000-05:00"),
        ("0000", "1970-01-01T00:00:00.000Z"),
    ],
)
def test_offsets(timezone: str, text: str) -> None:
    assert call("fromMillis", 0, NOTHING, timezone) == text
    assert call("toMillis", text) == 0


def test_times_without_an_offset_are_utc() -> None:
    """The reference takes the zone of the machine it runs on."""
    assert call("toMillis", "1970-01-01T00:00:01") == 1000


def test_missing_fields_come_from_the_clock_of_the_run() -> None:
    now = datetime(2031, 7, 9, 3, 4, 5, tzinfo=UTC)
    expression = compile('$fromMillis($toMillis("10:20", "[H01]:[m01]"))')
    assert expression.evaluate(None, now=now) == "2031-07-09T10:20:00.000Z"
    expression = compile('$fromMillis($toMillis("3 May", "[D] [MNn]"))')
    assert expression.evaluate(None, now=now) == "2031-05-03T00:00:00.000Z"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("toMillis", "today"), "D3110"),
        (("toMillis", "2024-13-01"), "D3110"),
        (("toMillis", "2024-01-31T25:00:00Z"), "D3110"),
        (("toMillis", "2024-05", "[X0001]-[W01]"), "D3136"),
        (("toMillis", "2024 10", "[Y0001] [H01]"), "D3136"),
        (("toMillis", "x", "[Dx"), "D3135"),
        (("toMillis", "x", "[QQ]"), "D3133"),
        (("fromMillis", 0, "[Q]"), "D3132"),
        (("fromMillis", 0, "[DN]"), "D3133"),
        (("fromMillis", 0, "[Z00000]"), "D3134"),
        (("fromMillis", 0, "[D0٠]"), "D3131"),
        (("fromMillis", 0, "[Dx]"), "D3130"),
        (("fromMillis", FURTHEST + 1), "D1001"),
        (("fromMillis", 0, NOTHING, "CET"), "D3110"),
        (("fromMillis", "0"), "T0410"),
    ],
)
def test_errors(args: tuple[Any, ...], code: str) -> None:
    with pytest.raises(JsonataError) as caught:
        call(*args)
    assert caught.value.code == code


def test_what_does_not_fit_its_picture_is_nothing() -> None:
    assert call("toMillis", "31.01.2024", "[Y0001]-[M01]-[D01]") is NOTHING
    assert evaluate('$toMillis("x", "[Y0001]")', None) is None


def test_the_ends_of_time() -> None:
    assert call("fromMillis", FURTHEST, "[Y]-[M]-[D]") == "275760-9-13"
    assert call("fromMillis", -FURTHEST, "[Y]-[M]-[D]") == "-271821-4-20"
