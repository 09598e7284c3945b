"""Objects in S3: arguments of the upload, checksums, errors."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from io import BytesIO
from typing import Any

import pytest

from airflow_kling.storage.open import open_store


def test_an_object_gets_content_type_hash_and_the_users_arguments(s3: Any) -> None:
    extra = {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key",
        "StorageClass": "STANDARD_IA",
        "Metadata": {"a": "b"},
    }
    store = open_store("s3://my_s3@images/pre/fix", extra_args=extra)
    page = bytes(9 * 1024 * 1024)  # boto3 would make a multipart upload of it
    sha256 = hashlib.sha256(page).hexdigest()
    store.put("task-1/0.png", BytesIO(page), content_type="image/png", sha256=sha256)
    head = s3.head_object(Bucket="images", Key="pre/fix/task-1/0.png")
    assert head["ContentLength"] == len(page)
    assert head["ContentType"] == "image/png"
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["Metadata"] == {"a": "b", "sha256": sha256}


@pytest.mark.parametrize(
    ("config", "extra", "sent"),
    [
        ({}, {}, {"ChecksumSHA256"}),
        ({}, {"ChecksumAlgorithm": "CRC32"}, {"ChecksumCRC32"}),
        ({"request_checksum_calculation": "when_required"}, {}, set()),
    ],
    ids=["ours", "the user's", "none"],
)
def test_s3_compares_a_checksum(s3, s3_endpoint, monkeypatch, config, extra, sent):
    connection = json.loads(os.environ["AIRFLOW_CONN_MY_S3"])
    connection["extra"]["config_kwargs"] = config
    monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
    sha256 = hashlib.sha256(b"data")
    store = open_store("s3://images", aws_conn_id="my_s3", extra_args=extra)
    store.put("task-1/0.png", BytesIO(b"data"), content_type="image/png", sha256=sha256.hexdigest())
    head = s3.head_object(Bucket="images", Key="task-1/0.png", ChecksumMode="ENABLED")
    assert {name for name in head if name.startswith("Checksum")} - {"ChecksumType"} == sent
    if "ChecksumSHA256" in sent:
        assert base64.b64decode(head["ChecksumSHA256"]) == sha256.digest()


def test_other_answers_of_s3_are_not_taken_for_not_there(s3):
    from botocore.exceptions import ClientError

    store = open_store("s3://no-such-bucket", aws_conn_id="my_s3")
    with pytest.raises(ClientError):
        store.download("t/0.png", BytesIO())


def test_what_reading_needs_goes_with_every_request(s3: Any) -> None:
    """Asked of the requests themselves: the server of these tests keeps no keys."""
    everywhere = {"RequestPayer": "requester", "ExpectedBucketOwner": "123456789012"}
    customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    store = open_store("s3://images", aws_conn_id="my_s3", extra_args=everywhere | customer)
    sent: dict[str, dict[str, str]] = {}

    def note(request: Any, operation_name: str, **_: Any) -> None:
        sent[operation_name] = {name.lower(): str(value) for name, value in request.headers.items()}

    store._client.meta.events.register("before-sign.s3", note)
    put_and_read(store)
    assert set(sent) == {"PutObject", "HeadObject", "GetObject", "ListObjectsV2", "DeleteObject"}
    for headers in sent.values():
        assert "x-amz-request-payer" in headers
        assert "x-amz-expected-bucket-owner" in headers
    for operation in ("PutObject", "HeadObject", "GetObject"):
        assert "x-amz-server-side-encryption-customer-key" in sent[operation]


def put_and_read(store: Any) -> None:
    store.put("t/0.png", BytesIO(b"x"), content_type="image/png", sha256=hashlib.sha256(b"x").hexdigest())
    assert store.stat("t/0.png").bytes == 1
    assert store.download("t/0.png", BytesIO())
    assert store.keys("t") == {"t/0.png"}
    store.remove("t/0.png")


def test_an_access_point_is_a_bucket() -> None:
    """Where the request would go; nothing is sent."""
    import boto3

    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    store = open_store("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/my-ap/pre/fix", aws_conn_id=None)
    store.__dict__["_client"] = client
    hosts: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        hosts.append(request.url)
        raise InterruptedError

    client.meta.events.register("before-sign.s3", stop)
    with pytest.raises(InterruptedError):
        store.stat("t/0.png")
    assert hosts == ["https://my-ap-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/pre/fix/t/0.png"]
    assert store.uri("t/0.png").endswith(":accesspoint/my-ap/pre/fix/t/0.png")
