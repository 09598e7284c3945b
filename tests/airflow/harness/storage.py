"""Runs an S3 server, and reads and writes its objects."""

from __future__ import annotations

import os
import secrets
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx

from deploy.local.processes import free_ports, server, wait_until

BUCKET = "kling"
REGION = "us-east-1"
KEY_ID, SECRET = secrets.token_hex(10), secrets.token_hex(20)


class Storage:
    """The bucket, over S3's own API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = boto3.client(
            "s3", endpoint_url=url, region_name=REGION, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
        )
        self.make_bucket(BUCKET)

    def make_bucket(self, name: str) -> None:
        self._client.create_bucket(Bucket=name)

    def connection(self) -> dict[str, Any]:
        """Return the Airflow connection to it."""
        extra = {"endpoint_url": self.url, "region_name": REGION}
        return {"conn_type": "aws", "login": KEY_ID, "password": SECRET, "extra": extra}

    def put(self, key: str, content: bytes) -> str:
        """Store an object; returns the URL at which anybody can read it."""
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read", ContentType="image/png")
        return f"{self.url}/{BUCKET}/{key}"

    def archives(self, prefix: str) -> dict[str, dict[str, bytes]]:
        """Return all below a prefix: Kling task id -> name -> content."""
        found: dict[str, dict[str, bytes]] = defaultdict(dict)
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for item in page.get("Contents", ()):
                folder, _, name = item["Key"].removeprefix(prefix).rpartition("/")
                body = self._client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"]
                found[folder.strip("/")][name] = body.read()
        return dict(found)


@contextmanager
def storage(log: Path) -> Iterator[Storage]:
    """Run an S3 server of one bucket on a free port of 127.0.0.1."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with server(command, log=log, env=os.environ, cwd=log.parent) as process:
        wait_until(lambda: _answers(url), process=process, log=log, what="The S3 server")
        yield Storage(url)


def _answers(url: str) -> bool | None:
    try:
        return httpx.get(url, trust_env=False).is_success or None
    except httpx.TransportError:
        return None
