"""Addresses of the gallery: whatever an id contains, the page that opens is the one that is meant."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

import pytest

from airflow_kling.reporting import gallery_urls
from airflow_kling.reporting.gallery_urls import absolute, page_url

ODD = ["manual__2027-01-02T03:04:05.6+00:00", "a&b=c", "50 % off?", "#1/2", "Ausgabe für Ümit", "a;b", '"><script>']


@pytest.mark.parametrize("odd", ODD)
def test_ids_with_odd_characters_arrive_as_they_are(odd: str) -> None:
    page = page_url(dag_id=f"dag {odd}", run_id=odd, kling_task_id=f"k{odd}")
    url = absolute("https://airflow.example.com", page)
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
    assert absolute(base_url, page_url(dag_id="d")) == f"{start}dag_id=d"


def generation(odd: str = "8") -> dict[str, object]:
    return {"dag_id": f"dag {odd}", "run_id": odd, "task_id": f"t{odd}", "map_index": 2, "kling_task_id": f"k{odd}"}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", ["image", "reference", "manifest"])
def test_media_is_named_by_its_generation(kind: str, odd: str) -> None:
    names = generation(odd)
    if kind == "manifest":
        media = {}
        relative = gallery_urls.manifest_url(**names)
    else:
        media = {"index": "1", "v": "a" * 12, "size": "thumb"}
        build = gallery_urls.image_url if kind == "image" else gallery_urls.reference_url
        relative = build(**names, index=1, version="a" * 12, size="thumb")
    parts = urlsplit(urljoin("https://host/air/kling/gallery?q=x", relative))
    *before, dag_id, last = parts.path.split("/")
    assert ("/".join(before), unquote(dag_id), last, parts.fragment) == (
        "/air/kling/dags",
        names.pop("dag_id"),
        kind,
        "",
    )
    assert dict(parse_qsl(parts.query, strict_parsing=True)) == {**names, "map_index": "2", **media}


@pytest.mark.parametrize("odd", ODD)
def test_links_to_airflow_lead_out_of_the_gallery(odd: str) -> None:
    def path(relative: str) -> list[str]:
        parts = urlsplit(urljoin("https://host/air/kling/gallery", relative))
        assert (parts.query, parts.fragment) == ("", "")
        return [unquote(segment) for segment in parts.path.split("/")[1:]]

    run = ["air", "dags", odd, "runs", f"r{odd}"]
    assert path(gallery_urls.run_url(odd, f"r{odd}")) == run
    assert path(gallery_urls.task_url(odd, f"r{odd}", "wait", -1)) == [*run, "tasks", "wait"]
    assert path(gallery_urls.task_url(odd, f"r{odd}", "wait", 0)) == [*run, "tasks", "wait", "mapped", "0"]


def test_what_is_empty_is_no_part_of_a_page() -> None:
    assert page_url() == page_url(q="", map_index=None) == "gallery"
    assert page_url(q="ä +&", map_index=0, page=2) == "gallery?q=%C3%A4%20%2B%26&map_index=0&page=2"


def test_tabs_are_relative_and_airflow_fills_in_the_names() -> None:
    assert gallery_urls.tab_url() == "kling/gallery"
    assert gallery_urls.tab_url("dag_id", "run_id") == "kling/gallery?dag_id={DAG_ID}&run_id={RUN_ID}"
    assert gallery_urls.icon_url() == "kling/static/icon.svg"


def test_versions_tell_contents_apart() -> None:
    assert gallery_urls.file_version("0123456789abcdef" * 4) == "0123456789ab"
    assert gallery_urls.static_url("a.js", "1") != gallery_urls.static_url("a.js", "2")


def test_it_imports_no_airflow() -> None:
    code = "import sys, airflow_kling.reporting.gallery_urls; print('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"
