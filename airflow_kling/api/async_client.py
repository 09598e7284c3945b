"""Calls the API on an event loop: ``AsyncKlingClient``, for the triggerer, with only the calls that are free.

It goes through aiohttp: a poll takes a fifth of the CPU that httpx takes.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import ssl
from collections.abc import Awaitable, Callable
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from yarl import URL

from airflow_kling.api import protocol
from airflow_kling.api.answer import Answer
from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.base_client import TASK_SIZE, BaseClient, Call
from airflow_kling.api.proxies import Proxy, proxy_for
from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.api.tasks import KlingTask, TaskStatus
from airflow_kling.api.transport import (
    CONNECTIONS,
    DEFAULT_TIMEOUT,
    KEEPALIVE,
    PROXY_REFUSES,
    WHOLE_ANSWER,
    no_answer,
    shared_ssl_context,
    too_long,
)
from airflow_kling.exceptions import KlingError

# These are raised before a byte of the request can have reached the API; all requests of this client are free.
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)

T = TypeVar("T")


class AsyncKlingClient(BaseClient):
    """The free calls of the API on an event loop: no create, since a trigger must never cost money.

    Same parameters and errors as :class:`~airflow_kling.api.client.KlingClient`; give it a ``ssl_context``, building
    one blocks for ~50 ms.
    """

    def __init__(
        self,
        auth: KlingAuth,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._auth = auth
        self._sleep = sleep
        self._ssl_context = ssl_context or shared_ssl_context()
        self._timeout = aiohttp.ClientTimeout(total=WHOLE_ANSWER, sock_connect=timeout, sock_read=timeout)
        self._proxy = proxy or proxy_for(self.base_url, os.environ)

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._ssl_context, limit=CONNECTIONS, keepalive_timeout=KEEPALIVE)
        # Through a tunnel the proxy reads only what opens it, and else the request itself.
        to_proxy = self._proxy.headers if self._proxy and URL(self.base_url).scheme == "http" else {}
        headers = {**protocol.HEADERS, **to_proxy}
        return aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())

    async def get(self, kling_task_id: str, *, route: str = DEFAULT_ROUTE, deadline: float = math.inf) -> KlingTask:
        """Ask for one task; see :meth:`airflow_kling.api.client.KlingClient.get`."""
        return await self._call(self._get(kling_task_id, route), deadline)

    async def status(
        self, kling_task_id: str, *, route: str = DEFAULT_ROUTE, whole: bool = False
    ) -> TaskStatus | KlingTask:
        """Ask for one task's status, once, and read no more of the answer: the way of whoever asks often.

        :param whole: read the whole task where it is finished, so that nobody has to ask again for its results.
        :raises KlingError: as :meth:`get` does.
        """
        kling_task_id = self._checked(kling_task_id)
        url = protocol.query_url(self.gateway, self.base_url, find_route(route), kling_task_id)
        answer = await self._answer(url, TASK_SIZE, kling_task_id)
        status = protocol.read_status(answer.content) if answer.status == 200 else None
        if status is not None and not (whole and status.finished):
            return status
        response, now = answer.as_response(), self._clock()
        task = protocol.read_task(response, now=now, route=route, kling_task_id=kling_task_id, host=self._host)
        return task if whole and task.finished else task.brief()

    async def list_statuses(
        self, *, route: str = DEFAULT_ROUTE, page: int = 1, page_size: int = 500, deadline: float = math.inf
    ) -> list[TaskStatus]:
        """Ask for the statuses on one page of the account's tasks; see ``KlingClient.list``."""
        return await self._call(self._list(route, page, page_size, protocol.read_statuses), deadline)

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
            if self._auth.renewed_after(answer):
                answer = await self._send(url, limit, kling_task_id)
        except KlingError:
            raise
        except Exception as error:
            sent = not isinstance(error, _NEVER_SENT)
            raise no_answer(
                self.base_url, error, _details(error), proxy=self._proxy, sent=sent, kling_task_id=kling_task_id
            ) from None
        return answer

    async def _send(self, url: str, limit: int, kling_task_id: str | None) -> Answer:
        async with self._session.get(
            URL(url, encoded=True),
            headers={"Authorization": self._auth.authorization()},
            timeout=self._timeout,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers if self._proxy else None,
            allow_redirects=False,
        ) as answer:
            if self._proxy and answer.status == PROXY_REFUSES:
                raise aiohttp.ClientHttpProxyError(
                    answer.request_info, (), status=answer.status, message=answer.reason or ""
                )
            pieces, size = [], 0
            while not answer.content.at_eof():  # in pieces, since aiohttp inflates no more than it is asked for
                pieces.append(await answer.content.readany())
                size += len(pieces[-1])
                if size > limit:
                    raise too_long(self.base_url, answer.status, limit, kling_task_id)
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


def _details(error: Exception) -> str:
    """Say what happened, for errors that quote no secret: a ClientResponseError quotes the URL that it asked."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    return str(error) if isinstance(error, aiohttp.ClientError | OSError) else ""
