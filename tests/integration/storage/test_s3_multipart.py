"""Uploads to S3 in parts: whole, verified, and nothing left of those that fail; real S3 over HTTP."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest

from airflow_kling.storage import s3 as s3_module
from airflow_kling.storage import s3_multipart
from airflow_kling.storage.open import open_store

MIB = 1024 * 1024
DATA = os.urandom(11 * MIB + 5)
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = "task-1/0.mp4"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 5 MiB, the least that S3 takes, from 6 MiB on."""
    monkeypatch.setattr(s3_module, "MAX_PUT", 6 * MIB)
    monkeypatch.setattr(s3_multipart, "PART", 5 * MIB)


def store(**extra: Any) -> Any:
    return open_store("s3://images/pre/fix", aws_conn_id="my_s3", extra_args=extra)


def put(data: bytes = DATA, **extra: Any) -> str:
    return str(
        store(**extra).put(KEY, BytesIO(data), content_type="video/mp4", sha256=hashlib.sha256(data).hexdigest())
    )


def uploads(client: Any) -> list[Any]:
    return list(client.list_multipart_uploads(Bucket="images").get("Uploads", ()))


def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What is sent from now on, in order."""
    from botocore.client import BaseClient

    sent, send = [], BaseClient._make_api_call

    def recorded(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        sent.append((operation, arguments))
        return send(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    return sent


def test_parts_make_the_whole(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = calls(monkeypatch)
    assert put() == f"s3://images/pre/fix/{KEY}"
    parts = [arguments for operation, arguments in sent if operation == "UploadPart"]
    assert [(part["PartNumber"], part["ContentLength"]) for part in parts] == [
        (1, 5 * MIB),
        (2, 5 * MIB),
        (3, MIB + 5),
    ]
    for part in parts:
        start = (part["PartNumber"] - 1) * 5 * MIB
        digest = hashlib.sha256(DATA[start : start + 5 * MIB]).digest()
        assert part["ChecksumSHA256"] == base64.b64encode(digest).decode()
    got = s3.get_object(Bucket="images", Key=f"pre/fix/{KEY}")
    assert got["Body"].read() == DATA
    assert (got["ContentType"], got["Metadata"]["sha256"]) == ("video/mp4", SHA256)
    assert uploads(s3) == []
    stored = store().stat(KEY)
    assert stored.bytes == len(DATA)
    assert stored.sha256 in (None, SHA256), "S3 knows the parts' alone, and the server of these tests the whole's"


def test_what_one_put_takes_is_one_put(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = calls(monkeypatch)
    put(DATA[: 6 * MIB])
    assert [operation for operation, _ in sent] == ["PutObject"]


def test_arguments_go_where_they_are_known(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = calls(monkeypatch)
    put(StorageClass="STANDARD_IA", Metadata={"team": "shoes"}, RequestPayer="requester")
    by_name = dict(sent)
    assert by_name["CreateMultipartUpload"]["StorageClass"] == "STANDARD_IA"
    assert by_name["CreateMultipartUpload"]["Metadata"] == {"team": "shoes", "sha256": SHA256}
    assert "StorageClass" not in by_name["UploadPart"]
    assert {arguments.get("RequestPayer") for operation, arguments in sent} == {"requester"}


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("error", [OSError("the line is cut"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_one_that_fails_leaves_nothing(
    s3: Any, monkeypatch: pytest.MonkeyPatch, operation: str, error: BaseException
) -> None:
    from botocore.client import BaseClient

    send = BaseClient._make_api_call

    def failing(client: Any, name: str, arguments: dict[str, Any]) -> Any:
        if name == operation and arguments.get("PartNumber", 2) == 2:
            raise error
        return send(client, name, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", failing)
        with pytest.raises(type(error)):
            put()
    assert uploads(s3) == []
    assert "Contents" not in s3.list_objects_v2(Bucket="images")


def test_without_checksums_where_the_server_knows_none(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    sent = calls(monkeypatch)
    put()
    assert not any(name.startswith("Checksum") for _, arguments in sent for name in arguments)


def test_what_a_killed_run_has_left_is_aborted_a_day_later(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    left = s3.create_multipart_upload(Bucket="images", Key=f"pre/fix/{KEY}")["UploadId"]
    other = s3.create_multipart_upload(Bucket="images", Key=f"pre/fix/{KEY}.poster.jpg")["UploadId"]
    patience = s3_multipart.LEFT_AFTER
    assert patience >= timedelta(hours=12)
    monkeypatch.setattr(s3_multipart, "LEFT_AFTER", timedelta(days=36500))
    put()
    assert {upload["UploadId"] for upload in uploads(s3)} == {left, other}, "another run may be at it"
    monkeypatch.setattr(
        s3_multipart, "LEFT_AFTER", patience
    )  # the server of these tests says of every upload that it began in 2010
    put()
    assert {upload["UploadId"] for upload in uploads(s3)} == {other}
    s3.abort_multipart_upload(Bucket="images", Key=f"pre/fix/{KEY}.poster.jpg", UploadId=other)


KILLED = """
import os, signal, sys
from airflow_kling.storage import s3, s3_multipart
from airflow_kling.storage.open import open_store
s3.MAX_PUT, s3_multipart.PART = 6 * 2**20, 5 * 2**20
from botocore.client import BaseClient
send, left = BaseClient._make_api_call, [int(sys.argv[2])]
def dying(client, name, arguments):
    if name in ("UploadPart", "CompleteMultipartUpload"):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return send(client, name, arguments)
BaseClient._make_api_call = dying
store = open_store("s3://images/pre/fix", aws_conn_id="my_s3")
with open(sys.argv[1], "rb") as file:
    store.put("task-1/0.mp4", file, content_type="video/mp4", sha256="0" * 64)
"""


@pytest.mark.parametrize("request_number", [1, 2, 4])
def test_a_killed_upload_shows_no_object_and_the_next_one_is_whole(s3: Any, tmp_path: Any, request_number: int) -> None:
    (tmp_path / "data").write_bytes(DATA)
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "data"), str(request_number)])
    assert run.returncode == -signal.SIGKILL
    assert "Contents" not in s3.list_objects_v2(Bucket="images")
    put()
    assert s3.get_object(Bucket="images", Key=f"pre/fix/{KEY}")["Body"].read() == DATA
    for upload in uploads(s3):
        s3.abort_multipart_upload(Bucket="images", Key=upload["Key"], UploadId=upload["UploadId"])


def test_a_part_is_read_as_a_file_is() -> None:
    part = s3_multipart.Part(BytesIO(b"0123456789"), 3, 4)
    assert (len(part), part.read(), part.read(), part.tell()) == (4, b"3456", b"", 4)
    assert (part.seek(-1, os.SEEK_END), part.read()) == (3, b"6")
    assert (part.seek(1), part.seek(1, os.SEEK_CUR), part.read(1)) == (1, 2, b"5")
