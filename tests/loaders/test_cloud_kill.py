"""Runs into S3 that are killed: at every named place and at random instants; nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from cloud_shop import Case
from s3_shelf import Shelf

FORMATS = [("o.csv", "append"), ("o.json", "replace"), ("o.csv.gz", "replace"), ("o.xlsx", "append")]
FORMATS += [("set/:jsonl", "replace")]
POINTS = ["load.write:2", "load.before_commit:2", "load.after_commit:2", "publish.during:1", "publish.during:2"]
POINTS += ["publish.during:5", "publish.after:1"]


@pytest.fixture
def shelf(s3_server: str, s3_bucket: str) -> Shelf:
    return Shelf(s3_server, s3_bucket)


@pytest.mark.parametrize(("name", "method"), [("o.parquet", "append"), ("set/:parquet", "append")])
def test_killed_at_every_place(shelf: Shelf, tmp_path: Path, name: str, method: str) -> None:
    children = {}
    for number, point in enumerate(POINTS):
        case = Case(shelf, tmp_path, f"{number}/{name}", method)
        before = case.before()
        old = case.found()
        children[point] = (case, before, old, case.child(f"{point}=kill", close=False))
    for point, (case, before, old, child) in children.items():
        killed = case.ended(child)
        assert killed or point in {"publish.during:2", "publish.during:5"}, point
        if killed and point.startswith("load"):
            assert case.found() == old, point  # nothing of it is seen
        told = case.run(fence=2)
        assert case.found() == case.expected(before), point
        assert told["records"] == case.batches * case.size, point
        assert told["begun"] >= (1 if point.startswith("load") else 0), point
        hidden = [key for key in shelf.hidden() if key.startswith(f"{point}/")]
        assert all(key.endswith(".manifest.json") for key in hidden)


@pytest.mark.parametrize(("name", "method"), FORMATS)
def test_killed_at_random_instants(shelf: Shelf, tmp_path: Path, name: str, method: str) -> None:
    dice, killed = random.Random(name), 0
    case = Case(shelf, tmp_path, name, method, interval=dice.choice([1, 2]))
    before, fence = case.before(), 1
    for _ in range(3):
        child = case.child(fence=(fence := fence + 1), close=False)
        assert child.stdout is not None
        child.stdout.readline()  # it is open: what comes now is quick
        time.sleep(dice.uniform(0, 0.12))
        child.kill()
        killed += case.ended(child)
    case.run(fence=fence + 1)
    assert case.found() == case.expected(before)
    assert all(key.endswith(".manifest.json") for key in shelf.hidden())
    assert killed, "nothing was killed: the instants are too late"


def test_another_run_undoes_what_a_killed_one_has_shown(shelf: Shelf, tmp_path: Path) -> None:
    case = Case(shelf, tmp_path, "set/:jsonl", "append")
    before = case.before()
    assert case.ended(case.child("publish.during:2=kill"))
    assert len(case.found()) > len(before), "some are seen by who lists keys"
    shown = {part["name"] for part in shelf.manifest(".set.manifest.json")["parts"]}
    assert {f"set/{name}" for name in shown} < set(shelf.shown("set/")), "but the manifest does not have them"
    case.run(run="run_2", resume=False, fence=2)
    assert case.found() == case.expected(before)


def test_a_published_run_is_not_published_again(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("o.csv", "set/:csv"):
        case = Case(shelf, tmp_path, name, "append")
        before = case.before()
        assert case.ended(case.child("publish.after=kill"))
        told = case.run(fence=2)
        assert told["finished"]
        assert told["records"] == case.batches * case.size
        assert case.found() == case.expected(before)
    assert shelf.hidden() == [".set.manifest.json"]
