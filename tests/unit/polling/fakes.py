"""A client and connections for the poller, without a network, and an event loop on which no time is ever waited."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

from airflow_kling.api.gateways import COMETAPI, Gateway
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import KlingTask, Result, TaskStatus
from airflow_kling.polling.poller import StatusPoller

T = TypeVar("T")


class Client:
    """An asynchronous client whose tasks finish when told; counts what it is asked."""

    def __init__(self, gateway: Gateway = COMETAPI, latency: float = 0.0) -> None:
        self.gateway = gateway
        self.latency = latency
        self.held: asyncio.Event | None = None  # no answer before it is set
        self.tells_whole = False
        self.statuses: dict[str, str] = {}
        self.errors: list[Exception] = []
        self.asked: list[str] = []
        self.asked_at: list[float] = []
        self.got: list[str] = []
        self.get_errors: list[Exception] = []
        self.list_errors: list[Exception] = []
        self.pages = 0
        self.at_once = self.most_at_once = 0
        self.closed = False

    async def status(self, task_id: str, *, route: str = DEFAULT_ROUTE, whole: bool = False) -> TaskStatus | KlingTask:
        self.asked.append(task_id)
        self.asked_at.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await (self.held.wait() if self.held else asyncio.sleep(self.latency))
        self.at_once -= 1
        if self.errors:
            raise self.errors.pop(0)
        status = self.statuses.get(task_id, "processing")
        if whole and self.tells_whole and status != "processing":
            return KlingTask(
                kling_task_id=task_id, status=status, results=[Result(kind="image", index=0, url="https://k")]
            )
        return TaskStatus(task_id, status, None)

    async def get(self, task_id: str, *, route: str, deadline: float) -> KlingTask:
        assert deadline == 0  # repeated, if at all, in its turn
        self.got.append(task_id)
        await asyncio.sleep(self.latency)
        if self.get_errors:
            raise self.get_errors.pop(0)
        return KlingTask(kling_task_id=task_id, status=self.statuses.get(task_id, "processing"))

    async def list_statuses(self, *, page: int, page_size: int, route: str, deadline: float) -> list[TaskStatus]:
        self.pages += 1
        if self.list_errors:
            raise self.list_errors.pop(0)
        newest_first = list(reversed(self.statuses.items()))
        some = newest_first[(page - 1) * page_size : page * page_size]
        return [TaskStatus(task_id, status, time.time()) for task_id, status in some]

    async def aclose(self) -> None:
        self.closed = True


class Connections:
    """Makes clients, and counts how often each connection was looked up."""

    def __init__(self, rate: float = 1e6, **clients: Client) -> None:
        self.clients = clients
        self.rate = rate
        self.looked_up: Counter[str] = Counter()

    async def __call__(self, conn_id: str) -> tuple[Any, float]:
        self.looked_up[conn_id] += 1
        return self.clients[conn_id], self.rate


def waiting(connect: Any, task_id: str, conn_id: str = "kling", **options: Any) -> asyncio.Task[Any]:
    given = {"left": 20, "poke_interval": 0.02, **options}
    return asyncio.create_task(StatusPoller.of(conn_id, connect).wait(task_id, **given))


class Sleepless(selectors.DefaultSelector):
    """Moves the clock on by the time that it should wait."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing will ever happen any more"
        self.now += max(0.0, timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """Has a time of its own, which passes when all wait for it: no machine is too slow for a test."""

    def __init__(self) -> None:
        self.sleepless = Sleepless()
        super().__init__(self.sleepless)

    def time(self) -> float:
        return self.sleepless.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it on a :class:`Loop`, by whose time its pollers go too."""
    defaults = StatusPoller.__init__.__kwdefaults__
    assert defaults is not None
    with asyncio.Runner(loop_factory=Loop) as runner, mock.patch.dict(defaults, clock=runner.get_loop().time):
        return runner.run(main)


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)
