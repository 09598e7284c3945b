"""Downloads through a real proxy, which alone can resolve the names of the hosts."""

from __future__ import annotations

import io
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest
import trustme
from PIL import Image

from airflow_kling.api.connection import Settings
from airflow_kling.api.proxies import Proxy
from airflow_kling.archive.download import download_result
from airflow_kling.exceptions import KlingDownloadError
from tests.integration.proxy import ForwardProxy, forward_proxy, serving

PASSWORD = "distinctive-password"


def png() -> bytes:
    data = io.BytesIO()
    Image.frombytes("RGB", (64, 48), os.urandom(64 * 48 * 3)).save(data, "PNG")
    return data.getvalue()


PNG = png()


class Images(ThreadingHTTPServer):
    """Answers ``/a`` with an image, and any other path with a redirect to what stands in its query."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _ImagesHandler)
        self.port = self.server_address[1]
        self.seen: list[dict[str, str]] = []
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None: ...


class _ImagesHandler(BaseHTTPRequestHandler):
    server: Images

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers.items()))
        path, _, query = self.path.partition("?")
        data = PNG if path == "/a" else b""
        self.send_response(200 if data else 302)
        self.send_header("Content-Length", str(len(data)))
        if not data:
            self.send_header("Location", query)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.example", "127.0.0.1", "::1").configure_cert(context)
    return context


@pytest.fixture
def images(server_tls: ssl.SSLContext) -> Iterator[Images]:
    server = Images(server_tls)
    with serving(server):
        yield server


@pytest.fixture
def fetch(authority: trustme.CA) -> Callable[..., bytes]:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def fetch(url: str, proxy: str | None, **options: Any) -> bytes:
        target = io.BytesIO()
        parsed = Proxy.parse(proxy) if proxy else None
        given = {"ssl_context": trusting, "resolver": unknown, "find_proxy": lambda url: parsed, **options}
        download_result(url, target, **given)
        return target.getvalue()

    return fetch


def refusal(fetch: Callable[..., bytes], url: str, proxy: str | None, *, retryable: bool, **options: Any) -> str:
    with pytest.raises(KlingDownloadError) as caught:
        fetch(url, proxy, **options)
    assert caught.value.retryable is retryable
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def shown_to_the_proxy_only(proxy: ForwardProxy, images: Images) -> None:
    assert {seen.headers.get("Proxy-Authorization") for seen in proxy.seen} == {proxy.authorization}
    assert images.seen
    assert not any("Proxy-Authorization" in headers for headers in images.seen)


@pytest.mark.parametrize("credentials", [None, f"me:{PASSWORD}"])
def test_an_image_comes_through_a_tunnel(credentials: str | None, images: Images, fetch: Callable[..., bytes]) -> None:
    with forward_proxy(credentials=credentials) as proxy:
        assert fetch(f"https://images.example:{images.port}/a?SIGNATURE", proxy.url) == PNG
    assert [(seen.method, seen.target) for seen in proxy.seen] == [("CONNECT", f"images.example:{images.port}")]
    assert "SIGNATURE" not in str(proxy.seen)
    shown_to_the_proxy_only(proxy, images)


def test_a_proxy_that_is_spoken_to_over_tls(
    images: Images, fetch: Callable[..., bytes], server_tls: ssl.SSLContext
) -> None:
    with forward_proxy(credentials=f"me:{PASSWORD}", tls=server_tls) as proxy:
        assert fetch(f"https://images.example:{images.port}/a", proxy.url) == PNG
    shown_to_the_proxy_only(proxy, images)


def test_plain_http_goes_as_an_absolute_url_where_it_is_allowed(fetch: Callable[..., bytes]) -> None:
    images = Images()
    with serving(images), forward_proxy(credentials=f"me:{PASSWORD}") as proxy:
        url = f"http://images.example:{images.port}/a?b=c"
        assert "is not https" in refusal(fetch, url, proxy.url, retryable=False)
        assert proxy.seen == []
        assert fetch(url, proxy.url, allow_private_hosts=True) == PNG
        assert [(seen.method, seen.target) for seen in proxy.seen] == [("GET", url)]
        shown_to_the_proxy_only(proxy, images)


def test_an_ipv6_address_is_in_brackets_for_the_proxy(images: Images, fetch: Callable[..., bytes]) -> None:
    with forward_proxy() as proxy:
        assert fetch(f"https://[::1]:{images.port}/a", proxy.url, trusted_networks=(ip_network("::1/128"),)) == PNG
    assert proxy.seen[0].target == f"[::1]:{images.port}"
    assert images.seen[0]["Host"] == f"[::1]:{images.port}"


def test_each_redirect_is_checked_and_finds_its_own_proxy(images: Images, fetch: Callable[..., bytes]) -> None:
    url = f"https://images.example:{images.port}/r?https://127.0.0.1:{images.port}/a"
    with forward_proxy() as proxy:
        assert "is not public" in refusal(fetch, url, proxy.url, retryable=False)
        assert len(proxy.seen) == len(images.seen) == 1
        own = Proxy.parse(proxy.url)
        trusted = (ip_network("127.0.0.0/8"),)
        options: dict[str, Any] = {
            "find_proxy": lambda url: None if url.startswith("https://127.") else own,
            "resolver": lambda host, port: ["127.0.0.1"],
            "trusted_networks": trusted,
        }
        assert fetch(url, None, **options) == PNG
        assert [seen.target for seen in proxy.seen] == [f"images.example:{images.port}"] * 2


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/a",
        "https://0x7f.1:{port}/a",
        "https://intranet:{port}/a",
        "https://metadata.google.internal:{port}/a",
        "https://169.254.169.254:{port}/a",
        "https://[fd00:ec2::254]:{port}/a",
    ],
)
def test_the_proxy_is_not_asked_for_what_is_not_public(url: str, images: Images, fetch: Callable[..., bytes]) -> None:
    with forward_proxy() as proxy:
        refusal(fetch, url.format(port=images.port), proxy.url, retryable=False)
    assert proxy.seen == []


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_that_refuses_is_named(status: str, fetch: Callable[..., bytes]) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    with forward_proxy(answer=answer, credentials=f"me:{PASSWORD}") as proxy:
        message = refusal(fetch, "https://images.example/a", proxy.url, retryable=True)
    assert f"through the proxy {proxy.name}: {status}" in message


def test_a_proxy_that_wants_a_password_for_plain_http_is_named(fetch: Callable[..., bytes]) -> None:
    with forward_proxy(credentials=f"me:{PASSWORD}") as proxy:
        url = f"http://{proxy.name}"
        message = refusal(fetch, "http://images.example/a", url, retryable=True, allow_private_hosts=True)
    assert f"through the proxy {proxy.name}: HTTP 407" in message


def test_a_proxy_that_hangs_up_or_does_not_listen_is_named(fetch: Callable[..., bytes], closed_port: int) -> None:
    with forward_proxy(answer=b"") as proxy:
        message = refusal(fetch, "https://images.example/a", proxy.url, retryable=True)
    assert f"through the proxy {proxy.name}: " in message
    url = f"http://me:{PASSWORD}@127.0.0.1:{closed_port}"
    message = refusal(fetch, "https://images.example/a", url, retryable=True)
    assert f"through the proxy 127.0.0.1:{closed_port}: " in message


def test_a_certificate_that_is_not_trusted_names_the_proxy_that_may_have_made_it(
    images: Images, fetch: Callable[..., bytes]
) -> None:
    with forward_proxy() as proxy:
        url = f"https://images.example:{images.port}/a"
        message = refusal(fetch, url, proxy.url, retryable=True, ssl_context=ssl.create_default_context())
    assert f"through the proxy {proxy.name}: " in message
    assert "certificate" in message


def test_an_endless_wait_for_a_tunnel_ends(fetch: Callable[..., bytes]) -> None:
    ticks = iter([0.0, 0.0, *[1000.0] * 20])
    with forward_proxy() as proxy:
        options: dict[str, Any] = {"clock": lambda: next(ticks)}
        message = refusal(fetch, "https://images.example/a", proxy.url, retryable=True, **options)
    assert "in time" in message


@pytest.mark.parametrize(
    ("written", "named", "asked"),
    [
        ("", True, False),
        ("", False, False),
        ("environment", True, True),
        ("Environment", True, True),
        ("environment", False, False),
        ("{url}", False, True),
        ("{url}", True, True),
    ],
)
def test_the_proxy_of_the_connection(
    written: str,
    named: bool,
    asked: bool,
    images: Images,
    fetch: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with forward_proxy(credentials=f"me:{PASSWORD}") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url if named else "")
        extra = {"proxy": written.format(url=proxy.url), "trusted_networks": "127.0.0.0/8"}
        settings = Settings.parse(conn_id="c", host=None, port=None, schema=None, password="k", extra=extra)
        options = {"resolver": lambda host, port: ["127.0.0.1"], **settings.download_options()}
        assert fetch(f"https://images.example:{images.port}/a", None, **options) == PNG
    assert bool(proxy.seen) is asked
