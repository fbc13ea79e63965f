"""Operation ``mask``: what it makes of values, and that the plain ones are left behind nowhere."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from etlctl.transforms.mask import Mask
from operations_driver import build, run_frame, run_rows
from pydantic import ValidationError

from etlctl import ETLOrchestrator
from etlctl.orchestrator.replay import Replayer
from etlctl.orchestrator.replay_book import Wanted
from etlctl.orchestrator.replay_plan import Planner
from etlctl.sdk.concealing import CONCEALED, MASKED

KEY = "a key of sixteen"
SECRET = "the-secret-of-the-contract"
CANARY = "canary.person@example.com"
PHONE = "+49-170-CANARY99"


def mask(**fields: Any) -> Mask:
    operation = build(Mask, fields)
    assert isinstance(operation, Mask)
    return operation


def one(value: Any, options: Any) -> Any:
    (record,) = run_rows([mask(a=options)], [{"a": value}]).records
    return record["a"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Straße ", " Straße "),
        (7, "7"),
        (10**400, "1" + "0" * 400),
        (True, "true"),
        (0.1, "0.1"),
        (Decimal("1.50"), "1.50"),
        (datetime(2024, 1, 5, tzinfo=UTC), "2024-01-05T00:00:00Z"),
        ({"b": [1, None]}, '{"b":[1,null]}'),
        (float("nan"), "nan"),
    ],
)
def test_a_hash_is_the_hmac_of_the_text(value: Any, text: str) -> None:
    expected = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert one(value, {"method": "hash", "key": KEY}) == expected
    assert one(value, {"method": "hash", "unkeyed": True}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("key", ["k" * 64, "k" * 65, "schlüssel" * 20])
def test_long_keys_are_keys_of_hmac(key: str) -> None:
    expected = hmac.new(key.encode(), b"ada", hashlib.sha256).hexdigest()
    assert one("ada", {"method": "hash", "key": key}) == expected


def test_tokens_are_stable_and_unlike_hashes() -> None:
    made = one("ada", {"method": "tokenise", "key": KEY, "prefix": "p-"})
    assert made == one("ada", {"method": "tokenise", "key": KEY, "prefix": "p-"})
    assert made != one("ada", {"method": "tokenise", "key": KEY + "!", "prefix": "p-"})
    assert made.startswith("p-")
    assert len(made) == 26


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        ("0170123456", {"keep_last": 4}, "******3456"),
        ("0170123456", {"keep_first": 2, "keep_last": 2, "symbol": "x"}, "01xxxxxx56"),
        ("3456", {"keep_last": 4}, "****"),
        ("345", {"keep_first": 2, "keep_last": 2}, "***"),
        ("", {"keep_last": 4}, ""),
        (123456, {"keep_last": 2}, "****56"),
    ],
)
def test_partial_never_shows_a_whole_value(value: Any, options: dict[str, Any], expected: str) -> None:
    assert one(value, {"method": "partial", **options}) == expected


def test_null_and_missing_stay_and_nested_values_are_found() -> None:
    operation = mask(**{"a": "redact", "p.mail": "redact", "x.y.z": "redact"})
    given = [
        {"a": None, "p": [{"mail": "m", "n": 1}, {"n": 2}, None]},
        {"p": {"mail": None}, "x": {"y": [[{"z": 1}]]}, "p.mail": "flat"},
        {"p": "no object: m@example.com"},
    ]
    source = json.dumps(given)
    outcome = run_rows([operation], given)
    assert outcome.records == [
        {"a": None, "p": [{"mail": "***", "n": 1}, {"n": 2}, None]},
        {"p": {"mail": None}, "x": {"y": [[{"z": "***"}]]}, "p.mail": "***"},
    ]
    ((_, _, rule, message),) = outcome.refused
    assert rule == "mask.not_an_object"
    assert "example.com" not in message
    assert json.dumps(given) == source
    assert operation.conceal(given[2]) == {"p": CONCEALED}


def test_an_object_and_a_field_in_it_can_both_be_masked() -> None:
    assert run_rows([mask(**{"p": "redact", "p.m": "redact"})], [{"p": {"m": 1}}]).records == [{"p": "***"}]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("hash", "hash needs a key"),
        ("tokenise", "tokenise needs a key"),
        ({"method": "hash", "key": "short"}, "too short"),
        ({"method": "hash", "key": KEY, "unkeyed": True}, "either key or unkeyed"),
        ({"method": "redact", "key": KEY}, "key does not go with redact"),
        ({"method": "partial", "keep": 4}, "keep"),
        ("hide", "'hash', 'redact', 'partial' or 'tokenise'"),
    ],
)
def test_unsafe_options_are_refused_without_showing_the_key(options: Any, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        mask(email=options)
    assert problem in str(caught.value)


def test_a_key_is_in_no_description_of_the_operation() -> None:
    assert KEY not in repr(mask(a={"method": "hash", "key": KEY}))


def test_the_everyday_case_stays_a_frame() -> None:
    frame = pl.DataFrame({"a": ["x", None], "n": [1, 2]})
    operation = mask(a={"method": "hash", "key": KEY}, n="redact")
    outcome = run_frame([operation], frame)
    assert outcome.forms == ["frame"]
    assert outcome.records == run_rows([operation], frame.to_dicts()).records
    assert run_frame([operation], frame.clear()).records == []


# --- nothing else sees it --------------------------------------------------------------------------------------------

MASKS = '{email: {method: hash, key: "${secret:MASK_KEY}"}, phone: redact}'


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A contract whose records fail at reading, converting, checking and loading."""
    folder = tmp_path / "contracts" / "people"
    folder.mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("name: test\n")
    good = {"email": CANARY, "phone": PHONE, "n": "1", "id": "1"}
    lines = [
        json.dumps(good),
        json.dumps({**good, "n": "no number", "id": "2"}),
        json.dumps({**good, "age": -1, "id": "3"}),
        f'{{"email": "{CANARY}", "phone": broken',
        json.dumps({**good, "id": None}),
    ]
    (folder / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "extract.yaml").write_text("type: file\npath: in.jsonl\n")
    (folder / "transform.yaml").write_text(f"transform:\n- mask: {MASKS}\n- convert: {{n: integer}}\n")
    (folder / "contract.yaml").write_text("name: people\nschema:\n  fields:\n    age: {minimum: 0}\n")
    (folder / "load.yaml").write_text(
        "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\nwrite_method: upsert\nprimary_key: [id]\n"
        "dead_letters: {path: letters.jsonl}\n"
    )
    return folder


