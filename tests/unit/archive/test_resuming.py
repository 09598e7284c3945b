"""A transfer that breaks off is gone on with, for as long as it is the same file; against real servers on this host."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from airflow_kling.archive.deadline import Deadline
from airflow_kling.archive.download import Download, download_result
from airflow_kling.archive.limits import LIMITS, DownloadLimits
from airflow_kling.archive.resuming import TRIES
from airflow_kling.exceptions import KlingDownloadError
from tests.clips import clip
from tests.unit.archive.test_download import Handler, Server, noise, server

__all__ = ["server"]

DATA = noise(400, 300)
PIECE = 100_000


def part(handler: Handler, data: bytes, pieces: int = 1, **headers: Any) -> None:
    """Answer as a server that knows ranges, and break off after some pieces."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(asked[1]) if asked else 0
    more = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
    handler.head(206 if asked else 200, Content_Length=len(data) - start, **{"ETag": '"one"', **more, **headers})
    handler.wfile.write(data[start : start + pieces * PIECE])


def fetch(url: str, **options: Any) -> tuple[Download, bytes]:
    target, naps = BytesIO(), options.pop("naps", [])
    got = download_result(url, target, **{"allow_private_hosts": True, "sleep": naps.append, **options})
    return got, target.getvalue()


def ranges(server: Server) -> list[str | None]:
    return [headers.get("Range") for _, headers in server.requests]


def test_it_goes_on_where_it_broke_off(server: Server) -> None:
    naps: list[float] = []
    server.routes["/a"] = lambda handler: part(handler, DATA)
    got, stored = fetch(server.url("/a"), naps=naps)
    assert stored == DATA
    assert (got.bytes, got.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]
    assert {headers["If-Range"] for _, headers in server.requests[1:]} == {'"one"'}
    assert naps == [], "there was progress each time"


def test_a_video_too(server: Server) -> None:
    data = clip() + b"\0\0\0\0free" + bytes(250_000)
    server.routes["/a"] = lambda handler: part(handler, data)
    got, stored = fetch(server.url("/a"), kind="video")
    assert stored == data
    assert (got.media.content_type, got.media.duration) == ("video/mp4", 1.0)
    assert server.requests[0][1]["Accept"] == "video/mp4"


def test_a_date_tells_the_file_as_well(server: Server) -> None:
    date = "Wed, 21 Oct 2025 07:28:00 GMT"
    server.routes["/a"] = lambda handler: part(handler, DATA, ETag='W/"weak"', Last_Modified=date)
    assert fetch(server.url("/a"))[1] == DATA
    assert server.requests[1][1]["If-Range"] == date


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": ""},
        {"ETag": 'W/"weak"'},
        {"Accept_Ranges": "none"},
        {"Content_Encoding": "aws-chunked"},
    ],
)
def test_what_cannot_be_told_from_another_file_is_not_gone_on_with(server: Server, headers: dict[str, str]) -> None:
    server.routes["/a"] = lambda handler: part(handler, DATA, **headers)
    with pytest.raises(KlingDownloadError, match="not fetched whole") as caught:
        fetch(server.url("/a"))
    assert caught.value.retryable
    assert ranges(server) == [None]


OTHER = noise(400, 301)  # of another size for certain


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"two"'},
        {"Content_Range": f"bytes 0-{len(OTHER) - 1}/{len(OTHER)}"},
        {"Content_Range": f"bytes 100000-{len(OTHER) - 1}/*"},
        {"Content_Range": f"bytes 100000-{len(OTHER)}/{len(OTHER) + 1}"},
        {"Content_Range": ""},
        {"Content_Encoding": "gzip"},
    ],
)
def test_another_file_starts_anew(server: Server, headers: dict[str, str]) -> None:
    def route(handler: Handler) -> None:
        if len(server.requests) == 1:
            part(handler, DATA)
        elif len(server.requests) == 2:
            part(handler, OTHER, **headers)
        else:
            part(handler, OTHER, 9)

    server.routes["/a"] = route
    got, stored = fetch(server.url("/a"))
    assert stored == OTHER
    assert got.sha256 == hashlib.sha256(OTHER).hexdigest()
    assert ranges(server) == [None, "bytes=100000-", None]


