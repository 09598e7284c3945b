"""The three kinds of storage for tests: files on disk, S3 over HTTP, and a storage of fsspec."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_kling.storage.base import Store
from airflow_kling.storage.fsspec import FsspecStore
from airflow_kling.storage.open import open_store


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="images")
    yield client
    for item in client.list_objects_v2(Bucket="images").get("Contents", ()):
        client.delete_object(Bucket="images", Key=item["Key"])


class MemoryRoot:
    """What FsspecStore uses of an ObjectStoragePath, over a storage whose upload is not atomic."""

    protocol = "memory"

    def __init__(self, path: str) -> None:
        import fsspec

        self.path = path
        self.fs = fsspec.filesystem("memory")

    def __truediv__(self, key: str) -> MemoryRoot:
        return MemoryRoot(f"{self.path}/{key}")


class Place:
    """A store together with a look at what really lies in it."""

    def __init__(
        self, store: Store, listing: Callable[[], dict[str, bytes]], put: Callable[[str, bytes], None]
    ) -> None:
        self.store, self.listing, self.put = store, listing, put


@pytest.fixture(params=["file", "s3", "fsspec"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind = request.param
    if kind == "file":
        root = tmp_path / "new" / "archive"

        def put(key: str, data: bytes) -> None:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(data)

        return Place(
            open_store(root.as_uri()),
            lambda: {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()},
            put,
        )
    if kind == "s3":
        client = request.getfixturevalue("s3")
        return Place(
            open_store("s3://images/pre/fix", aws_conn_id="my_s3"),
            lambda: s3_listing(client),
            lambda key, data: client.put_object(Bucket="images", Key=f"pre/fix/{key}", Body=data),
        )
    store = FsspecStore(f"memory://{tmp_path.name}")
    root = MemoryRoot(f"/{tmp_path.name}")
    store.__dict__["_root"] = root
    return Place(
        store,
        lambda: {p.removeprefix(root.path + "/"): root.fs.cat_file(p) for p in root.fs.find(root.path)},
        lambda key, data: root.fs.pipe_file(f"{root.path}/{key}", data),
    )


def s3_listing(client: Any) -> dict[str, bytes]:
    items = client.list_objects_v2(Bucket="images").get("Contents", ())
    bodies = {item["Key"]: client.get_object(Bucket="images", Key=item["Key"])["Body"].read() for item in items}
    return {key.removeprefix("pre/fix/"): body for key, body in bodies.items()}


def memory_store(protocol: str) -> FsspecStore:
    store = FsspecStore(f"{protocol}://bucket")
    root = MemoryRoot(f"/{protocol}-bucket")
    root.protocol = protocol
    store.__dict__["_root"] = root
    return store
