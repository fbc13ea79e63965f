"""K11: killed again and again at random instants, then resumed: nothing lost, nothing doubled.

``pytest -m soak tests/faults`` tries 200 seeds for every destination and mode; the plain run a few of them.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from harness import JOB, Ended, Shop, Target, check_equality, write_contract
from targets import TARGETS, prepare

MODES = ["streaming", "full", "hybrid"]
SEEDS = int(os.environ.get("SOAK_SEEDS", "200"))
LONGEST = 0.25
"""Seconds within which an undisturbed run is done on a quick machine, more or less."""


def killed_at_random(shop: Shop, root: Path, target: Target, dice: random.Random, mode: str) -> int:
    """Run and resume, killed at random instants, until an attempt comes through; returns how many were killed."""
    interval = dice.choice([1, 2, None])
    prepare(target, write_contract(root, target, mode=mode, interval=interval))
    killed, ended = 0, Ended(2, "", "there is no checkpoint")
    for attempt in range(40):
        argv = ["resume", "--checkpoint", JOB]
        if ended.code == 2 and "there is no checkpoint" in ended.err:
            argv = ["run", "contracts/c", "--checkpoint", JOB]
        # Less and less, so that it comes to an end: the last attempts are left alone.
        patience = dice.uniform(0, LONGEST) if attempt < 8 else None
        with shop.started(root, *argv) as (process, wait):
            if patience is not None:
                time.sleep(patience)
                with suppress(ProcessLookupError):  # it came through
                    os.kill(process, signal.SIGKILL)
            ended = wait()
        killed += ended.killed
        if ended.code in {0, 4}:
            break
        assert ended.killed or (ended.code == 2 and "there is no checkpoint" in ended.err), ended.err
    assert ended.code in {0, 4}, ended.err
    check_equality(root, target)
    return killed


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_some_seeds(shop: Shop, tmp_path: Path, target: Target) -> None:
    dice = random.Random(f"{target.name}")
    killed = number = 0
    while number < len(MODES) or (not killed and number < 20):  # a quick run may be over before its instant comes
        root = tmp_path / str(number)
        root.mkdir()
        killed += killed_at_random(shop, root, target, dice, MODES[number % len(MODES)])
        number += 1
    assert killed, "nothing was killed: the instants are too late"


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_many_seeds(shop: Shop, tmp_path: Path, target: Target, mode: str) -> None:
    for seed in range(SEEDS):
        root = tmp_path / str(seed)
        root.mkdir()
        try:
            killed_at_random(shop, root, target, random.Random(f"{target.name} {mode} {seed}"), mode)
        except AssertionError as error:
            raise AssertionError(f"seed {seed} of {target.name} in mode {mode}: {error}") from error
