"""K1–K11 for PostgreSQL: killed at every named place and at random instants; every record is there exactly once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from harness import JOB, Shop, Target, check_equality, finish, write_contract
from test_matrix import OPTIONAL, POINTS
from test_random_kill import killed_at_random

_TABLE = 'CREATE TABLE t (id integer PRIMARY KEY, qty integer, kind text, "when" date);'
_WITH_OLD = _TABLE + "INSERT INTO t (id) VALUES (-1), (-2);"


@dataclass
class PostgresTarget(Target):
    """A table of the database ``url``; ``sql`` makes what is there before, with ids below 0."""

    sql: str = ""
    url: str = ""

    def read(self, folder: Path) -> Counter[int]:
        with psycopg.connect(self.url) as connection:
            if connection.execute("SELECT to_regclass('t')").fetchone() == (None,):
                return Counter()
            left = connection.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '\\_etlctl\\_stage%'")
            assert left.fetchone() == (0,)
            ids = Counter(row[0] for row in connection.execute("SELECT id FROM t"))
        old = {one: ids.pop(one) for one in list(ids) if one < 0}
        assert old == ({-1: 1, -2: 1} if self.stays else {})
        return ids

    def placed(self, url: str) -> PostgresTarget:
        """Return the target in a database that is as it was before any run."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            if self.sql:
                connection.execute(self.sql)
        return replace(self, load=f'type: postgres\nurl: "{url}"\ntable: t\n{self.load}', url=url)


CASES = [
    (
        "streaming",
        PostgresTarget("refusing", "", "", sql=_TABLE.replace("qty integer", "qty integer CHECK (qty % 9 <> 1)")),
    ),
    ("full", PostgresTarget("upsert", "write_method: upsert\nprimary_key: id\n", "", stays=True, sql=_WITH_OLD)),
    ("streaming", PostgresTarget("replace", "write_method: replace\n", "", sql=_WITH_OLD)),
    ("hybrid", PostgresTarget("create", "create_table: true\n", "")),
    ("full", PostgresTarget("insert", "", "", stays=True, sql=_WITH_OLD)),
]


@pytest.mark.parametrize(("mode", "target"), CASES[:4], ids=lambda one: getattr(one, "name", one))
def test_killed_at_every_place(
    shop: Shop, tmp_path: Path, postgres_url: str, target: PostgresTarget, mode: str
) -> None:
    reached = 0
    for number, (_, point) in enumerate(POINTS):
        root = tmp_path / str(number)
        root.mkdir()
        place = target.placed(postgres_url)
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


@pytest.mark.parametrize(("mode", "target"), CASES[1:], ids=lambda one: getattr(one, "name", one))
def test_killed_at_random_instants(
    shop: Shop, tmp_path: Path, postgres_url: str, target: PostgresTarget, mode: str
) -> None:
    dice, killed, number = random.Random(f"postgres {target.name}"), 0, 0
    while number < 2 or (not killed and number < 20):  # a quick run may be over before its instant comes
        root = tmp_path / str(number)
        root.mkdir()
        killed += killed_at_random(shop, root, target.placed(postgres_url), dice, mode)
        number += 1
    assert killed, "nothing was killed: the instants are too late"


@pytest.mark.soak
@pytest.mark.parametrize(("mode", "target"), CASES, ids=lambda one: getattr(one, "name", one))
def test_many_seeds(shop: Shop, tmp_path: Path, postgres_url: str, target: PostgresTarget, mode: str) -> None:
    for seed in range(100):
        root = tmp_path / str(seed)
        root.mkdir()
        killed_at_random(shop, root, target.placed(postgres_url), random.Random(f"{target.name} {seed}"), mode)
