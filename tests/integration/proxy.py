"""A forward proxy on 127.0.0.1, with tunnels for https, absolute URLs for http, passwords and refusals."""

from __future__ import annotations

import selectors
import socket
import socketserver
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit


class Seen(NamedTuple):
    """The head of a request to the proxy."""

    method: str
    target: str
    headers: dict[str, str]


class ForwardProxy(socketserver.ThreadingTCPServer):
    """Connects to 127.0.0.1, whatever the name: its own DNS knows nothing else.

    :param credentials: ``user:password`` that it asks for.
    :param answer: what it answers in place of a tunnel; empty to hang up.
    :param tls: to be spoken to over TLS.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, *, credentials: str | None = None, answer: bytes | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[Seen] = []
        self.answer = answer
        self.authorization = f"Basic {b64encode(credentials.encode()).decode()}" if credentials else None
        self._userinfo = f"{credentials}@" if credentials else ""
        self._scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        """As an administrator writes it."""
        return f"{self._scheme}://{self._userinfo}{self.name}"

    def handle_error(self, request: object, client_address: object) -> None: ...


class _Handler(socketserver.StreamRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split(" ", 2)
        lines = [line.decode().rstrip() for line in iter(self.rfile.readline, b"\r\n")]
        headers = dict(line.split(": ", 1) for line in lines)
        self.server.seen.append(Seen(method, target, headers))
        if self.server.answer is not None:
            self.wfile.write(self.server.answer)
        elif self.server.authorization not in (None, headers.get("Proxy-Authorization")):
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT":
            self._tunnel(int(target.rpartition(":")[2]))
        else:
            self._forward(method, target, lines)

    def _tunnel(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._copy(there)

    def _forward(self, method: str, target: str, lines: list[str]) -> None:
        url = urlsplit(target)
        kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
        head = "\r\n".join([f"{method} {url.path}?{url.query} HTTP/1.1", *kept, "Connection: close", "", ""])
        with socket.create_connection(("127.0.0.1", url.port or 80)) as there:
            there.sendall(head.encode())
            self._copy(there)

    def _copy(self, there: socket.socket) -> None:
        ends = {self.connection: there, there: self.connection}
        with selectors.DefaultSelector() as selector, suppress(OSError):
            for end in ends:
                selector.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if not (data := key.fileobj.recv(65536)):  # type: ignore[union-attr]
                        return
                    while isinstance(key.fileobj, ssl.SSLSocket) and key.fileobj.pending():
                        data += key.fileobj.recv(65536)
                    ends[key.fileobj].sendall(data)  # type: ignore[index]


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def forward_proxy(**options: object) -> Iterator[ForwardProxy]:
    """Run one."""
    proxy = ForwardProxy(**options)  # type: ignore[arg-type]
    with serving(proxy):
        yield proxy
