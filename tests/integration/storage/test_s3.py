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
