"""Addresses of the S3 console: the right partition, and the folder that is meant."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_kling.storage.open import open_store
from airflow_kling.storage.s3 import console_folder_url

ODD = ["50 % off?", "#1/2", "Ausgabe für Ümit", "a;b", '"><script>']


@pytest.mark.parametrize("destination", ["gs://bucket/kling", "file:///folder", "s3a://bucket/kling"])
def test_other_storage_has_no_console_and_no_connection_is_looked_up(destination: str) -> None:
    assert open_store(destination, aws_conn_id="no_such_connection").console_url("8334") is None


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("eu-west-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
        (None, "console.aws.amazon.com"),
    ],
)
def test_the_console_is_the_one_of_the_partition(region: str | None, console: str) -> None:
    parts = urlsplit(console_folder_url("our-bucket", "kling/8334/", region=region))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", console, "/s3/buckets/our-bucket")
    assert dict(parse_qsl(parts.query)).get("region") == region


@pytest.mark.parametrize("odd", ODD)
def test_a_prefix_with_odd_characters_arrives_as_it_is(odd: str) -> None:
    url = console_folder_url("our-bucket", f"{odd}/8334/", region="eu-west-1")
    assert dict(parse_qsl(urlsplit(url).query)) == {"region": "eu-west-1", "prefix": f"{odd}/8334/"}
