"""Addresses of the links: whatever is in an id, the page that opens is the one that is meant."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_kling.reporting.links import gallery_url, s3_console_url

ODD = ["manual__2027-01-02T03:04:05.6+00:00", "a&b=c", "50 % off?", "#1/2", "Ausgabe für Ümit", "a;b", '"><script>']


@pytest.mark.parametrize("odd", ODD)
def test_ids_with_odd_characters_arrive_as_they_are(odd: str) -> None:
    url = gallery_url("https://airflow.example.com", dag_id=f"dag {odd}", run_id=odd, kling_task_id=f"k{odd}")
    parts = urlsplit(url)
    assert url.isascii()
    assert not set(url) & set(" <>\"'")
    assert (parts.netloc, parts.path, parts.fragment) == ("airflow.example.com", "/kling/gallery", "")
    assert parse_qsl(parts.query, strict_parsing=True) == [
        ("dag_id", f"dag {odd}"),
        ("run_id", odd),
        ("kling_task_id", f"k{odd}"),
    ]


@pytest.mark.parametrize(
    ("base_url", "start"),
    [
        ("https://airflow.example.com", "https://airflow.example.com/kling/gallery?"),
        ("https://airflow.example.com/", "https://airflow.example.com/kling/gallery?"),
        ("https://example.com/team/airflow", "https://example.com/team/airflow/kling/gallery?"),
        ("https://example.com/team/airflow/", "https://example.com/team/airflow/kling/gallery?"),
        ("/", "/kling/gallery?"),
    ],
)
def test_a_path_before_airflow_stays(base_url: str, start: str) -> None:
    assert gallery_url(base_url, dag_id="d", run_id="r", kling_task_id="8").startswith(start)


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
    parts = urlsplit(s3_console_url("our-bucket", "kling/8334/", region=region))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", console, "/s3/buckets/our-bucket")
    assert dict(parse_qsl(parts.query)).get("region") == region


@pytest.mark.parametrize("odd", ODD)
def test_a_prefix_with_odd_characters_arrives_as_it_is(odd: str) -> None:
    url = s3_console_url("our-bucket", f"{odd}/8334/", region="eu-west-1")
    assert dict(parse_qsl(urlsplit(url).query)) == {"region": "eu-west-1", "prefix": f"{odd}/8334/"}
