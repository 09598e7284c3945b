"""Addresses of destinations: what they are made of, and which are refused."""

from __future__ import annotations

import pytest

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.destination import Destination, named_connection

ACCESS_POINTS = (
    "arn:aws:s3:eu-west-1:123456789012:accesspoint/my-ap",
    "arn:aws:s3:eu-west-1:123456789012:accesspoint:my-ap",
    "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/my-ap",
    "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
    "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/my-ap",
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket", Destination("s3", None, "bucket", "")),
        ("s3://team@bucket/a/b/", Destination("s3", "team", "bucket", "a/b")),
        ("s3://bucket/a#1/k?", Destination("s3", None, "bucket", "a#1/k?")),
        ("gs://bucket//a", Destination("gs", None, "bucket", "/a")),
        ("file:///data/a b/", Destination("file", None, "", "/data/a b")),
        ("file:///", Destination("file", None, "", "/")),
        ("file:///my%20data/%C3%BC", Destination("file", None, "", "/my data/ü")),
        ("file:///50%25/100%", Destination("file", None, "", "/50%/100%")),
        *(
            (f"s3://{conn}{arn}{path}", Destination("s3", conn.rstrip("@") or None, arn, path.strip("/")))
            for arn in ACCESS_POINTS
            for conn in ("", "team@")
            for path in ("", "/pre/fix/")
        ),
        ("local:///data@home", Destination("local", None, "", "/data@home")),
    ],
)
def test_what_an_address_is_made_of(address: str, expected: Destination) -> None:
    found = Destination.parse(address)
    assert found == expected
    assert Destination.parse(found.url) == found


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "bucket/a",
        "/data",
        "s3://",
        "s3:///a",
        "s3://a:SECRET@b/c",
        "file://data",
        "file:///a/../b",
        "s3://b/./c",
        "s3://b\n",
        "gs://b/why?",
        "file:///a/%2e%2e/b",
        "file:///a/%00",
        "s3://bucket:9000/a",
        "s3://arn:aws:s3:eu-west-1:123456789012:bucket/a",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint",
        "gs://b/a#1",
    ],
)
def test_what_is_no_destination(destination):
    with pytest.raises(KlingInputError) as caught:
        Destination.parse(destination)
    assert "SECRET" not in str(caught.value)


def test_extra_args_are_for_s3() -> None:
    assert Destination.parse("s3://b", {"StorageClass": "GLACIER_IR"}).bucket == "b"
    with pytest.raises(KlingInputError, match="s3:// only"):
        Destination.parse("file:///data", {"StorageClass": "GLACIER"})


@pytest.mark.parametrize(
    ("extra_args", "reason"),
    [({"Key": "a"}, "has Key"), ({"ContentType": "a/b"}, "has ContentType"), ({"SSECustomerKey": "k"}, "give both")],
)
def test_extra_args_that_cannot_work_are_refused_early(extra_args: dict[str, str], reason: str) -> None:
    with pytest.raises(KlingInputError, match=reason):
        Destination.parse("s3://b", extra_args)


@pytest.mark.parametrize(
    ("address", "conn_id"),
    [
        ("s3://bucket/a", "aws"),
        ("s3://team@bucket/a", "team"),
        ("gs://bucket/a", None),
        ("gs://team@bucket/a", "team"),
        ("file:///data", None),
    ],
)
def test_the_connection_that_reaches_it(address: str, conn_id: str | None) -> None:
    assert Destination.parse(address).connection("aws") == conn_id


@pytest.mark.parametrize(
    ("address", "conn_id", "url"),
    [
        ("gs://bucket/a", "team", "gs://team@bucket/a"),
        ("gs://bucket/a", None, "gs://bucket/a"),
        ("s3://bucket/a", "team", "s3://bucket/a"),
        ("file:///data", "team", "file:///data"),
    ],
)
def test_another_storage_is_reached_through_a_connection(address: str, conn_id: str | None, url: str) -> None:
    assert Destination.parse(address).through(conn_id).url == url


def test_the_connection_that_the_url_of_an_object_names() -> None:
    assert named_connection("s3://team@bucket/a@b.png") == "team"
    assert named_connection("s3://bucket/a@b.png") is None
    assert named_connection("a@b.png") is None
