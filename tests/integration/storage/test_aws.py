"""The client of a connection asks as the one of Airflow's S3Hook does: endpoint, region, signature, proxy, TLS."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.awsrequest import AWSResponse

from airflow_kling.storage import aws

KEYS = {"login": "the-key-id", "password": "the-secret"}
ENDPOINT = {"endpoint_url": "http://127.0.0.1:9000"}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "environment", "AWS_SECRET_ACCESS_KEY": "its-secret", "AWS_REGION": "eu-central-1"}
#: Of the client's version, of one request alone, and of its second.
OF_ONE_REQUEST = {"user-agent", "amz-sdk-invocation-id", "x-amz-date", "amz-sdk-request", "date"}

CONNECTIONS: dict[str, dict[str, Any]] = {
    "keys": {**KEYS, "extra": {"region_name": "eu-west-1"}},
    "keys in the extra": {
        "extra": {"aws_access_key_id": "key", "aws_secret_access_key": "s", "region_name": "eu-west-1"}
    },
    "session token": {**KEYS, "extra": {"aws_session_token": "token", "region_name": "us-east-2"}},
    "session_kwargs": {"extra": {"session_kwargs": {"aws_access_key_id": "k", "aws_secret_access_key": "s"}}},
    "no keys": {"extra": {"region_name": "eu-west-1"}},
    "nothing": {"extra": {}},
    "half a key": {"extra": {"aws_access_key_id": "alone", "region_name": "eu-west-1"}},
    "endpoint": {**KEYS, "extra": {**ENDPOINT, "region_name": "us-east-1"}},
    "endpoint without a region": {**KEYS, "extra": ENDPOINT},
    "endpoint of S3 alone": {**KEYS, "extra": {"service_config": {"s3": ENDPOINT}, "region_name": "us-east-1"}},
    "region of China": {**KEYS, "extra": {"region_name": "cn-north-1"}},
    "no verification": {**KEYS, "extra": {"verify": False, "region_name": "eu-west-1"}},
    "certificates": {**KEYS, "extra": {"verify": "/etc/ssl/own.pem", "region_name": "eu-west-1"}},
    "addressing": {
        **KEYS,
        "extra": {"config_kwargs": {"s3": {"addressing_style": "path"}}, "region_name": "eu-west-1"},
    },
    "accelerate": {**KEYS, "extra": {"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}}},
    "dual stack": {**KEYS, "extra": {"config_kwargs": {"use_dualstack_endpoint": True}, "region_name": "eu-west-1"}},
    "unsigned": {**KEYS, "extra": {"config_kwargs": {"signature_version": "unsigned"}, "region_name": "eu-west-1"}},
    "older signature": {**KEYS, "extra": {"config_kwargs": {"signature_version": "s3"}, "region_name": "eu-west-1"}},
    "checksums": {**KEYS, "extra": {"config_kwargs": {"request_checksum_calculation": "when_required"}}},
    "proxies": {**KEYS, "extra": {"config_kwargs": {"proxies": {"https": "http://127.0.0.1:3128"}}}},
    "time and retries": {**KEYS, "extra": {"config_kwargs": {"read_timeout": 7, "retries": {"max_attempts": 2}}}},
    "profile": {"extra": {"profile_name": "theirs"}},
}


def sent_by(client: Any) -> dict[str, Any]:
    """What a client would send, and over what; nothing leaves this machine."""
    requests: list[Any] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, 200, {}, type("Raw", (), {"stream": lambda *_, **__: iter([b""])})())

    client.meta.events.register("before-send.s3", answer)
    client.put_object(Bucket="our-bucket", Key="kling/8334/0.png", Body=b"data", Metadata={"a": "b"})
    client.list_objects_v2(Bucket="our-bucket", Prefix="kling/")
    session, config = client._endpoint.http_session, client.meta.config
    found = {
        "verify": session._verify,
        "proxies": session._proxy_config._proxies,
        "timeout": (session._timeout.connect_timeout, session._timeout.read_timeout),
        "config": (
            config.region_name,
            config.retries,
            config.s3,
            config.signature_version,
            config.max_pool_connections,
        ),
        "presigned": client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}).partition("?")[0],
    }
    if credentials := client._request_signer._credentials:
        found["credentials"] = credentials.get_frozen_credentials()
    for number, request in enumerate(requests):
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers = {name: value for name, value in headers.items() if name not in OF_ONE_REQUEST}
        authorization = headers.get("authorization") or b""
        text = authorization.decode() if isinstance(authorization, bytes) else authorization
        # The signature is of the second; who signs, for which region and service, and which headers, is not.
        headers["authorization"] = text.partition("Signature=")[0] if "Signature=" in text else text.rpartition(":")[0]
        found[f"request {number}"] = (request.method, request.url, headers)
    return found


@pytest.fixture
def conn_id(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    profiles = tmp_path / "credentials"
    profiles.write_text("[theirs]\naws_access_key_id = of-the-profile\naws_secret_access_key = its-secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AIRFLOW_CONN_AN_AWS", json.dumps({"conn_type": "aws", **CONNECTIONS[request.param]}))
    return "an_aws"


@pytest.mark.parametrize("conn_id", CONNECTIONS, indirect=True)
def test_a_client_sends_what_that_of_the_hook_sends(conn_id: str) -> None:
    assert _sent(lambda: aws.s3_client(aws.read_connection(conn_id))) == _sent(lambda: S3Hook(conn_id).get_conn())


def _sent(make: Any) -> Any:
    try:
        return sent_by(make())
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("conn_id", ["nothing"], indirect=True)
@pytest.mark.parametrize("named", [None, "no_such_connection"])
def test_without_a_connection_boto3s_own_ways_are_taken(
    conn_id: str, named: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sent = sent_by(aws.s3_client(aws.read_connection(named)))
    assert sent == sent_by(S3Hook(named).get_conn())
    assert sent["credentials"].access_key == "environment"
    assert ("no_such_connection" in caplog.text) == (named is not None)


@pytest.mark.parametrize(
    ("conn_id", "plain"), [("keys", True), ("profile", False), ("half a key", False)], indirect=["conn_id"]
)
def test_what_botocore_does_not_know_is_left_to_the_hook(conn_id: str, plain: bool) -> None:
    assert aws.is_plain(aws.read_connection(conn_id)) is plain


@pytest.mark.parametrize("conn_id", ["keys"], indirect=True)
def test_a_session_factory_of_ones_own_is_asked(conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW__AWS__SESSION_FACTORY", "airflow.providers.amazon.aws.hooks.base_aws.BaseSessionFactory"
    )
    assert not aws.is_plain(aws.read_connection(conn_id))


def test_a_role_is_assumed(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    services = {"sts": {"endpoint_url": s3_endpoint}}
    extra = {
        "role_arn": "arn:aws:iam::123456789012:role/archive",
        "region_name": "us-east-1",
        "service_config": services,
    }
    monkeypatch.setenv("AIRFLOW_CONN_A_ROLE", json.dumps({"conn_type": "aws", **KEYS, "extra": extra}))
    credentials = sent_by(aws.s3_client(aws.read_connection("a_role")))["credentials"]
    assert credentials.token
    assert credentials.access_key.startswith("ASIA")


@pytest.mark.parametrize("conn_id", ["time and retries"], indirect=True)
def test_settings_of_ones_own_come_before_the_connections(conn_id: str) -> None:
    config = aws.s3_client(aws.read_connection(conn_id), {"read_timeout": 3}).meta.config
    assert (config.read_timeout, config.retries["total_max_attempts"]) == (3, 3)


def test_a_plain_connection_needs_no_boto3(s3: Any) -> None:
    code = (
        "import airflow.models.dag, sys; before = set(sys.modules); "
        "from airflow_kling.storage.open import open_store; "
        "open_store('s3://images', aws_conn_id='my_s3').keys('task-1'); "
        "print({'boto3', 'requests', 'airflow.providers.amazon.aws.hooks.base_aws'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"
