"""Signed URLs: how long they last, what cannot be signed, and what a session says."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage import sign
from airflow_kling.storage.sign import lasting, sign_url


@pytest.mark.parametrize(
    ("queue", "deadline", "seconds"), [(3600, 7200, 14_400), (0, 3600, 7200), (10 * 86_400, 7200, 7 * 86_400)]
)
def test_it_lasts_for_queue_and_generation_and_not_longer_than_a_signature(
    queue: float, deadline: float, seconds: int
) -> None:
    assert lasting(queue, deadline) == seconds


def test_anybody_can_read_by_it(s3: Any) -> None:
    s3.put_object(Bucket="images", Key="a b/ü%20?.png", Body=b"the bytes")
    url = sign_url("s3://my_s3@images/a b/ü%20?.png", name="image", seconds=60, allow_private_hosts=True)
    assert httpx.get(url, trust_env=False).content == b"the bytes"


def test_what_is_not_there_is_refused_with_the_word_of_the_storage(s3: Any) -> None:
    with pytest.raises(KlingInputError) as caught:
        sign_url("s3://my_s3@images/none.png", name="image", seconds=60, allow_private_hosts=True)
    assert str(caught.value).startswith("image lies at s3://images/none.png, and its URL cannot be signed (404): ")
    assert caught.value.__cause__ is None


def test_a_host_that_is_not_public_is_refused(s3: Any) -> None:
    s3.put_object(Bucket="images", Key="a.png", Body=b"x")
    with pytest.raises(KlingInputError, match=r"leads to 127\.0\.0\.1, which Kling's servers cannot reach") as caught:
        sign_url("s3://my_s3@images/a.png", name="image", seconds=60)
    assert "X-Amz" not in str(caught.value)


class Path:
    def __init__(self, error: Exception | None = None) -> None:
        self.path, self.fs, self._error = "bucket/a.png", self, error

    def sign(self, path: str, expiration: int) -> str:
        if self._error:
            raise self._error
        return f"https://storage.example/{path}?Expires={expiration}"


def test_another_storage_signs_by_its_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign, "object_path", lambda address: Path())
    assert sign_url("gs://bucket/a.png", name="image", seconds=60) == "https://storage.example/bucket/a.png?Expires=60"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotImplementedError(), "a storage that cannot sign"),
        (ValueError("the secret"), r"cannot be signed \(ValueError"),
    ],
)
def test_a_storage_that_does_not_sign(error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign, "object_path", lambda address: Path(error))
    with pytest.raises(
        KlingInputError, match=rf"^image lies at gs://bucket/a.png, .*{reason}.* nothing was submitted\.$"
    ):
        sign_url("gs://bucket/a.png", name="image", seconds=60)


@pytest.mark.parametrize(
    ("extra", "said"), [({}, ""), ({"aws_session_token": "a-token"}, "has to last 120 minutes")], ids=["key", "session"]
)
def test_a_session_token_is_warned_of(
    extra: dict[str, str], said: str, s3: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import os

    connection = json.loads(os.environ["AIRFLOW_CONN_MY_S3"])
    connection["extra"] |= extra
    monkeypatch.setenv("AIRFLOW_CONN_MY_S3", json.dumps(connection))
    s3.put_object(Bucket="images", Key="a.png", Body=b"x")
    with caplog.at_level(logging.WARNING, logger=sign.log.name):
        sign_url("s3://my_s3@images/a.png", name="image", seconds=7200, allow_private_hosts=True)
    warned = [record.getMessage() for record in caplog.records if record.name == sign.log.name]
    assert [said in message for message in warned] == ([True] if said else [])
    assert "a-token" not in str(warned)


@pytest.mark.parametrize(("minutes", "warns"), [(30, True), (180, False)])
def test_a_session_that_ends_too_early_is_warned_of(
    minutes: int, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    expiry = datetime.now(UTC) + timedelta(minutes=minutes)
    credentials = SimpleNamespace(token="t", _expiry_time=expiry)
    client = SimpleNamespace(_request_signer=SimpleNamespace(_credentials=credentials))
    with caplog.at_level(logging.WARNING, logger=sign.log.name):
        sign._warn_of_session(client, "image", 7200)
    assert ("may take 120" in caplog.text) is warns
