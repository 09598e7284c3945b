"""Runs the emulator: in a thread for tests, in the foreground for the command line."""

from __future__ import annotations

import contextlib
import copy
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from airflow_kling.emulator.callers import CheckCaller
from airflow_kling.emulator.config import EmulatorConfig
from airflow_kling.emulator.control import control_routes
from airflow_kling.emulator.errors import kling_error
from airflow_kling.emulator.faults.book import FaultBook
from airflow_kling.emulator.http_api import kling_routes
from airflow_kling.emulator.services import World
from airflow_kling.emulator.tasks import TaskStore


class Emulator:
    """A running emulator, as a test sees it.

    :param world: its parts
    :param url: base URL, without a slash at the end
    """

    def __init__(self, world: World, url: str) -> None:
        self._world = world
        self.url = url
        account = world.config.accounts[0]
        self.api_key = account.api_key
        self.access_key = account.access_key
        self.secret_key = account.secret_key

    @property
    def config(self) -> EmulatorConfig:
        """Its settings."""
        return self._world.config

    @property
    def state(self) -> TaskStore:
        """Its tasks."""
        return self._world.store

    @property
    def faults(self) -> FaultBook:
        """Its faults: ``add``, ``remove``, ``clear``, ``release``, ``wait_until_held``."""
        return self._world.faults

    def ledger(self, *, tasks: bool = True) -> dict[str, Any]:
        """What was created and billed; without ``tasks`` only the totals."""
        return self._world.ledger(tasks=tasks)

    def advance(self, seconds: float) -> float:
        """Move the clock of tasks and URLs forward by ``seconds``; returns the new Unix time."""
        return self._world.clock.advance(seconds)

    def reset(self) -> None:
        """Forget tasks, faults and counts."""
        self._world.reset()


async def _not_served(request: Request, error: Exception) -> Response:
    # Kling answers from its error table, CometAPI with a body of its own [C].
    if request.url.path.startswith("/v1/"):
        wrong_method = isinstance(error, HTTPException) and error.status_code == 405
        return kling_error(1202 if wrong_method else 1203).response()
    return JSONResponse({"code": None, "message": "404"}, 404)


def build_app(world: World) -> Starlette:
    """The emulator as an ASGI application; faults that close connections need :class:`Server` around it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with world.background.running():
            yield

    names = (*world.config.allowed_hosts, *filter(None, [urlsplit(world.config.public_url or "").hostname]))
    app = Starlette(
        middleware=[Middleware(CheckCaller, bound=world.config.host, allowed=names)],
        routes=[*kling_routes(world), *control_routes(world)],
        exception_handlers={404: _not_served, 405: _not_served},
        lifespan=lifespan,
    )
    # A path with a slash at the end is another path, as on the real gateways.
    app.router.redirect_slashes = False
    return app


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """Uvicorn's protocol; it also puts the transport where fault responses find it."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def _log_to_stderr() -> dict[str, Any]:
    settings = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    settings["handlers"]["access"]["stream"] = "ext://sys.stderr"
    return settings


class Server(uvicorn.Server):
    """A web server that ends at once: it cuts off the requests that a fault keeps waiting.

    :param on_start: called when it accepts connections
    """

    def __init__(self, world: World, on_start: Callable[[], object]) -> None:
        config = uvicorn.Config(
            build_app(world),
            http=_Protocol,
            ws="none",
            lifespan="on",
            # Without a log of requests uvicorn must not touch the logging of a process that a test runs in.
            log_config=_log_to_stderr() if world.config.access_log else None,
            log_level="info" if world.config.access_log else "critical",
            access_log=world.config.access_log,
            # Requests that a fault holds would never end by themselves.
            timeout_graceful_shutdown=0,
            backlog=2048,
        )
        super().__init__(config)
        self._world = world
        self._on_start = on_start

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller: uvicorn would raise them again after the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Release the requests that faults hold, then end."""
        self._world.faults.clear()
        await super().shutdown(sockets)


def _listen(config: EmulatorConfig) -> tuple[socket.socket, str]:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((config.host, config.port))
    # Load tests connect with hundreds of clients at once.
    listener.listen(2048)
    host = f"[{config.host}]" if ":" in config.host else config.host
    return listener, f"http://{host}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def serve(config: EmulatorConfig | None = None) -> Iterator[Emulator]:
    """Run an emulator in a thread of this process while the ``with`` block lasts.

    :param config: its settings; by default it takes a free port of 127.0.0.1
    """
    world = World(config or EmulatorConfig())
    listener, url = _listen(world.config)
    started = threading.Event()
    server = Server(world, started.set)
    thread = threading.Thread(target=server.run, args=([listener],), name="kling-emulator", daemon=True)
    thread.start()
    if not started.wait(10):
        raise RuntimeError("the Kling emulator did not start within 10 s")
    try:
        yield Emulator(world, url)
    finally:
        server.should_exit = True
        thread.join(10)


def run(config: EmulatorConfig) -> None:
    """Run an emulator in the foreground until SIGINT or SIGTERM."""
    listener, url = _listen(config)
    server = Server(World(config), lambda: print(f"Kling emulator listening on {url}", flush=True))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    # Uvicorn closes the listener.
    server.run([listener])
