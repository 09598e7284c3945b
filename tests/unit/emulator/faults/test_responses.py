"""Answers that break off, never end or are far too large."""

from __future__ import annotations

import io
import time

import httpx
import pytest
from PIL import Image

from tests.unit.emulator.calls import download
from tests.unit.emulator.faults.calls import add, created, image_url, post


@pytest.mark.parametrize(("action", "tasks"), [("drop", 0), ("drop_after", 1)])
def test_dropped_connections(emulator, http, action, tasks):
    add(http, on="create", action=action, times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        post(http)
    assert created(emulator) == tasks
    assert post(http).status_code == 200


def test_truncated_body(emulator, http):
    url = image_url(http)
    add(http, on="image", action="truncate", times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        download(url)
    assert download(url).status_code == 200


def until_it_breaks_off(answer):
    received = b""
    try:
        for part in answer.iter_raw():
            received += part
    except httpx.RemoteProtocolError:
        return received
    raise AssertionError("the transfer did not break off")


def test_a_transfer_breaks_off_at_a_byte_and_goes_on(emulator, http):
    url = image_url(http)
    whole = download(url)
    add(http, on="image", action="truncate", size=100, times=1)
    add(http, on="image", action="truncate", size=50, times=1)
    received, start = b"", {}
    for expected in (100, 150):
        with httpx.stream("GET", url, headers=start, trust_env=False) as answer:
            assert answer.headers["etag"] == whole.headers["etag"]
            assert int(answer.headers["content-length"]) == len(whole.content) - len(received)
            received += until_it_breaks_off(answer)
        assert len(received) == expected
        start = {"Range": f"bytes={len(received)}-", "If-Range": whole.headers["etag"]}
    rest = download(url, headers=start)
    assert (rest.status_code, received + rest.content) == (206, whole.content)


def test_endless_body(emulator, http):
    url = image_url(http)
    add(http, on="image", action="endless")
    received = 0
    with httpx.stream("GET", url, trust_env=False) as answer:
        assert "content-length" not in answer.headers
        for part in answer.iter_raw():
            received += len(part)
            if received > 3_000_000:
                break
    assert http.get("/_emulator/health").status_code == 200


def test_bomb(emulator, http):
    url = image_url(http)
    add(http, on="image", action="bomb")
    data = download(url).content
    assert len(data) < 1_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    emulator.faults.clear()
    add(http, on="image", action="bomb", size=100)
    with Image.open(io.BytesIO(download(url).content)) as image:
        image.load()
        assert image.size == (100, 100)


def test_slow_body(emulator, http):
    url = image_url(http)
    whole = download(url).content
    add(http, on="image", action="slow", seconds=0.2)
    start = time.monotonic()
    assert download(url).content == whole
    assert time.monotonic() - start >= 0.15
