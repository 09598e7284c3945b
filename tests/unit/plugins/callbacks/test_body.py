"""What is read of a callback: a body within bounds, and the task id alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.plugins.callbacks.body import MAX_BYTES, find_task_id, read_body


def read(*messages: dict[str, Any], seconds: float = 5.0) -> bytes | None:
    queue = list(messages)

    async def receive() -> dict[str, Any]:
        if queue:
            return queue.pop(0)
        await asyncio.Event().wait()  # a client that says nothing more
        raise AssertionError

    return asyncio.run(read_body(receive, seconds=seconds))


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_pieces_become_one() -> None:
    assert read(piece(b"a", True), piece(b"", True), piece(b"b")) == b"ab"
    assert read({"type": "http.request"}) == b""


def test_the_largest_that_is_read() -> None:
    assert len(read(piece(b"a" * MAX_BYTES)) or b"") == MAX_BYTES
    assert read(piece(b"a" * MAX_BYTES, True), piece(b"a", True)) is None


def test_a_client_that_hangs_up_or_says_nothing_more() -> None:
    assert read(piece(b"a", True), {"type": "http.disconnect"}) is None
    assert read(piece(b"a", True), seconds=0.01) is None


PLAIN = {"task_id": "8334", "task_status": "succeed", "task_result": {"images": [{"url": "https://example.com/"}]}}


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        {**PLAIN, "task_id": 8334},
        {"code": 0, "message": "SUCCEED", "data": PLAIN},
        {"code": "success", "data": {"task_id": "8334", "data": {"task_id": "9999"}}},
        {"code": "success", "data": {"data": PLAIN}},
    ],
    ids=["flat", "number", "enveloped", "wrapped", "wrapped twice"],
)
def test_the_id_is_found(body: Any) -> None:
    assert find_task_id(json.dumps(body).encode()) == "8334"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"8334"',
        b"8334",
        b"{}",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"task_id": null}',
        b'{"task_id": true}',
        b'{"task_id": 1.5}',
        b'{"task_id": ["8334"]}',
        b'{"task_id": ""}',
        b'{"task_id": "../8334"}',
        b'{"task_id": "8334\\n[ERROR] forged"}',
        b'{"task_id": ' + b"9" * 5000 + b"}",
        b'{"data": {"data": {"data": {"task_id": "8334"}}}}',
        b'{"data": [{"task_id": "8334"}]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_no_id(body: bytes) -> None:
    assert find_task_id(body) is None


@given(st.binary(max_size=200))
def test_no_bytes_are_an_error(body: bytes) -> None:
    find_task_id(body)
