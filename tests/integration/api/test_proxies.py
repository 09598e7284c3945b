"""Both clients through a real proxy: who sees the credentials, and whose fault it is when nothing comes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from airflow_kling.api.async_client import AsyncKlingClient
from airflow_kling.api.auth import BearerAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.api.proxies import Proxy
from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.exceptions import KlingConnectionError
from tests.integration.proxy import ForwardProxy, forward_proxy, serving

KEY, PASSWORD = "sk-distinctive-key", "distinctive-password"
REQUEST = MultiImageToImageRequest.parse({"subject_images": ["https://example.com/a.png"] * 2})
REFUSALS = [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502"),
    (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407"),
    (b"", "isconnected"),
]


class Api(ThreadingHTTPServer):
    """Answers every request as Kling answers one for a task."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _ApiHandler)
        self.seen: list[dict[str, str]] = []
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://kling.test:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None: ...


class _ApiHandler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers.items()))
        answer = json.dumps({"code": 0, "data": {"task_id": "8334", "task_status": "submitted"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("kling.test", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["https", "http"])
def api(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> Iterator[Api]:
    server = Api(server_tls if request.param == "https" else None)
    with serving(server):
        yield server


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest, trusting: ssl.SSLContext) -> Callable[..., Any]:
    """Ask for a task, once, with either client."""

    async def ask(url: str, **options: Any) -> Any:
        async with AsyncKlingClient(BearerAuth(KEY), base_url=url, ssl_context=trusting, **options) as client:
            return await client.get("8334", deadline=0)

    def get(url: str, **options: Any) -> Any:
        if request.param == "async":
            return asyncio.run(ask(url, **options))
        with KlingClient(BearerAuth(KEY), base_url=url, ssl_context=trusting, **options) as client:
            return client.get("8334", deadline=0)

    return get


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for what in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{what}_proxy", raising=False)
        monkeypatch.delenv(f"{what}_proxy".upper(), raising=False)


def shown_to(proxy: ForwardProxy, api: Api) -> None:
    """The proxy alone has seen its credentials, and of what goes through a tunnel nothing."""
    tunnel = api.url.startswith("https")
    assert {seen.method for seen in proxy.seen} == {"CONNECT" if tunnel else "GET"}
    assert {seen.headers.get("Proxy-Authorization") for seen in proxy.seen} == {proxy.authorization}
    assert not any("Proxy-Authorization" in headers for headers in api.seen)
    assert {headers["Authorization"] for headers in api.seen} == {f"Bearer {KEY}"}
    if tunnel:
        assert KEY not in str(proxy.seen)


@pytest.mark.parametrize("credentials", [None, f"me:{PASSWORD}"])
def test_a_proxy_of_the_connection(credentials: str | None, api: Api, get: Callable[..., Any]) -> None:
    with forward_proxy(credentials=credentials) as proxy:
        assert get(api.url, proxy=Proxy.parse(proxy.url)).kling_task_id == "8334"
        shown_to(proxy, api)


def test_a_proxy_of_the_environment(api: Api, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with forward_proxy(credentials=f"me:{PASSWORD}") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert get(api.url).kling_task_id == "8334"
        shown_to(proxy, api)


@pytest.mark.parametrize("no_proxy", ["127.0.0.1:{port}", "10.0.0.0/8, 127.0.0.0/8", "*"])
def test_an_excepted_host_is_asked_directly(
    no_proxy: str, server_tls: ssl.SSLContext, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api(server_tls)
    with serving(api), forward_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy.format(port=api.server_address[1]))
        assert get(api.url.replace("kling.test", "127.0.0.1")).kling_task_id == "8334"
        assert proxy.seen == []


def test_a_proxy_that_is_spoken_to_over_tls(api: Api, get: Callable[..., Any], server_tls: ssl.SSLContext) -> None:
    with forward_proxy(credentials=f"me:{PASSWORD}", tls=server_tls) as proxy:
        assert get(api.url, proxy=Proxy.parse(proxy.url)).kling_task_id == "8334"
        shown_to(proxy, api)


def refusal(call: Callable[[], Any], proxy_name: str) -> str:
    with pytest.raises(KlingConnectionError) as caught:
        call()
    assert f"through the proxy {proxy_name}" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert KEY not in str(caught.value)
    assert not caught.value.request_sent
    return str(caught.value)


@pytest.mark.parametrize(("answer", "words"), REFUSALS[:3], ids=[words for _, words in REFUSALS[:3]])
def test_a_tunnel_that_is_refused_names_the_proxy(
    answer: bytes, words: str, get: Callable[..., Any], server_tls: ssl.SSLContext
) -> None:
    with forward_proxy(answer=answer, credentials=f"me:{PASSWORD}") as proxy:
        options = {"proxy": Proxy.parse(proxy.url)}
        assert words in refusal(lambda: get("https://kling.test", **options), proxy.name)


def test_other_credentials_are_wanted(api: Api, get: Callable[..., Any]) -> None:
    with forward_proxy(credentials="me:another") as proxy:
        own = Proxy.parse(proxy.url.replace("another", PASSWORD))
        assert "407" in refusal(lambda: get(api.url, proxy=own), proxy.name)
        assert api.seen == []


def test_a_proxy_that_does_not_listen(api: Api, get: Callable[..., Any], closed_port: int) -> None:
    own = Proxy.parse(f"http://me:{PASSWORD}@127.0.0.1:{closed_port}")
    refusal(lambda: get(api.url, proxy=own), f"127.0.0.1:{closed_port}")


@pytest.mark.parametrize(("answer", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_a_paid_call_that_got_no_tunnel_was_not_sent(answer: bytes, words: str, trusting: ssl.SSLContext) -> None:
    with forward_proxy(answer=answer, credentials=f"me:{PASSWORD}") as proxy:
        options: dict[str, Any] = {"base_url": "https://kling.test", "ssl_context": trusting}
        with KlingClient(BearerAuth(KEY), proxy=Proxy.parse(proxy.url), **options) as client:
            assert words in refusal(lambda: client.create(REQUEST, deadline=0), proxy.name)


def test_a_paid_call_that_was_lost_behind_a_tunnel_may_have_arrived(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ApiHandler, "do_POST", lambda handler: handler.server.seen.append({}))
    api = Api(server_tls)
    with serving(api), forward_proxy() as proxy:
        options: dict[str, Any] = {"base_url": api.url, "ssl_context": trusting, "proxy": Proxy.parse(proxy.url)}
        with KlingClient(BearerAuth(KEY), **options) as client, pytest.raises(KlingConnectionError) as caught:
            client.create(REQUEST)
        assert caught.value.request_sent
        assert api.seen == [{}]