ENVIRON = {**os.environ, "ETLCTL_SECRET_MASK_KEY": SECRET}


def command(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *args], cwd=cwd, env=ENVIRON, capture_output=True, text=True, check=False
    )


def traces_of(text: str, root: Path, *, but: str = "in.jsonl") -> list[str]:
    """Return the files below a folder that hold a text."""
    found = [path for path in root.rglob("*") if path.is_file() and path.name != but]
    return [str(path) for path in found if text.encode() in path.read_bytes()]


def run(folder: Path, **options: Any) -> Any:
    return asyncio.run(ETLOrchestrator(folder, environ=ENVIRON).run(**options))


def test_no_plain_value_is_left_behind_anywhere(people: Path) -> None:
    root = people.parents[1]
    ran = command("run", "contracts/people", cwd=root)
    assert ran.returncode == 4, ran.stderr
    letters = command("dead-letters", "list", "--json", cwd=root)
    shown = [command("dead-letters", "show", each["id"], cwd=root) for each in json.loads(letters.stdout)]
    assert len(shown) == 4
    previews = [
        command("preview", "contracts/people", cwd=root),
        command("preview", "contracts/people", "--json", cwd=root),
    ]
    previews.append(command("preview", "contracts/people", "--steps", cwd=root))
    for plain in (CANARY, PHONE, SECRET):
        assert traces_of(plain, root) == []
        for done in (ran, letters, *shown, *previews):
            assert plain not in done.stdout + done.stderr, done.args
    raw = [json.loads(line)["raw"] for line in (people / "letters.jsonl").read_text().splitlines()]
    assert CONCEALED in raw
    assert sorted(each["id"] or "" for each in raw if isinstance(each, dict)) == ["", "2", "3"]
    hashed = hmac.new(SECRET.encode(), CANARY.encode(), hashlib.sha256).hexdigest()
    assert all(each["email"] == hashed and each[MASKED] == ["email", "phone"] for each in raw if isinstance(each, dict))


