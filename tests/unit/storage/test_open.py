"""Which class serves a destination."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.destination import Destination
from airflow_kling.storage.fsspec import FsspecStore
from airflow_kling.storage.keys import image_key
from airflow_kling.storage.local import LocalStore
from airflow_kling.storage.open import check_installed, open_store
from airflow_kling.storage.s3 import S3Store


@pytest.mark.parametrize(
    ("destination", "store", "uri"),
    [
        ("s3://bucket", S3Store, "s3://bucket/t/0.png"),
        ("s3://bucket/", S3Store, "s3://bucket/t/0.png"),
        ("s3://bucket/a/b/", S3Store, "s3://bucket/a/b/t/0.png"),
        ("s3://conn@bucket/a", S3Store, "s3://bucket/a/t/0.png"),
        ("file:///data/a b/", LocalStore, "file:///data/a%20b/t/0.png"),
        ("file:///data/%C3%BC%20b", LocalStore, "file:///data/%C3%BC%20b/t/0.png"),
        ("local:///data", LocalStore, "file:///data/t/0.png"),
        ("file:///", LocalStore, "file:///t/0.png"),
        ("s3://bucket//a", S3Store, "s3://bucket/a/t/0.png"),
        ("gs://bucket//a", FsspecStore, "gs://bucket//a/t/0.png"),
        ("gs://conn@bucket/a/", FsspecStore, "gs://bucket/a/t/0.png"),
    ],
)
def test_the_store_of_a_destination(destination, store, uri):
    opened = open_store(destination)
    assert isinstance(opened, store)
    assert opened.uri(image_key("t", 0, "png")) == uri
    assert open_store(Destination.parse(destination)).uri("t/0.png") == uri


def test_import_is_light():
    code = (
        "import sys, airflow_kling.storage.open; print({'PIL','airflow','httpx','boto3','fsspec'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize("address", ["s3://bucket/a", "file:///data", "local:///data"])
def test_what_is_installed_is_a_destination(address: str) -> None:
    check_installed(Destination.parse(address))


def test_a_storage_without_its_provider_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KlingInputError, match="no provider for carrier-pigeon:// is installed on this worker"):
        check_installed(Destination.parse("carrier-pigeon://bucket/a"))
    monkeypatch.setattr("airflow_kling.storage.open.find_spec", lambda name: None)
    with pytest.raises(KlingInputError, match="no provider for s3:// is installed"):
        check_installed(Destination.parse("s3://bucket/a"))
