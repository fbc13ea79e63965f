"""The fault matrix: killed at every named place, resumed, and the destination holds every record exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import JOB, Shop, Target, check_equality, finish, write_contract
from targets import TARGETS, prepare

POINTS = [
    ("K1", "read.before:1"),
    ("K2", "read.chunk:2"),
    ("K3", "apply.batch:3"),
    ("K4", "load.write:3"),
    ("K4", "load.before_commit:3"),
    ("K5", "load.after_commit:3"),
    ("K6", "checkpoint.after:3"),
    ("K7", "publish.before:1"),
    ("K7", "publish.during:1"),
    ("K10", "publish.during:2"),
    ("K10", "publish.after:1"),
    ("K8", "ledger.finish:1"),
    ("K8", "report.write:1"),
    ("K9", "letters.before:2"),
    ("K9", "letters.after:2"),
]
OPTIONAL = {"publish.during:2"}
"""Not every destination takes two steps to publish."""


@pytest.mark.parametrize("mode", ["streaming", "full"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_killed_at_every_place(shop: Shop, tmp_path: Path, target: Target, mode: str) -> None:
    reached = 0
    for number, (_, point) in enumerate(POINTS):
        root = tmp_path / str(number)
        root.mkdir()
        prepare(target, write_contract(root, target, mode=mode))
        ended = shop.run(root, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill")
        if not ended.killed:
            assert point in OPTIONAL or point.startswith(("load.", "publish.")), (point, ended)
            assert ended.code in {0, 4}, (point, ended)
        else:
            reached += 1
        try:
            finish(shop, root, ended)
            check_equality(root, target)
        except AssertionError as error:
            raise AssertionError(f"after {point} of {target.name} in mode {mode}: {error}") from error
    assert reached >= len(POINTS) - 3
