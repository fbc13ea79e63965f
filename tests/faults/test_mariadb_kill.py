"""K1–K11 for MariaDB: killed at every named place and at random instants; every record is there exactly once."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from harness import JOB, Shop, Target, check_equality, finish, write_contract
from test_matrix import OPTIONAL, POINTS
from test_random_kill import killed_at_random

_TABLE = "CREATE TABLE t (id INT PRIMARY KEY, qty INT, kind TEXT, `when` DATE)"
_WITH_OLD = (_TABLE, "INSERT INTO t (id) VALUES (-1), (-2)")


def run(url: str, *statements: str) -> Any:
    rest, _, name = url.rpartition("/")
    port = int(rest.rpartition(":")[2])
    with closing(pymysql.connect(host="127.0.0.1", port=port, user="root", database=name, autocommit=True)) as found:
        cursor = found.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if statements else ()


@dataclass
class MariadbTarget(Target):
    """A table; ``path`` is the database's URL once there is one, and ``sql`` makes what is there before.

    Ids below 0 are those of rows that are there before; they are left when ``keeps``.
    """

    sql: tuple[str, ...] = ()
    keeps: bool = False

    def read(self, folder: Path) -> Counter[int]:
        assert {name for (name,) in run(self.path, "SHOW TABLES")} == {"t", "_etlctl_commits"}
        ids = Counter(row[0] for row in run(self.path, "SELECT id FROM t"))
        assert sorted(number for number in ids if number < 0) == ([-2, -1] if self.keeps else [])
        return Counter({number: count for number, count in ids.items() if number >= 0})


CASES = [
    (
        "streaming",
        MariadbTarget("refusing", "", "", sql=(_TABLE.replace("qty INT", "qty INT CHECK (qty % 9 <> 1)"),)),
    ),
    ("full", MariadbTarget("upsert", "write_method: upsert\nprimary_key: id\n", "", sql=_WITH_OLD, keeps=True)),
    ("hybrid", MariadbTarget("replace", "write_method: replace\n", "", sql=_WITH_OLD)),
    ("full", MariadbTarget("create", "create_table: true\n", "")),
]


def _in(url: str, target: MariadbTarget) -> MariadbTarget:
    """Return the target in a database that is as it was before any run."""
    left = [name for (name,) in run(url, "SHOW TABLES")]
    run(url, *(f"DROP TABLE `{name}`" for name in left), *target.sql)
    return replace(target, load=f'type: database\nurl: "{url}"\ntable: t\n{target.load}', path=url)


@pytest.mark.parametrize(("mode", "target"), CASES, ids=lambda one: getattr(one, "name", one))
def test_killed_at_every_place(shop: Shop, tmp_path: Path, mariadb_url: str, target: MariadbTarget, mode: str) -> None:
    reached = 0
    for number, (_, point) in enumerate(POINTS):
        root = tmp_path / str(number)
        root.mkdir()
        place = _in(mariadb_url, target)
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


@pytest.mark.parametrize(("mode", "target"), CASES, ids=lambda one: getattr(one, "name", one))
def test_killed_at_random_instants(
    shop: Shop, tmp_path: Path, mariadb_url: str, target: MariadbTarget, mode: str
) -> None:
    dice, killed, number = random.Random(f"mariadb {target.name}"), 0, 0
    while not killed and number < 20:  # a quick run may be over before its instant comes
        root = tmp_path / str(number)
        root.mkdir()
        killed += killed_at_random(shop, root, _in(mariadb_url, target), dice, mode)
        number += 1
    assert killed, "nothing was killed: the instants are too late"


@pytest.mark.soak
@pytest.mark.parametrize(("mode", "target"), CASES, ids=lambda one: getattr(one, "name", one))
def test_many_seeds(shop: Shop, tmp_path: Path, mariadb_url: str, target: MariadbTarget, mode: str) -> None:
    for seed in range(100):
        root = tmp_path / str(seed)
        root.mkdir()
        killed_at_random(shop, root, _in(mariadb_url, target), random.Random(f"{target.name} {seed}"), mode)
