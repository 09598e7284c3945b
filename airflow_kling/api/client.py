"""``KlingClient`` and ``AsyncKlingClient``: two thin loops over :mod:`wire` (what) and :mod:`retry` (when)."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from airflow_kling.api import wire
from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.errors import no_answer
from airflow_kling.api.gateway import DEFAULT_GATEWAY, Gateway
from airflow_kling.api.models import KlingTask, MultiImageToImageRequest, TaskStatus
from airflow_kling.api.retry import delay_before_repeat, with_money
from airflow_kling.exceptions import KlingError, KlingInputError

DEFAULT_TIMEOUT = 60.0  # seconds to connect, and between two pieces of an answer
LOOK_LIMIT = 120.0  # seconds for one whole answer on an event loop: one that trickles in must not hold a slot for ever
CONNECTIONS = 50  # more than are ever asked for at once
KEEPALIVE = 90.0  # seconds; polls lie further apart than httpx's 5 s, and a new handshake costs more than a socket

T = TypeVar("T")


@dataclass(frozen=True)
class _Call(Generic[T]):
    """One call: what to send, how to read the answer, and whether it costs money."""

    request: httpx.Request
    read: Callable[..., T]
    kling_task_id: str | None = None
    creates: bool = False


class _Calls:
    """What the two clients share: the gateway, which calls there are, and what an error means for the next try."""

    def __init__(
        self,
        *,
        gateway: Gateway = DEFAULT_GATEWAY,
        base_url: str | None = None,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.gateway = gateway
        self.base_url = (base_url or gateway.base_url).rstrip("/")
        self._clock = clock
        self._dice = dice

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.gateway.name} {self.base_url}>"

    def _create(self, request: MultiImageToImageRequest) -> _Call[KlingTask]:
        sent = wire.create_request(self.gateway, self.base_url, request.for_gateway(self.gateway))
        return _Call(sent, wire.read_task, creates=True)

    def _get(self, kling_task_id: str) -> _Call[KlingTask]:
        kling_task_id = self._checked(kling_task_id)
        sent = wire.query_request(self.gateway, self.base_url, kling_task_id)
        return _Call(sent, partial(wire.read_task, kling_task_id=kling_task_id), kling_task_id)

    @staticmethod
    def _checked(kling_task_id: str) -> str:
        if isinstance(kling_task_id, int):  # a native template renders an id of digits to a number
            return str(kling_task_id)
        if not isinstance(kling_task_id, str) or not kling_task_id.strip(". "):
            raise KlingInputError(
                f"kling_task_id is {kling_task_id!r}, which is not a Kling task id; nothing was asked."
            )
        return kling_task_id

    def _list(self, page: int, page_size: int, read: Callable[..., T]) -> _Call[T]:
        return _Call(wire.list_request(self.gateway, self.base_url, page=page, page_size=page_size), read)

    def _read(self, call: _Call[T], response: httpx.Response) -> T:
        return call.read(response, now=self._clock())

    def _delay(self, call: _Call[T], error: KlingError, attempt: int, deadline: float) -> float:
        """Seconds before the next try; raises the error where there is none."""
        delay = delay_before_repeat(
            error, attempt, creates=call.creates, now=self._clock(), deadline=deadline, dice=self._dice()
        )
        if delay is None:
            raise (with_money(error) if call.creates else error) from None
        return delay


def _proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for a host, as httpx would find it."""
    url = httpx.URL(base_url)
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


