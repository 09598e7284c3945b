"""The guarded download, against real servers on this host."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import count

import pytest
import trustme
from PIL import Image

from airflow_kling.archive.download import EXPIRED_STATUSES, Download, download_result
from airflow_kling.archive.limits import DownloadLimits
from airflow_kling.exceptions import KlingDownloadError, KlingImageError
from airflow_kling.media.probe import MediaInfo

Route = Callable[["Handler"], None]


def noise(width: int = 64, height: int = 48, format: str = "PNG") -> bytes:
    data = BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(data, format)
    return data.getvalue()


PNG = noise()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers.items())))
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):
            self.server.routes[self.path.partition("?")[0]](self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Route] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.names: list[str] = []
        if tls is not None:
            tls.sni_callback = lambda sock, name, context: self.names.append(name)
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def _run(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from _run(Server())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.example").configure_cert(context)
    yield from _run(Server(context))


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def body(data: bytes, status: int = 200, **headers: object) -> Route:
    def route(handler: Handler) -> None:
        handler.head(status, Content_Length=len(data), **headers)
        handler.wfile.write(data)

    return route


def chunked(data: bytes, *, end: bool = True, **headers: object) -> Route:
    def route(handler: Handler) -> None:
        handler.head(200, Transfer_Encoding="chunked", **headers)
        for start in range(0, len(data), 1000):
            piece = data[start : start + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if end:
            handler.wfile.write(b"0\r\n\r\n")

    return route


def redirect(location: str, status: int = 302) -> Route:
    raw = location.encode().decode("latin-1")  # in UTF-8, whatever http.server makes of it
    return lambda handler: handler.head(status, Location=raw, Content_Length=0)


def fetch(url: str, **options: object) -> tuple[Download, bytes]:
    target = BytesIO(b"left from an earlier try" * 1000)
    got = download_result(url, target, **{"allow_private_hosts": True, **options})  # type: ignore[arg-type]
    assert target.tell() == 0
    return got, target.getvalue()


def refused(url: str, *, retryable: bool, **options: object) -> KlingDownloadError:
    with pytest.raises(KlingDownloadError) as caught:
        fetch(url, **options)
    assert caught.value.retryable is retryable
    for text in (str(caught.value), caught.value.url):
        assert "SECRET" not in text
    return caught.value


@pytest.mark.parametrize(
    ("format", "content_type", "ext"),
    [("PNG", "image/png", "png"), ("JPEG", "image/jpeg", "jpg"), ("WEBP", "image/webp", "webp")],
)
@pytest.mark.parametrize("how", [body, chunked])
def test_an_image_by_content_whatever_the_server_calls_it(server, format, content_type, ext, how):
    data = noise(format=format)
    server.routes["/a.bin"] = how(data)
    got, stored = fetch(server.url("/a.bin?sig=SECRET"))
    assert stored == data
    assert got == Download(len(data), hashlib.sha256(data).hexdigest(), MediaInfo(content_type, ext, 64, 48))


def test_a_body_without_length_that_ends_with_the_connection(server):
    def route(handler: Handler) -> None:
        handler.head(200)
        handler.wfile.write(PNG)

    server.routes["/a"] = route
    assert fetch(server.url("/a"))[1] == PNG


def test_nothing_of_ours_is_sent(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login me password SECRET")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.routes["/a"] = body(PNG)
    server.routes["/r"] = lambda handler: handler.head(302, Location="/a", Set_Cookie="k=v", Content_Length=0)
    fetch(server.url("/r"))
    assert [path for path, _ in server.requests] == ["/r", "/a"]
    for _, headers in server.requests:
        assert headers == {
            "Host": f"127.0.0.1:{server.port}",
            "Accept": "image/png, image/jpeg, image/webp",
            "Accept-Encoding": "identity",
            "User-Agent": "airflow-provider-kling",
        }


@pytest.mark.parametrize("status", sorted(EXPIRED_STATUSES))
def test_an_expired_url_says_so(server, status):
    server.routes["/a"] = body(b"<Error>", status)
    error = refused(server.url("/a?SECRET"), retryable=True)
    assert error.http_status == status
    assert "expired" in str(error)


@pytest.mark.parametrize("status", [206, 304, 400, 429, 500, 503])
def test_other_statuses(server, status):
    server.routes["/a"] = body(b"" if status == 304 else b"x", status)
    assert refused(server.url("/a?SECRET"), retryable=True).http_status == status


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_body_that_is_shorter_than_it_says(server, format):
    whole = noise(640, 480, format)

    def route(handler: Handler) -> None:
        handler.head(200, Content_Length=len(whole))
        handler.wfile.write(whole[:-1])

    server.routes["/a"] = route
    server.routes["/chunked"] = chunked(whole, end=False)
    assert "not fetched whole" in str(refused(server.url("/a"), retryable=True))
    assert "not fetched whole" in str(refused(server.url("/chunked"), retryable=True))


def test_a_cut_image_of_the_right_length(server):
    server.routes["/a"] = body(PNG[:-20])
    assert isinstance(refused(server.url("/a?SECRET"), retryable=True), KlingImageError)


@pytest.mark.parametrize("data", [b"", b"<html>sign in</html>"])
def test_no_image_at_all(server, data):
    server.routes["/a"] = body(data)
    assert isinstance(refused(server.url("/a?SECRET"), retryable=True), KlingImageError)


def test_the_byte_limit(server):
    limits = DownloadLimits(max_bytes=len(PNG))
    server.routes |= {"/exact": body(PNG), "/declared": body(PNG + b"x"), "/chunked": chunked(PNG + b"x")}
    assert fetch(server.url("/exact"), limits=limits)[1] == PNG
    assert f"has {len(PNG) + 1} bytes" in str(refused(server.url("/declared"), retryable=False, limits=limits))
    assert "more than the limit" in str(refused(server.url("/chunked"), retryable=False, limits=limits))


@pytest.mark.parametrize(
    ("start", "retryable"),
    [(PNG[:33] + b"\x7f\xff\xff\xfftEXt", False), (b"<html>sign in</html>", True)],
    ids=["a chunk of 2 GB", "no image"],
)
def test_an_endless_body_is_left_soon(server, start, retryable):
    sent = count()

    def endless(handler: Handler) -> None:
        handler.head(200)
        handler.wfile.write(start)
        for _ in sent:
            handler.wfile.write(bytes(1024))

    server.routes["/a"] = endless
    refused(server.url("/a"), retryable=retryable, limits=DownloadLimits(max_bytes=100_000))
    assert next(sent) < 20_000


def test_what_follows_an_image_belongs_to_the_file(server):
    data = PNG + bytes(300_000)
    server.routes["/a"] = body(data)
    got, stored = fetch(server.url("/a"))
    assert stored == data
    assert (got.bytes, got.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    "encoding", ["aws-chunked", "utf-8", "binary", "none", "identity", "", "gzip", "deflate", "br"]
)
def test_words_that_name_no_encoding_of_the_body_are_ignored(server, encoding):
    server.routes["/a"] = body(PNG, Content_Encoding=encoding)
    assert fetch(server.url("/a"))[1] == PNG


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("gzip", gzip.compress(PNG)),
        ("GZIP", gzip.compress(PNG)),
        ("x-gzip, aws-chunked", gzip.compress(PNG)),
        ("identity, gzip", gzip.compress(PNG[:100]) + gzip.compress(PNG[100:])),
        ("gzip", gzip.compress(PNG) + bytes(10)),
        ("gzip", gzip.compress(PNG)[:-8]),
        ("deflate", zlib.compress(PNG)),
        ("deflate", raw_deflate(PNG)),
        ("deflate, gzip", gzip.compress(zlib.compress(PNG))),
        ("gzip,gzip", gzip.compress(gzip.compress(PNG))),
    ],
)
def test_an_encoded_body_is_decoded(server, encoding, encoded):
    server.routes |= {
        "/a": body(encoded, Content_Encoding=encoding),
        "/chunked": chunked(encoded, Content_Encoding=encoding),
    }
    for path in ("/a", "/chunked"):
        got, stored = fetch(server.url(path))
        assert stored == PNG
        assert (got.bytes, got.sha256) == (len(PNG), hashlib.sha256(PNG).hexdigest())


def test_the_limit_holds_for_what_a_bomb_becomes(server):
    bomb = gzip.compress(gzip.compress(PNG + bytes(300_000_000), 1))
    server.routes["/a"] = body(bomb, Content_Encoding="gzip, gzip")
    error = refused(server.url("/a"), retryable=False, limits=DownloadLimits(max_bytes=10_000_000))
    assert "more than the limit" in str(error)


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [("gzip", gzip.compress(PNG)[:50] + bytes(500)), ("gzip, " * 5, gzip.compress(PNG)), ("br", b"\x8b\xff\0" * 99)],
)
def test_a_body_that_cannot_be_decoded_may_be_better_next_time(server, encoding, encoded):
    server.routes["/a"] = body(encoded, Content_Encoding=encoding)
    refused(server.url("/a"), retryable=True)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (PNG[:-20], True),
        (b"\0\x01\x02 is no image", True),
        (b"<html>sign in</html>", False),
        (b'{"code": 404}', False),
        (b"Access denied\n", False),
        (b"", False),
    ],
)
def test_what_may_be_a_paid_image_is_told_from_a_page(server, data, whole):
    server.routes["/a"] = body(data)
    error = refused(server.url("/a"), retryable=True)
    assert error.whole is whole


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/bilder-ü/ä.png".encode(), "/bilder-%C3%BC/%C3%A4.png"),
        ("/bilder-ü.png".encode("latin-1"), "/bilder-%C3%BC.png"),
        (b"/a b.png", "/a%20b.png"),
        (b"/a%20b.png#fragment", "/a%20b.png"),
        (b"b.png", "/folder/b.png"),
        (b"../b.png", "/b.png"),
        (b"?ask", "/folder/start?ask"),
        (b"HOST/b.png", "/b.png"),
        (b"HTTP:HOST/b.png", "/b.png"),
    ],
)
def test_where_a_redirect_leads(server, location, path):
    location = location.replace(b"HOST", f"//127.0.0.1:{server.port}".encode())

    def route(handler: Handler) -> None:
        if "?" in handler.path:
            return body(PNG)(handler)
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")

    server.routes |= {path.partition("?")[0]: body(PNG), "/folder/start": route}
    assert fetch(server.url("/folder/start"))[1] == PNG
    assert server.requests[-1][0] == path


def test_identity_is_no_encoding(server):
    server.routes["/a"] = body(PNG, Content_Encoding="identity")
    assert fetch(server.url("/a"))[1] == PNG


def test_too_many_pixels(server):
    server.routes["/a"] = body(PNG)
    refused(server.url("/a"), retryable=False, limits=DownloadLimits(max_pixels=64 * 48 - 1))


def trickle(handler: Handler, data: bytes) -> None:
    for position in range(len(data)):
        handler.wfile.write(data[position : position + 1])
        time.sleep(0.02)


@pytest.mark.parametrize("from_start", [True, False])
def test_bytes_that_trickle_in_end_at_the_total_time_limit(server, from_start):
    def route(handler: Handler) -> None:
        if not from_start:
            handler.head(200, Content_Length=10_000)
        trickle(handler, b"HTTP/1.1 200 OK\r\nX: " + bytes(10_000))

    server.routes["/a"] = route
    start = time.monotonic()
    limits = DownloadLimits(total_timeout=0.3, read_timeout=0.2)
    assert "not fetched in time" in str(refused(server.url("/a?SECRET"), retryable=True, limits=limits))
    assert time.monotonic() - start < 60  # the whole answer would take 200 s


def test_a_server_that_says_nothing(server):
    given_up = threading.Event()
    server.routes["/a"] = lambda handler: given_up.wait(60)
    error = refused(server.url("/a"), retryable=True, limits=DownloadLimits(read_timeout=0.05))
    given_up.set()
    assert "not fetched in time" in str(error)


def test_a_clock_past_the_deadline(server):
    ticks = iter([0.0, *[1000.0] * 20])
    assert "in time" in str(refused(server.url("/a"), retryable=True, clock=lambda: next(ticks)))


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/a?SECRET", retryable=True)


def test_an_unknown_host():
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    refused("https://no.example/a?SECRET", retryable=True, resolver=unknown)
    refused("https://no.example/a?SECRET", retryable=True, resolver=lambda host, port: [])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a?SECRET",
        "file:///etc/passwd",
        "/a/b",
        "",
        "https://?SECRET",
        "https://me:SECRET@h.example/a",
        "https://SECRET@h.example/a",
        "https://h.example:port/a?SECRET",
        "https://h.example/a\nb?SECRET",
        "https://h.example:99999/a?SECRET",
        "https://xn--\xe9.example/a?SECRET",
        "https://" + "\xe9" * 70 + ".example/a?SECRET",
        "https://h.example/\ud800?SECRET",
    ],
)
def test_urls_that_are_never_fetched(url):
    refused(url, retryable=False)


def test_plain_http_needs_allow_private_hosts():
    error = refused("http://h.example/a?SECRET", retryable=False, allow_private_hosts=False)
    assert "is not https" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0"])
def test_private_hosts_are_not_connected_to(tls_server, host):
    error = refused(f"https://{host}:{tls_server.port}/a?SECRET", retryable=False, allow_private_hosts=False)
    assert "not public" in str(error)
    assert not tls_server.requests


def test_one_private_address_among_public_ones_is_enough():
    resolver = lambda host, port: ["93.184.216.34", "10.0.0.1"]  # noqa: E731
    error = refused("https://h.example/a?SECRET", retryable=False, allow_private_hosts=False, resolver=resolver)
    assert "10.0.0.1" in str(error)


def test_redirects_are_followed_to_the_limit(server):
    server.routes["/0"] = body(PNG)
    for hop in range(1, 7):
        server.routes[f"/{hop}"] = redirect(f"/{hop - 1}", status=[301, 302, 303, 307, 308][hop % 5])
    assert fetch(server.url("/5"))[1] == PNG
    assert "redirects more than 5 times" in str(refused(server.url("/6?SECRET"), retryable=False))


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://h/a?SECRET",
        "https://me:SECRET@h.example/a",
        "",
        "http://h:port/SECRET",
        "//[::1",
        "http://h:99999/SECRET",
        "http://xn--\u00e9.example/SECRET",
        f"http://{'a' * 64}.example\u00e9/SECRET",
        "http://a..b\u00e9/SECRET",
        "http://\u2603\u0301-.example/SECRET",
        "javascript:SECRET",
    ],
)
def test_redirects_to_where_nothing_is_fetched(server, location):
    server.routes["/a"] = redirect(location)
    refused(server.url("/a?SECRET"), retryable=False)


def test_tls_is_for_the_name_though_the_connection_goes_to_the_checked_address(tls_server, trusting):
    tls_server.routes["/a"] = body(PNG)
    asked = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    url = f"https://images.example:{tls_server.port}/a"
    assert fetch(url, ssl_context=trusting, resolver=resolver)[1] == PNG
    assert asked == ["images.example"]
    assert tls_server.names == ["images.example"]
    assert tls_server.requests[0][1]["Host"] == f"images.example:{tls_server.port}"


def test_a_certificate_of_another_name_or_authority_is_refused(tls_server, trusting):
    tls_server.routes["/a"] = body(PNG)
    resolver = lambda host, port: ["127.0.0.1"]  # noqa: E731
    url = f"https://other.example:{tls_server.port}/a?SECRET"
    assert "certificate" in str(refused(url, retryable=True, ssl_context=trusting, resolver=resolver))
    url = f"https://images.example:{tls_server.port}/a?SECRET"
    assert "certificate" in str(refused(url, retryable=True, resolver=resolver))
    assert not tls_server.requests


@pytest.fixture
def loopback_is_public(monkeypatch):
    """The one address of the test server counts as public; all others are judged as ever."""
    from airflow_kling.archive import network_guard

    judge = network_guard.is_public
    monkeypatch.setattr(network_guard, "is_public", lambda address: address == "127.0.0.1" or judge(address))


def test_dns_rebinding_finds_no_second_question(tls_server, trusting, loopback_is_public):
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    tls_server.routes["/a"] = body(PNG)
    url = f"https://images.example:{tls_server.port}/a"
    resolver = lambda host, port: answers.pop(0)  # noqa: E731
    got = fetch(url, ssl_context=trusting, resolver=resolver, allow_private_hosts=False)
    assert got[1] == PNG
    assert answers == [["169.254.169.254"]]


def test_every_redirect_is_resolved_and_checked_anew(tls_server, trusting, loopback_is_public):
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    tls_server.routes["/a"] = redirect(f"https://images.example:{tls_server.port}/b")
    tls_server.routes["/b"] = body(PNG)
    url = f"https://images.example:{tls_server.port}/a?SECRET"
    resolver = lambda host, port: answers.pop(0)  # noqa: E731
    options = {"ssl_context": trusting, "resolver": resolver, "allow_private_hosts": False}
    assert "169.254.169.254" in str(refused(url, retryable=False, **options))
    assert [path for path, _ in tls_server.requests] == ["/a?SECRET"]


def test_a_redirect_from_https_to_http_is_refused(tls_server, trusting, loopback_is_public):
    tls_server.routes["/a"] = redirect("http://images.example/b")
    url = f"https://images.example:{tls_server.port}/a"
    resolver = lambda host, port: ["127.0.0.1"]  # noqa: E731
    options = {"ssl_context": trusting, "resolver": resolver, "allow_private_hosts": False}
    assert "is not https" in str(refused(url, retryable=False, **options))


def test_the_next_address_is_tried_when_one_is_dead(server):
    server.routes["/a"] = body(PNG)
    resolver = lambda host, port: ["127.0.0.2", "127.0.0.1"]  # noqa: E731
    assert fetch(f"http://images.example:{server.port}/a", resolver=resolver)[1] == PNG