def test_a_server_that_knows_no_ranges_is_asked_from_the_start_and_then_given_up(server: Server) -> None:
    def route(handler: Handler) -> None:
        handler.head(200, Content_Length=len(DATA), ETag='"one"')
        handler.wfile.write(DATA[:PIECE])

    server.routes["/a"] = route
    with pytest.raises(KlingDownloadError, match=r"broke off, and the rest could not be had \(HTTP 200\)") as caught:
        fetch(server.url("/a"))
    assert caught.value.retryable
    assert ranges(server) == [None, "bytes=100000-"] * 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_url_that_expires_meanwhile_asks_for_a_fresh_one(server: Server, status: int) -> None:
    server.routes["/a"] = lambda h: part(h, DATA) if len(server.requests) == 1 else h.head(status, Content_Length=0)
    with pytest.raises(KlingDownloadError, match="the URL has expired") as caught:
        fetch(server.url("/a"))
    assert caught.value.http_status == status


def test_without_progress_it_waits_longer_each_time_and_ends(server: Server) -> None:
    naps: list[float] = []

    def route(handler: Handler) -> None:
        if len(server.requests) == 1:
            part(handler, DATA)
        elif len(server.requests) % 2:
            handler.head(503, Content_Length=0)

    server.routes["/a"] = route
    with pytest.raises(KlingDownloadError, match="not fetched whole"):
        fetch(server.url("/a"), naps=naps)
    assert naps == [1.0, 2.0, 4.0]
    assert ranges(server) == [None, *["bytes=100000-"] * TRIES, "bytes=100000-"][: len(server.requests)]
    assert len(server.requests) == TRIES + 2


def test_a_pause_of_the_server_is_got_over(server: Server) -> None:
    def route(handler: Handler) -> None:
        if len(server.requests) in (2, 3):
            return handler.head(503, Content_Length=0)
        return part(handler, DATA, 9 if len(server.requests) > 3 else 1)

    server.routes["/a"] = route
    assert fetch(server.url("/a"))[1] == DATA


def test_every_request_goes_through_the_guard(server: Server) -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    server.routes["/a"] = lambda handler: part(handler, DATA)
    with pytest.raises(KlingDownloadError, match=r"169\.254\.169\.254") as caught:
        fetch(f"http://images.example:{server.port}/a?SECRET", resolver=lambda host, port: answers.pop(0))
    assert not caught.value.retryable
    assert len(server.requests) == 1


def test_a_rest_behind_a_redirect(server: Server) -> None:
    server.routes["/a"] = lambda handler: handler.head(302, Location="/b", Content_Length=0)
    server.routes["/b"] = lambda handler: part(handler, DATA, 2)
    assert fetch(server.url("/a"))[1] == DATA
    assert [path for path, _ in server.requests] == ["/a", "/b"] * 2


def test_the_time_limit_holds_for_all_requests_together(server: Server) -> None:
    now, clock = [0.0], lambda: now[0]

    def route(handler: Handler) -> None:
        part(handler, DATA)
        now[0] += 100.0

    server.routes["/a"] = route
    with pytest.raises(KlingDownloadError, match=r"in time|not fetched whole"):
        fetch(server.url("/a"), clock=clock, limits=DownloadLimits(total_timeout=150))
    assert len(server.requests) == 2
    now[0], server.requests[:] = 0.0, []
    patient = DownloadLimits(total_timeout=150, min_bytes_per_second=1000)
    assert fetch(server.url("/a"), clock=clock, limits=patient)[1] == DATA


def test_bytes_that_arrive_put_the_end_off() -> None:
    now = [0.0]
    slow = Deadline(120, bytes_per_second=LIMITS["video"].min_bytes_per_second, clock=lambda: now[0])
    fixed = Deadline(120, clock=lambda: now[0])
    for deadline in (slow, fixed):
        deadline.put_off(200_000_000)
    assert fixed.left() == 120
    assert slow.left() == pytest.approx(120 + 200_000_000 / 65536)


def test_nobody_is_there_any_more(server: Server) -> None:
    naps: list[float] = []
    gone: Callable[[str, int], list[str]] = lambda host, port: (  # noqa: E731
        ["127.0.0.1"] if not server.requests else ["127.0.0.2"]
    )
    server.routes["/a"] = lambda handler: part(handler, DATA)
    with pytest.raises(KlingDownloadError, match="not fetched whole"):
        fetch(f"http://images.example:{server.port}/a", resolver=gone, naps=naps)
    assert naps == [1.0, 2.0, 4.0]
