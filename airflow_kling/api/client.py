"""``KlingClient`` and ``AsyncKlingClient``: two thin loops over :mod:`wire` (what) and :mod:`retry` (when)."""

from __future__ import annotations

import asyncio
import itertools
import math
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import httpx
from yarl import URL

from airflow_kling.api import protocol
from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.error_table import no_answer, too_long
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import KlingTask, MultiImageToImageRequest, TaskStatus
from airflow_kling.api.transport import TASK_SIZE, Answer, Call, Calls, proxy_for
from airflow_kling.exceptions import KlingError

DEFAULT_TIMEOUT = 60.0  # seconds to connect, and between two pieces of an answer
WHOLE_ANSWER = 120.0  # seconds: one that trickles in must not hold a slot of the event loop, or a worker, for ever
CONNECTIONS = 50  # more than are ever asked for at once
KEEPALIVE = 90.0  # seconds; polls lie further apart than httpx's 5 s, and a new handshake costs more than a socket

T = TypeVar("T")


class KlingClient(Calls):
    """The API, blocking. Use as a context manager, or call :meth:`close`.

    Free calls (get, list) are repeated with backoff on a lost connection, a 5xx, a page that is not the API's, and a
    rate limit. :meth:`create` costs money and is repeated only where the request never left this machine.

    :param auth: :class:`~airflow_kling.api.auth.BearerAuth` or :class:`~airflow_kling.api.auth.JWTAuth`.
    :param gateway: which API, see :mod:`airflow_kling.api.gateways`.
    :param base_url: scheme and host, the gateway's when None.
    :param timeout: seconds to connect, and between two pieces of an answer.
    :param ssl_context: shared by many clients it saves ~50 ms of CPU each.
    :param clock: epoch seconds.
    """

    def __init__(
        self,
        auth: KlingAuth,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._auth = auth
        self._timeout = timeout
        self._sleep = sleep
        self._http = httpx.Client(
            timeout=timeout,
            verify=ssl_context or httpx.create_ssl_context(),
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE),
        )

    def create(
        self, request: MultiImageToImageRequest, *, route: str = DEFAULT_ROUTE, deadline: float = math.inf
    ) -> KlingTask:
        """Submit a generation: the one call that costs money.

        :param deadline: epoch seconds after which nothing is sent again.
        :raises KlingInputError: the request breaks a limit of the gateway; nothing was sent.
        :raises KlingConnectionError: ``request_sent`` says whether a generation may exist.
        :raises KlingAPIError: see :func:`airflow_kling.api.retry.nothing_was_created`.
        """
        return self._call(self._create(request), deadline)

    def get(self, kling_task_id: str, *, route: str = DEFAULT_ROUTE, deadline: float = math.inf) -> KlingTask:
        """One task; free.

        :param kling_task_id: its id, or its ``external_task_id`` where ``gateway.finds_external_ids``.
        :raises KlingTaskNotFoundError: unknown, expired (30 days) or another account's.
        """
        return self._call(self._get(kling_task_id), deadline)

    def list(
        self, *, page: int = 1, page_size: int = 500, route: str = DEFAULT_ROUTE, deadline: float = math.inf
    ) -> list[KlingTask]:
        """One page (1..1000, of 1..500) of the account's tasks, newest first; free; only where ``gateway.has_list``."""
        return self._call(self._list(page, page_size, protocol.read_page), deadline)

    def _call(self, call: Call[T], deadline: float) -> T:
        for attempt in itertools.count(1):
            try:
                answer = self._answer(call, deadline)
                if self._auth.renewed_after(answer.status, answer.content):
                    answer = self._answer(call, deadline)
                return self._read(call, answer)
            except KlingError as error:
                delay = self._delay(call, error, attempt, deadline)
            self._sleep(delay)
        raise AssertionError("unreachable")

    def _answer(self, call: Call[Any], deadline: float) -> Answer:
        call.request.headers["Authorization"] = self._auth.authorization()
        try:
            with closing(self._http.send(call.request, stream=True)) as answer:
                return Answer(answer.status_code, answer.headers.raw, self._content(answer, call, deadline))
        except KlingError:
            raise
        except Exception as lost:  # also what httpx lets through as it came, such as a Location that is no ASCII
            raise no_answer(lost, self.base_url, call.kling_task_id) from None

    def _content(self, answer: httpx.Response, call: Call[Any], deadline: float) -> bytes:
        """The whole of an answer: until the deadline, though a try has its timeout in any case."""
        end = time.monotonic() + max(self._timeout, min(WHOLE_ANSWER, deadline - self._clock()))
        content = bytearray()
        for piece in answer.iter_bytes():
            if len(content) + len(piece) > call.limit:
                raise too_long(answer.status_code, call.limit, call.kling_task_id)
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the answer trickles in")
            content += piece
        return bytes(content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class AsyncKlingClient(Calls):
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
        self._timeout = aiohttp.ClientTimeout(total=WHOLE_ANSWER, sock_connect=timeout, sock_read=timeout)
        self._proxy, self._proxy_headers = proxy_for(self.base_url)

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._ssl_context, limit=CONNECTIONS, keepalive_timeout=KEEPALIVE)
        # Through a tunnel the proxy reads only what opens it, and else the request itself.
        headers = (
            protocol.HEADERS if self.base_url.startswith("https:") else {**protocol.HEADERS, **self._proxy_headers}
        )
        return aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())

    async def get(self, kling_task_id: str, *, route: str = DEFAULT_ROUTE, deadline: float = math.inf) -> KlingTask:
        """One task; see :meth:`KlingClient.get`."""
        return await self._call(self._get(kling_task_id), deadline)

    async def status(self, kling_task_id: str, *, route: str = DEFAULT_ROUTE) -> TaskStatus:
        """One task's status, asked for once, and no more read of the answer: the way of whoever asks often.

        :raises KlingError: as :meth:`get` does.
        """
        kling_task_id = self._checked(kling_task_id)
        url = protocol.query_url(self.gateway, self.base_url, kling_task_id)
        answer = await self._answer(url, TASK_SIZE, kling_task_id)
        if answer.status == 200 and (status := protocol.read_status(answer.content)):
            return status
        return protocol.read_task(answer.as_response(), now=self._clock(), kling_task_id=kling_task_id).brief()

    async def list_statuses(
        self, *, page: int = 1, page_size: int = 500, route: str = DEFAULT_ROUTE, deadline: float = math.inf
    ) -> list[TaskStatus]:
        """The statuses on one page of the account's tasks; see :meth:`KlingClient.list`."""
        return await self._call(self._list(page, page_size, protocol.read_statuses), deadline)

    async def _call(self, call: Call[T], deadline: float) -> T:
        for attempt in itertools.count(1):
            try:
                return self._read(call, await self._answer(str(call.request.url), call.limit, call.kling_task_id))
            except KlingError as error:
                delay = self._delay(call, error, attempt, deadline)
            await self._sleep(delay)
        raise AssertionError("unreachable")

    async def _answer(self, url: str, limit: int, kling_task_id: str | None) -> Answer:
        try:
            answer = await self._send(url, limit, kling_task_id)
            if self._auth.renewed_after(answer.status, answer.content):
                answer = await self._send(url, limit, kling_task_id)
        except KlingError:
            raise
        except Exception as lost:
            raise no_answer(lost, self.base_url, kling_task_id) from None
        return answer

    async def _send(self, url: str, limit: int, kling_task_id: str | None) -> Answer:
        async with self._session.get(
            URL(url, encoded=True),
            headers={"Authorization": self._auth.authorization()},
            timeout=self._timeout,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers or None,
            allow_redirects=False,
        ) as answer:
            pieces, size = [], 0
            while not answer.content.at_eof():  # in pieces, since aiohttp inflates no more than it is asked for
                pieces.append(await answer.content.readany())
                size += len(pieces[-1])
                if size > limit:
                    raise too_long(answer.status, limit, kling_task_id)
            return Answer(answer.status, answer.raw_headers, b"".join(pieces))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()
