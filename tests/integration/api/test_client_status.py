"""The poller's short way of asking says what the long one says, over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from airflow_kling.api.async_client import AsyncKlingClient
from airflow_kling.api.auth import BearerAuth, JWTAuth, KlingAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.api.gateways import GATEWAYS, OFFICIAL
from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.api.tasks import KlingTask, TaskStatus
from airflow_kling.emulator import Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import KlingAPIError, KlingConnectionError, KlingError

KEY = "sk-status-secret"
PROCESSING = {"code": 0, "message": "SUCCEED", "data": {"task_id": "8334", "task_status": "processing"}}
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def ask(method: str, task_id: str, url: str, auth: KlingAuth, **options: Any) -> Any:
    if method == "sync":
        with KlingClient(auth, base_url=url, **options) as blocking:
            return blocking.get(task_id, deadline=0)

    async def main() -> Any:
        async with AsyncKlingClient(auth, base_url=url, **options) as client:
            if method == "get":
                return await client.get(task_id, deadline=0)
            return await client.status(task_id, whole=method == "status, whole")

    return asyncio.run(main())


def status(task_id: str, url: str, key: str = KEY, **options: Any) -> TaskStatus:
    answer: TaskStatus = ask("status", task_id, url, BearerAuth(key), **options)
    return answer


def unsigned(task: KlingTask) -> KlingTask:
    """The task without what each answer makes anew."""
    results = tuple(one.model_copy(update={"url": one.url.partition("?")[0]}) for one in task.results)
    return task.model_copy(update={"results": results, "request_id": None})


def create(emulator: Emulator, subjects: list[str], gateway: str) -> str:
    request = MultiImageToImageRequest.parse({"subject_images": subjects, "prompt": "two friends"})
    with KlingClient(BearerAuth(emulator.api_key), base_url=emulator.url, gateway=GATEWAYS[gateway]) as client:
        return client.create(request).kling_task_id


def answered(body: bytes, *headers: str) -> bytes:
    more = "".join(f"{header}\r\n" for header in headers)
    return f"{HEAD}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_every_status_of_a_generation_on_every_gateway(gateway: str, emulator: Emulator, subjects: list[str]) -> None:
    task_id = create(emulator, subjects, gateway)
    seen = []
    for seconds in (0, 60, 120):
        emulator.advance(seconds)
        brief = status(task_id, emulator.url, emulator.api_key, gateway=GATEWAYS[gateway])
        whole = ask("get", task_id, emulator.url, BearerAuth(emulator.api_key), gateway=GATEWAYS[gateway])
        assert brief == whole.brief()
        asked = ask("status, whole", task_id, emulator.url, BearerAuth(emulator.api_key), gateway=GATEWAYS[gateway])
        assert (asked == brief) if not whole.finished else (unsigned(asked) == unsigned(whole))
        seen.append(brief.status)
    assert seen == ["submitted", "processing", "succeed"]


@pytest.mark.parametrize("config", [{"wrapped": True}, {"sparse": True}], ids=str)
def test_answers_that_need_the_long_reading(config: dict[str, bool], subjects: list[str]) -> None:
    with serve(EmulatorConfig(**config)) as emulator:
        task_id = create(emulator, subjects, "cometapi")
        brief = status(task_id, emulator.url, emulator.api_key)
        assert (brief.kling_task_id, brief.status) == (task_id, "submitted")


FAULTS: list[dict[str, Any]] = [
    {"action": "error", "code": 1000},
    {"action": "error", "code": 1102},
    {"action": "error", "code": 1302, "retry_after": 7},
    {"action": "error", "code": 5001},
    {"action": "error", "status": 401},
    {"action": "error", "status": 503},
    {"action": "html"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_errors_are_those_of_get_after_one_request(
    fault: dict[str, Any], kling: Emulator, submitted: Callable[..., str]
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", **fault)
    errors = []
    for method in ("get", "status"):
        asked = kling.ledger()["requests"]["query"]
        with pytest.raises(KlingError) as caught:
            ask(method, task_id, kling.url, BearerAuth(kling.api_key))
        assert kling.ledger()["requests"]["query"] == asked + 1
        errors.append((type(caught.value), {**vars(caught.value), "request_id": None}))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("code", [1003, 1004])
def test_token_out_of_time_is_signed_anew_once(code: int, emulator: Emulator, subjects: list[str]) -> None:
    task_id = create(emulator, subjects, "official")
    emulator.faults.add(on="query", action="error", code=code, times=1)
    assert emulator.access_key
    assert emulator.secret_key
    auth = JWTAuth(emulator.access_key, emulator.secret_key)
    assert ask("status", task_id, emulator.url, auth, gateway=OFFICIAL).status == "submitted"
    assert emulator.ledger()["requests"]["query"] == 2


def test_no_answer(closed_port: int, raw_server: Any) -> None:
    with pytest.raises(KlingConnectionError, match="was not sent") as refused:
        status("8334", f"http://127.0.0.1:{closed_port}")
    url, _ = raw_server(b"", b"")  # aiohttp itself sends a GET once more when the connection is dropped
    with pytest.raises(KlingConnectionError, match="may have arrived") as dropped:
        status("8334", url)
    for caught in (refused, dropped):
        assert caught.value.kling_task_id == "8334"
        assert caught.value.retryable
        assert KEY not in repr(caught.value)


def test_compressed_answers(raw_server: Any) -> None:
    whole = gzip.compress(json.dumps(PROCESSING).encode())
    refusal = gzip.compress(b'{"code": 1303, "message": "parallel task over resource pack limit"}')
    url, _ = raw_server(
        answered(whole, "Content-Encoding: gzip"),
        answered(refusal, "Content-Encoding: gzip").replace(b"200 OK", b"429 Too Many Requests"),
        answered(whole[:-12], "Content-Encoding: gzip"),
    )
    assert status("8334", url).status == "processing"
    with pytest.raises(KlingAPIError, match="1303"):
        status("8334", url)
    with pytest.raises(KlingError) as torn:
        status("8334", url)
    assert torn.value.retryable


def test_redirect_is_not_followed_with_the_key(raw_server: Any) -> None:
    other, received = raw_server(answered(json.dumps(PROCESSING).encode()))
    url, _ = raw_server(answered(b"", f"Location: {other}/").replace(b"200 OK", b"302 Found"))
    with pytest.raises(KlingAPIError, match="redirect"):
        status("8334", url)
    assert received == []


@pytest.mark.parametrize("method", ["status", "get"])
def test_the_proxy_of_the_environment(method: str, raw_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, received = raw_server(answered(json.dumps(PROCESSING).encode()))
    monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://user:word@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ask(method, "8334", "http://kling.example", BearerAuth(KEY)).status == "processing"
    head = received[0].decode()
    assert head.startswith("GET http://kling.example/kling/v1/images/generations/8334 HTTP/1.1")
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in head

    direct, arrived = raw_server(answered(json.dumps(PROCESSING).encode()))
    assert ask(method, "8334", direct, BearerAuth(KEY)).status == "processing"
    assert arrived[0].startswith(b"GET /kling/")


CLOSED = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("method", ["status", "get", "sync"])
def test_a_proxy_that_lets_nobody_in_is_told_without_its_password(
    method: str, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, received = raw_server(CLOSED)
    monkeypatch.setenv("https_proxy", proxy.replace("http://", "http://user:ProxyPassw0rd@"))
    with pytest.raises(KlingConnectionError) as caught:
        ask(method, "8334", "https://kling.example", BearerAuth(KEY))
    head = received[0].decode()
    assert head.startswith("CONNECT kling.example:443 HTTP/1.1")
    assert "Proxy-Authorization: Basic dXNlcjpQcm94eVBhc3N3MHJk\r\n" in head
    assert KEY not in head
    assert "407" in str(caught.value)
    assert not caught.value.request_sent
    assert "the request was not sent" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(vars(caught.value))
    assert "ProxyPassw0rd" not in shown


def test_proxy_without_a_scheme_is_an_http_one(raw_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, received = raw_server(answered(json.dumps(PROCESSING).encode()))
    monkeypatch.setenv("http_proxy", proxy.removeprefix("http://"))
    assert status("8334", "http://kling.example").status == "processing"
    assert b"Proxy-Authorization" not in received[0]