def test_a_failing_run_says_nothing_either(people: Path) -> None:
    (people / "transform.yaml").write_text(
        f"transform:\n- mask: {MASKS}\n- convert: {{email: {{type: integer, on_error: fail}}}}\n"
    )
    root = people.parents[1]
    ran = command("run", "contracts/people", "--json", cwd=root)
    assert ran.returncode == 1
    assert "is not an integer" in ran.stdout + ran.stderr
    for plain in (CANARY, PHONE, SECRET):
        assert traces_of(plain, root) == []
        assert plain not in ran.stdout + ran.stderr


def test_behind_other_steps_nothing_is_kept_of_a_rejected_record(people: Path) -> None:
    (people / "transform.yaml").write_text(
        "transform:\n- rename: {email: mail}\n- convert: {n: integer}\n- mask: {mail: redact, phone: redact}\n"
    )
    root = people.parents[1]
    ran = command("run", "contracts/people", cwd=root)
    assert "W610" in command("validate", "contracts/people", cwd=root).stdout
    preview = command("preview", "contracts/people", "--steps", cwd=root)
    for plain in (CANARY, PHONE, "no number"):
        assert traces_of(plain, root) == []
        assert plain not in ran.stdout + ran.stderr + preview.stdout + preview.stderr
    replayed = command("dead-letters", "replay", "--contract", "people", cwd=root)
    assert "its record was not kept" in replayed.stdout + replayed.stderr


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"transform.yaml": "transform:\n- convert: {email: {type: integer, on_error: fail}}\n"}, "convert"),
        ({"transform.yaml": "transform:\n- map: {email: {values: {a: b}, on_missing: fail}}\n"}, "map"),
        (
            {
                "transform.yaml": "transform:\n- custom_function: {module: own, function: each}\n",
                "own.py": "def each(record):\n    raise SystemError(record['email'])\n",
            },
            "custom_function",
        ),
        (
            {"transform.yaml": "transform:\n", "extract.yaml": "type: file\npath: in.jsonl\non_bad_record: fail\n"},
            "in.jsonl:4",
        ),
    ],
    ids=["convert", "map", "custom_function", "extract"],
)
def test_what_ends_a_run_before_the_mask_quotes_nothing(people: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        masked = f"{text}- mask: {MASKS}\n" if name == "transform.yaml" else text
        (people / name).write_text(masked)
    root = people.parents[1]
    ran = command("--debug", "run", "contracts/people", cwd=root)
    assert ran.returncode != 0
    assert told in ran.stderr
    for plain in (CANARY, PHONE, SECRET):
        assert traces_of(plain, root) == []
        assert plain not in ran.stdout + ran.stderr


def loaded_rows(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "out.db") as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM t ORDER BY id")]


def test_a_masked_record_is_replayed_as_it_is(people: Path) -> None:
    run(people)
    hashed = hmac.new(SECRET.encode(), CANARY.encode(), hashlib.sha256).hexdigest()
    assert [(row["id"], row["email"]) for row in loaded_rows(people)] == [("1", hashed)]
    # Rejected again first: the letter of a replay is still known to be masked.
    for corrected, loaded in (("n: {type: integer}, m: integer", ["1"]), ("n: string", ["1", "2"])):
        (people / "transform.yaml").write_text(f"transform:\n- mask: {MASKS}\n- convert: {{{corrected}}}\n")
        planner = Planner(people.parents[1] / ".etlctl", root=people.parents[1], environ=ENVIRON)
        asyncio.run(Replayer(planner, lambda _message: None).replay(Wanted(contract="people")))
        assert [row["id"] for row in loaded_rows(people)] == loaded
    assert [row["email"] for row in loaded_rows(people)] == [hashed, hashed]
    assert traces_of(CANARY, people.parents[1]) == []


def test_a_letter_is_not_replayed_when_its_field_is_not_masked_any_more(people: Path) -> None:
    run(people)
    (people / "transform.yaml").write_text("transform:\n- mask: {phone: redact}\n- convert: {n: string}\n")
    planner = Planner(people.parents[1] / ".etlctl", root=people.parents[1], environ=ENVIRON)
    outcome = asyncio.run(Replayer(planner, lambda _message: None).replay(Wanted(contract="people")))
    assert {each.why for each in outcome.unfit if each.letter.stage != "extract"} == {
        "field 'email' is masked in it, and the contract does not mask it any more"
    }
    assert len(loaded_rows(people)) == 1
