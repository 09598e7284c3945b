"""Which part of a file a request asks for, and how it is answered."""

from __future__ import annotations

import pytest

from airflow_kling.emulator.ranges import file_response, wanted
from tests.unit.emulator.calls import download, result_urls

DATA = bytes(range(100))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=40-", (40, 100)),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-300", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-300", (0, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=-0", (100, 100)),
        ("bytes=9-1", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=-", None),
    ],
)
def test_the_part_that_is_asked_for(text, part):
    assert wanted(text, 100) == part


def test_an_empty_file_has_no_parts():
    assert [wanted(text, 0) for text in ("bytes=0-", "bytes=-5")] == [(0, 0), (0, 0)]


def test_a_part_of_the_same_file_only():
    etag = file_response(DATA, "video/mp4", {}).headers["etag"]
    same = file_response(DATA, "video/mp4", {"range": "bytes=40-", "if-range": etag})
    assert (same.status_code, same.body, same.headers["content-range"]) == (206, DATA[40:], "bytes 40-99/100")
    other = file_response(DATA, "video/mp4", {"range": "bytes=40-", "if-range": '"another"'})
    assert (other.status_code, other.body, "content-range" in other.headers) == (200, DATA, False)


def test_downloads_go_on_where_they_broke_off(emulator, http):
    url = result_urls(emulator, http)[0]
    whole = download(url)
    assert (whole.headers["accept-ranges"], whole.status_code) == ("bytes", 200)
    rest = download(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content, rest.headers["etag"]) == (206, whole.content[100:], whole.headers["etag"])
    assert rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert rest.headers["content-type"] == "image/png"
    beyond = download(url, headers={"Range": f"bytes={len(whole.content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
