"""K1–K11 for PostgreSQL: killed at every named place and at random instants; every record is there exactly once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from harness import JOB, Shop, Target, check_equality, finish, write_contract
from test_matrix import OPTIONAL, POINTS
from test_random_kill import killed_at_random

_TABLE = 'CREATE TABLE t (id integer PRIMARY KEY, qty integer, kind text, "when" date);'
_OLD = (-1, -2)
_WITH_OLD = _TABLE + "INSERT INTO t (id) VALUES (-1), (-2);"


@dataclass
class PostgresTarget(Target):
    """A table; ``path`` is the database's URL once there is one, and ``sql`` makes what is there before."""

    sql: str = ""

    def read(self, folder: Path) -> Counter[int]:
        with psycopg.connect(self.path) as connection:
            if connection.execute("SELECT to_regclass('t')").fetchone() == (None,):
                return Counter()
            left = connection.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '\\_etlctl\\_stage%'")
            assert left.fetchone() == (0,)
            return Counter(row[0] for row in connection.execute("SELECT id FROM t"))


CASES = [
    (
        "streaming",
        PostgresTarget("refusing", "", "", sql=_TABLE.replace("qty integer", "qty integer CHECK (qty % 9 <> 1)")),
    ),
    ("full", PostgresTarget("insert", "", "", _OLD, stays=True, sql=_WITH_OLD)),
    ("full", PostgresTarget("upsert", "write_method: upsert\nprimary_key: id\n", "", _OLD, stays=True, sql=_WITH_OLD)),
    ("streaming", PostgresTarget("replace", "write_method: replace\n", "", _OLD, sql=_WITH_OLD)),
    ("hybrid", PostgresTarget("create", "create_table: true\n", "")),
]


def _in(url: str, target: PostgresTarget) -> PostgresTarget:
    """Return the target in a database that is as it was before any run."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        if target.sql:
            connection.execute(target.sql)
    load = f'type: postgres\nurl: "{url}"\ntable: t\n{target.load}'
    return PostgresTarget(target.name, load, url, target.before, target.stays)


@pytest.mark.parametrize(("mode", "target"), CASES, ids=lambda one: getattr(one, "name", one))
def test_killed_at_every_place(
    shop: Shop, tmp_path: Path, postgres_url: str, target: PostgresTarget, mode: str
) -> None:
    reached = 0
    for number, (_, point) in enumerate(POINTS):
        root = tmp_path / str(number)
        root.mkdir()
        place = _in(postgres_url, target)
        write_contract(root, place, mode=mode)
        ended = shop.run(root, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill")
        if ended.killed:
            reached += 1
        else:
            assert point in OPTIONAL or point.startswith(("load.", "publish.")), (point, ended)
        try:
            finish(shop, root, ended)
            check_equality(root, place)
        except AssertionError as error:
            raise AssertionError(f"after {point} of {target.name} in mode {mode}: {error}") from error
    assert reached >= len(POINTS) - 3


@pytest.mark.parametrize(("mode", "target"), CASES[:4], ids=lambda one: getattr(one, "name", one))
def test_killed_at_random_instants(
    shop: Shop, tmp_path: Path, postgres_url: str, target: PostgresTarget, mode: str
) -> None:
    dice, killed, number = random.Random(f"postgres {target.name}"), 0, 0
    while number < 2 or (not killed and number < 20):  # a quick run may be over before its instant comes
        root = tmp_path / str(number)
        root.mkdir()
        killed += killed_at_random(shop, root, _in(postgres_url, target), dice, mode)
        number += 1
    assert killed, "nothing was killed: the instants are too late"


@pytest.mark.soak
@pytest.mark.parametrize(("mode", "target"), CASES, ids=lambda one: getattr(one, "name", one))
def test_many_seeds(shop: Shop, tmp_path: Path, postgres_url: str, target: PostgresTarget, mode: str) -> None:
    for seed in range(100):
        root = tmp_path / str(seed)
        root.mkdir()
        killed_at_random(shop, root, _in(postgres_url, target), random.Random(f"{target.name} {seed}"), mode)
