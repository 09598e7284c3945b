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

import httpx

from airflow_kling.api import protocol
from airflow_kling.api.answer import Answer
from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.base_client import BaseClient, Call
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.proxies import Proxy
from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
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
    :param on_answer: called with each request and its answer.
    :param callback_url: makes the callback URL of an ``external_task_id``, None for none.
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
        on_answer: Callable[[httpx.Request, Answer], object] | None = None,
        callback_url: Callable[[str], str | None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._sleep = sleep
        self._on_answer = on_answer
        self._callback_url = callback_url
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
        return self._call(self._create(self._with_callback(request, route), route), deadline)

    def _with_callback(self, request: KlingRequest, route: str) -> KlingRequest:
        """Add the receiver's URL. It has a token in it, so it is made here, where nothing records it."""
        if self._callback_url is None or request.callback_url or not request.external_task_id:
            return request
        if "callback_url" in find_route(route).endpoint(self.gateway.name).not_taken:
            return request
        return request.model_copy(update={"callback_url": self._callback_url(request.external_task_id)})

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
                if self._on_answer:
                    self._on_answer(call.request, answer)
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
