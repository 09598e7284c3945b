"""Reference images in S3: read through the connection that the URL names, checked, and sent inside of the request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_kling.emulator import Emulator
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators.generate import KlingMultiImageToImageOperator


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket, reached through ``aws_default`` and ``refs_aws``, whose storage Airflow keeps: one server for all."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    extra = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "an-id", "password": "a-secret", "extra": extra}
    client = boto3.client("s3", aws_access_key_id="an-id", aws_secret_access_key="a-secret", **extra)
    client.create_bucket(Bucket="refs")
    with pytest.MonkeyPatch.context() as patch:
        for conn_id in ("AWS_DEFAULT", "REFS_AWS"):
            patch.setenv(f"AIRFLOW_CONN_{conn_id}", json.dumps(connection))
        yield "refs"
    server.stop()


@pytest.mark.parametrize("conn_id", ["", "refs_aws@"])
def test_an_object_is_sent_as_it_is(conn_id: str, bucket: str, kling: Emulator, png: bytes, jpeg: bytes) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    s3 = S3Hook("aws_default").get_conn()
    for name, data in (("a.png", png), ("b.jpg", jpeg)):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=data)
    subjects = [f"s3://{conn_id}{bucket}/in/{name}" for name in ("a.png", "b.jpg")]
    KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, prompt="two friends").execute({})
    [task] = kling.ledger()["accounts"]["default"]["tasks"]
    sent = [image["subject_image"]["sha256"] for image in task["request"]["subject_image_list"]]
    assert sent == [hashlib.sha256(image).hexdigest() for image in (png, jpeg)]


def test_an_object_that_is_not_there_costs_nothing(bucket: str, kling: Emulator) -> None:
    missing = [f"s3://{bucket}/none.png"] * 2
    with pytest.raises(KlingInputError, match=r"s3://refs/none\.png"):
        KlingMultiImageToImageOperator(task_id="submit", subject_images=missing, prompt="two friends").execute({})
    assert kling.ledger()["requests"]["create"] == 0