class KlingClient(_Calls):
    """The API, blocking. Use as a context manager, or call :meth:`close`.

    Free calls (get, list) are repeated with backoff on a lost connection, a 5xx, a page that is not the API's, and a
    rate limit. :meth:`create` costs money and is repeated only where the request never left this machine.

    :param auth: :class:`~airflow_kling.api.auth.BearerAuth` or :class:`~airflow_kling.api.auth.JWTAuth`.
    :param gateway: which API, see :mod:`airflow_kling.api.gateway`.
    :param base_url: scheme and host, the gateway's when None.
    :param timeout: seconds to connect, and between two pieces of an answer.
    :param ssl_context: shared by many clients it saves ~50 ms of CPU each.
    :param clock: epoch seconds.
    """

    def __init__(
        self,
        auth: httpx.Auth,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._sleep = sleep
        self._http = httpx.Client(
            auth=auth,
            timeout=timeout,
            verify=ssl_context or httpx.create_ssl_context(),
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE),
        )

    def create(self, request: MultiImageToImageRequest, *, deadline: float = math.inf) -> KlingTask:
        """Submit a generation: the one call that costs money.

        :param deadline: epoch seconds after which nothing is sent again.
        :raises KlingInputError: the request breaks a limit of the gateway; nothing was sent.
        :raises KlingConnectionError: ``request_sent`` says whether a generation may exist.
        :raises KlingAPIError: see :func:`airflow_kling.api.retry.nothing_was_created`.
        """
        return self._call(self._create(request), deadline)

    def get(self, kling_task_id: str, *, deadline: float = math.inf) -> KlingTask:
        """One task; free.

        :param kling_task_id: its id, or its ``external_task_id`` where ``gateway.finds_external_ids``.
        :raises KlingTaskNotFoundError: unknown, expired (30 days) or another account's.
        """
        return self._call(self._get(kling_task_id), deadline)

    def list(self, *, page: int = 1, page_size: int = 500, deadline: float = math.inf) -> list[KlingTask]:
        """One page (1..1000, of 1..500) of the account's tasks, newest first; free; only where ``gateway.has_list``."""
        return self._call(self._list(page, page_size, wire.read_page), deadline)

    def _call(self, call: _Call[T], deadline: float) -> T:
        for attempt in itertools.count(1):
            try:
                return self._read(call, self._answer(call))
            except KlingError as error:
                delay = self._delay(call, error, attempt, deadline)
            self._sleep(delay)
        raise AssertionError("unreachable")

    def _answer(self, call: _Call[Any]) -> httpx.Response:
        try:
            return self._http.send(call.request)
        except Exception as lost:  # also what httpx lets through as it came, such as a Location that is no ASCII
            raise no_answer(lost, self.base_url, call.kling_task_id) from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class AsyncKlingClient(_Calls):
    """The free calls of the API on an event loop: no create, since a trigger must never cost money.

    Same parameters and errors as :class:`KlingClient`; give it a ``ssl_context``, building one blocks for ~50 ms.
    """

    def __init__(
        self,
        auth: KlingAuth,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._auth = auth
        self._sleep = sleep
        self._ssl_context = ssl_context or httpx.create_ssl_context()
        self._look_timeout = aiohttp.ClientTimeout(total=LOOK_LIMIT, sock_connect=timeout, sock_read=timeout)
        self._proxy = _proxy_for(self.base_url)
        transport = AiohttpTransport(
            verify=self._ssl_context,
            client=lambda: self._session,
            proxy=httpx.Proxy(self._proxy) if self._proxy else None,
        )
        self._http = httpx.AsyncClient(auth=auth, timeout=timeout, transport=transport)

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._ssl_context, limit=CONNECTIONS, keepalive_timeout=KEEPALIVE)
        return aiohttp.ClientSession(connector=connector, headers=wire.HEADERS, cookie_jar=aiohttp.DummyCookieJar())

    async def get(self, kling_task_id: str, *, deadline: float = math.inf) -> KlingTask:
        """One task; see :meth:`KlingClient.get`."""
        return await self._call(self._get(kling_task_id), deadline)

    async def status(self, kling_task_id: str) -> TaskStatus:
        """One task's status, asked for once, straight through aiohttp: a third of the CPU of :meth:`get`.

        :raises KlingError: as :meth:`get` does.
        """
        url = URL(wire.query_url(self.gateway, self.base_url, self._checked(kling_task_id)), encoded=True)
        answer = await self._look(url, kling_task_id)
        if isinstance(answer, httpx.Response) and self._auth.renewed_after(answer):
            answer = await self._look(url, kling_task_id)
        if isinstance(answer, TaskStatus):
            return answer
        return wire.read_task(answer, now=self._clock(), kling_task_id=kling_task_id).brief()

    async def _look(self, url: URL, kling_task_id: str) -> TaskStatus | httpx.Response:
        try:
            async with self._session.get(
                url,
                headers={"Authorization": self._auth.authorization()},
                timeout=self._look_timeout,
                proxy=self._proxy,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except Exception as lost:
            raise no_answer(lost, self.base_url, kling_task_id) from None
        if answer.status == 200 and (status := wire.read_status(content)):
            return status
        headers = [(name, value) for name, value in answer.raw_headers if name.lower() != b"content-encoding"]
        return httpx.Response(answer.status, headers=headers, content=content)

    async def list_statuses(
        self, *, page: int = 1, page_size: int = 500, deadline: float = math.inf
    ) -> list[TaskStatus]:
        """The statuses on one page of the account's tasks; see :meth:`KlingClient.list`."""
        return await self._call(self._list(page, page_size, wire.read_statuses), deadline)

    async def _call(self, call: _Call[T], deadline: float) -> T:
        for attempt in itertools.count(1):
            try:
                return self._read(call, await self._answer(call))
            except KlingError as error:
                delay = self._delay(call, error, attempt, deadline)
            await self._sleep(delay)
        raise AssertionError("unreachable")

    async def _answer(self, call: _Call[Any]) -> httpx.Response:
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                return await self._http.send(call.request)
        except Exception as lost:
            raise no_answer(lost, self.base_url, call.kling_task_id) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()
