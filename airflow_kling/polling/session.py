"""Sends the requests of one connection: one client, one budget, and a new client when the key is refused."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from airflow_kling.api.retry import backoff
from airflow_kling.exceptions import KlingAuthenticationError, KlingError, KlingPermissionError, KlingServerError
from airflow_kling.polling.rate_limit import RateLimiter
from airflow_kling.reporting import metrics

if TYPE_CHECKING:
    from airflow_kling.api.async_client import AsyncKlingClient
    from airflow_kling.api.gateways import Gateway
    from airflow_kling.api.tasks import KlingTask

    Connect = Callable[[str], Awaitable[tuple[AsyncKlingClient, float]]]

log = logging.getLogger(__name__)

REFUSED = KlingAuthenticationError | KlingPermissionError  # answers to a key that may have been replaced since
RECONNECT_GAP = 60.0  # seconds between two lookups of a connection that is refused
COUNTED_TOGETHER = 100  # requests; a metric for each would be a packet for each

T = TypeVar("T")


class Session:
    """Sends requests to the API, as often as the connection may.

    :param conn_id: the connection.
    :param connect: makes a client, and says how many requests a second it may send.
    :param clock: seconds, as of the poller.
    :param random_fraction: random numbers in [0, 1).
    """

    def __init__(
        self, conn_id: str, *, connect: Connect, clock: Callable[[], float], random_fraction: Callable[[], float]
    ) -> None:
        self.conn_id = conn_id
        self._connect = connect
        self._clock = clock
        self._random_fraction = random_fraction
        self._client: AsyncKlingClient | None = None
        self._limiter = self._make_limiter(1.0)
        self._sent: Counter[str] = Counter()  # requests of each route since they were last counted
        self._reconnecting = asyncio.Lock()
        self._reconnected_at = -math.inf
        self._logged: set[str] = set()

    @property
    def gateway(self) -> Gateway | None:
        """The API's gateway, once the connection is known."""
        return self._client.gateway if self._client else None

    async def open(self) -> None:
        """Look the connection up and make its client. Raises what ``connect`` raises."""
        client, rate = await self._connect(self.conn_id)
        self._count()
        self._client, self._limiter = client, self._make_limiter(rate)

    def _make_limiter(self, rate: float) -> RateLimiter:
        return RateLimiter(rate, clock=self._clock, random_fraction=self._random_fraction)

    async def close(self) -> None:
        """Close the client."""
        self._count()
        if self._client:
            await self._client.aclose()

    async def acquire(self, route: str) -> None:
        """Wait until the next request may go out, and count it."""
        if self._sent.total() >= COUNTED_TOGETHER:
            self._count()
        self._sent[route] += 1
        await self._limiter.acquire()

    async def send(self, request: Callable[[AsyncKlingClient], Awaitable[T]], route: str) -> T | KlingError:
        """Send one acquired request; where the key is refused, once more with what the connection says now.

        :return: the answer, or the error in its place.
        """
        client = self._client
        answer = await self.send_once(request)
        if isinstance(answer, REFUSED) and await self._renewed(client):
            await self.acquire(route)
            answer = await self.send_once(request)
        return answer

    async def send_once(self, request: Callable[[AsyncKlingClient], Awaitable[T]]) -> T | KlingError:
        """Send one acquired request; return the answer, or the error in its place."""
        assert self._client is not None
        try:
            answer: T | KlingError = await request(self._client)
        except KlingError as error:
            answer = error
        except Exception as error:  # an odd answer to one request says nothing of the others
            answer = self._unreadable(error)
        self._limiter.record(answer)
        return answer

    async def whole_task(self, kling_task_id: str, route: str, slots: asyncio.Semaphore) -> KlingTask | None:
        """Ask for the whole of a task until there is an answer; None where it is an error that stays.

        :param slots: one is held while a request is under way.
        """
        for attempt in itertools.count(1):
            async with slots:
                await self.acquire(route)
                answer = await self.send(lambda client: client.get(kling_task_id, route=route, deadline=0), route)
            if not isinstance(answer, KlingError):
                return answer
            if not answer.retryable:
                return None
            await asyncio.sleep(backoff(answer, attempt, random_fraction=self._random_fraction()))
        raise AssertionError("unreachable")

    def _unreadable(self, error: Exception) -> KlingServerError:
        name = type(error).__name__
        if name not in self._logged:
            self._logged.add(name)
            log.error("An answer to connection %s cannot be read (%s); its task is polled again.", self.conn_id, name)
        return KlingServerError(f"The answer cannot be read: {name}")

    async def _renewed(self, refused: AsyncKlingClient | None) -> bool:
        """Whether there is a newer client than the one refused."""
        async with self._reconnecting:
            if self._client is not refused:
                return True
            if self._clock() - self._reconnected_at < RECONNECT_GAP:
                return False
            self._reconnected_at = self._clock()
            try:
                await self.open()
            except Exception as error:  # the refusal stays the answer: it came first
                log.warning("Connection %s cannot be looked up again: %s", self.conn_id, type(error).__name__)
                return False
            if refused:
                await refused.aclose()  # its other requests are lost, and so repeated
            return True

    def _count(self) -> None:
        if self._client is None:
            return
        for route, count in self._sent.items():
            metrics.polled(count, {"gateway": self._client.gateway.name, "route": route}, in_triggerer=True)
        self._sent.clear()
