"""Calls the API, blocking: ``KlingClient``, a thin loop over :mod:`.protocol` (what) and :mod:`.retry` (when)."""

from __future__ import annotations

import itertools
import math
import ssl
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from airflow_kling.api import protocol
from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.base_client import BaseClient, Call
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.proxies import Proxy
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import KlingTask
from airflow_kling.api.transport import DEFAULT_TIMEOUT, Transport
from airflow_kling.exceptions import KlingError

T = TypeVar("T")


class KlingClient(BaseClient):
    """The API, blocking. Use as a context manager, or call :meth:`close`.

    Free calls (get, list) are repeated with backoff on a lost connection, a 5xx, a page that is not the API's, and a
    rate limit. :meth:`create` costs money and is repeated only where the request never left this machine.

    :param auth: :class:`~airflow_kling.api.auth.BearerAuth` or :class:`~airflow_kling.api.auth.JWTAuth`.
    :param timeout: seconds to connect, and between two pieces of an answer.
    :param ssl_context: shared by many clients it saves ~50 ms of CPU each.
    :param proxy: for all calls; the environment's (``HTTPS_PROXY`` ...) when None.
    :param options: of :class:`~airflow_kling.api.base_client.BaseClient`.
    """

    def __init__(
        self,
        auth: KlingAuth,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._sleep = sleep
        self._transport = Transport(
            auth, self.base_url, timeout=timeout, ssl_context=ssl_context, proxy=proxy, clock=self._clock
        )

    def create(self, request: KlingRequest, *, route: str = DEFAULT_ROUTE, deadline: float = math.inf) -> KlingTask:
        """Submit a generation: the one call that costs money.

        :param route: name of the route that the request is for.
        :param deadline: epoch seconds after which nothing is sent again.
        :raises KlingInputError: the request breaks a limit of the gateway; nothing was sent.
        :raises KlingConnectionError: ``request_sent`` says whether a generation may exist.
        :raises KlingAPIError: see :func:`airflow_kling.api.retry.nothing_was_created`.
        """
        return self._call(self._create(request, route), deadline)

    def get(self, kling_task_id: str, *, route: str = DEFAULT_ROUTE, deadline: float = math.inf) -> KlingTask:
        """Ask for one task; free.

        :param kling_task_id: its id, or its ``external_task_id`` where ``gateway.finds_external_ids``.
        :param route: name of the route that made it.
        :raises KlingTaskNotFoundError: unknown, expired (30 days) or another account's.
        """
        return self._call(self._get(kling_task_id, route), deadline)

    def list(
        self, *, route: str = DEFAULT_ROUTE, page: int = 1, page_size: int = 500, deadline: float = math.inf
    ) -> list[KlingTask]:
        """Ask for one page (1..1000, of 1..500) of the account's tasks of a route, newest first; free.

        Only where ``gateway.has_list``.
        """
        return self._call(self._list(route, page, page_size, partial(protocol.read_page, route=route)), deadline)

    def _call(self, call: Call[T], deadline: float) -> T:
        for attempt in itertools.count(1):
            try:
                answer = self._transport.send(
                    call.request, limit=call.limit, kling_task_id=call.kling_task_id, deadline=deadline
                )
                return self._read(call, answer)
            except KlingError as error:
                delay = self._delay(call, error, attempt, deadline)
            self._sleep(delay)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
