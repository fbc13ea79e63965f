"""K1 to K11 with S3 as the destination: whole runs, killed at every named place and at random instants, then resumed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
import polars as pl
import pytest
from harness import JOB, Shop, Target, check_equality, finish, write_contract
from test_matrix import POINTS
from test_random_kill import killed_at_random

OLD = {"id": [-1, -2], "qty": [0, 0], "kind": ["old", "old"]}


@dataclass
class Bucket(Target):
    """A destination in a bucket; ``path`` is the key, with a slash at the end of a data set."""

    server: str = ""
    bucket: str = ""

    def _client(self):
        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.server, **keys)

    def prepare(self) -> None:
        key = f"{self.path}part-old.jsonl" if self.path.endswith("/") else self.path
        self._client().put_object(Bucket=self.bucket, Key=key, Body=pl.DataFrame(OLD).write_ndjson())

    def read(self, _folder: Path) -> Counter[int]:
        client, found = self._client(), Counter()
        for entry in client.list_objects_v2(Bucket=self.bucket, Prefix=self.path).get("Contents", ()):
            data = client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
            found.update(pl.read_ndjson(data)["id"].to_list())
        return found


def target_of(name: str, server: str, bucket: str, folder: str) -> Bucket:
    """Return a destination of its own below a folder of the bucket."""
    key = f"{folder}/out.jsonl" if name.startswith("object") else f"{folder}/out/"
    method = name.partition("-")[2]
    more = "" if name.startswith("object") else "format: jsonl\npartition_by: kind\n"
    load = (
        f"type: cloud_storage\nprovider: s3\nbucket: {bucket}\npath: {key}\nendpoint: {server}\nallow_http: true\n"
        f"access_key_id: k\nsecret_access_key: s\nregion: us-east-1\nwrite_method: {method}\n{more}"
    )
    return Bucket(name, load, key, (-1, -2), method == "append", server=server, bucket=bucket)


@pytest.mark.parametrize("name", ["object-append", "set-replace"])
def test_killed_at_every_place(shop: Shop, tmp_path: Path, s3_server: str, s3_bucket: str, name: str) -> None:
    points = [point for _, point in POINTS if name.startswith("object") or point.startswith(("load.", "publish."))]
    reached = 0
    for number, point in enumerate(points):
        root = tmp_path / str(number)
        root.mkdir()
        target = target_of(name, s3_server, s3_bucket, str(number))
        target.prepare()
        write_contract(root, target, mode="full" if number % 3 == 2 else "streaming")
        ended = shop.run(root, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill")
        reached += ended.killed
        try:
            finish(shop, root, ended)
            check_equality(root, target)
        except AssertionError as error:
            raise AssertionError(f"after {point} of {name}: {error}") from error
    assert reached >= len(points) - 1


@pytest.mark.parametrize("name", ["object-replace", "set-append"])
def test_killed_at_random_instants(shop: Shop, tmp_path: Path, s3_server: str, s3_bucket: str, name: str) -> None:
    target = replace(target_of(name, s3_server, s3_bucket, "any"), before=())
    killed_at_random(shop, tmp_path, target, random.Random(name), "streaming")
