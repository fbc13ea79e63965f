"""A bucket of the S3 server, as another library than ours sees it."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import boto3

KEYS = {"access_key_id": "test", "secret_access_key": "no-secret-at-all", "region": "us-east-1"}


class Shelf:
    """A bucket of the S3 server, as boto3 sees it."""

    def __init__(self, server: str, bucket: str) -> None:
        self.server, self.bucket = server, bucket

    @cached_property
    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.server,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="no-secret-at-all",
        )

    @property
    def options(self) -> dict[str, Any]:
        place = {"provider": "s3", "bucket": self.bucket, "endpoint": self.server, "allow_http": True}
        return {**place, **KEYS, "max_retries": 1}

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def shown(self, prefix: str = "") -> list[str]:
        """Keys without those that are hidden."""
        return [key for key in self.keys(prefix) if not any(part.startswith(".") for part in key.split("/"))]

    def hidden(self) -> list[str]:
        return sorted(set(self.keys()) - set(self.shown()))

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def manifest(self, key: str) -> Any:
        return json.loads(self.get(key))
