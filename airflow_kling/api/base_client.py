"""Defines what the two clients share: the calls, how large an answer may be, and when a call is repeated."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from airflow_kling.api import protocol
from airflow_kling.api.answer import Answer
from airflow_kling.api.error_table import ErrorRule, no_such_model
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.gateways import DEFAULT_GATEWAY, Gateway
from airflow_kling.api.request import for_gateway, known_models, unknown_limits, unknown_model
from airflow_kling.api.retry import delay_before_repeat, with_money
from airflow_kling.api.route import Route
from airflow_kling.api.routes import find_route
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import KlingError, KlingInputError

TASK_SIZE = 2**20  # bytes, decoded, of an answer about one task, which has ~1 kB
PAGE_SIZE = 2**24  # bytes, decoded, of a page of the list, which has ~400 kB

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call: what to send, how to read the answer, and whether it costs money."""

    request: httpx.Request
    read: Callable[..., T]
    kling_task_id: str | None = None
    creates: bool = False
    limit: int = TASK_SIZE


class BaseClient:
    """Knows the gateway, its calls, and what an error means for the next try.

    :param gateway: which API, see :mod:`airflow_kling.api.gateways`.
    :param base_url: scheme and host, the gateway's when None.
    :param clock: epoch seconds.
    :param random_fraction: random numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        gateway: Gateway = DEFAULT_GATEWAY,
        base_url: str | None = None,
        clock: Callable[[], float] = time.time,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self.gateway = gateway
        self.base_url = (base_url or gateway.base_url).rstrip("/")
        self._host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        self._clock = clock
        self._random_fraction = random_fraction

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.gateway.name} {self.base_url}>"

    def _create(self, request: KlingRequest, route_name: str) -> Call[KlingTask]:
        route = find_route(route_name)
        fitting = for_gateway(route, request, self.gateway)
        for warning in (unknown_model(route, fitting, self.gateway), unknown_limits(route, fitting)):
            if warning:
                log.warning("%s", warning)
        sent = protocol.create_request(self.gateway, self.base_url, route, fitting)
        read = partial(protocol.read_task, route=route_name, no_model=self._no_model(route, fitting))
        return Call(sent, read, creates=True)

    def _no_model(self, route: Route, request: KlingRequest) -> ErrorRule | None:
        """Say what to do where the gateway does not have the model (any more); models end without notice."""
        model_name = getattr(request, "model_name", None)
        if model_name is None:
            return None
        known = dict.fromkeys(known_models(route, self.gateway))
        known |= dict.fromkeys(name for endpoint in route.endpoints.values() for name in endpoint.models)
        others = [name for name in known if name != model_name]
        return no_such_model(model_name, self.gateway.name, route.name, others=others)

    def _get(self, kling_task_id: str, route_name: str) -> Call[KlingTask]:
        kling_task_id = self._checked(kling_task_id)
        sent = protocol.query_request(self.gateway, self.base_url, find_route(route_name), kling_task_id)
        read = partial(protocol.read_task, route=route_name, kling_task_id=kling_task_id)
        return Call(sent, read, kling_task_id)

    @staticmethod
    def _checked(kling_task_id: str) -> str:
        if isinstance(kling_task_id, int):  # a native template renders an id of digits to a number
            return str(kling_task_id)
        if not isinstance(kling_task_id, str) or not kling_task_id.strip(". "):
            raise KlingInputError(
                f"kling_task_id is {kling_task_id!r}, which is not a Kling task id; nothing was asked."
            )
        return kling_task_id

    def _list(self, route_name: str, page: int, page_size: int, read: Callable[..., T]) -> Call[T]:
        route = find_route(route_name)
        sent = protocol.list_request(self.gateway, self.base_url, route, page=page, page_size=page_size)
        return Call(sent, read, limit=PAGE_SIZE)

    def _read(self, call: Call[T], answer: Answer) -> T:
        return call.read(answer.as_response(), now=self._clock(), host=self._host)

    def _delay(self, call: Call[T], error: KlingError, attempt: int, deadline: float) -> float:
        """Return the seconds before the next try; raise the error where there is none."""
        delay = delay_before_repeat(
            error,
            attempt,
            creates=call.creates,
            now=self._clock(),
            deadline=deadline,
            random_fraction=self._random_fraction(),
        )
        if delay is None:
            raise (with_money(error) if call.creates else error) from None
        return delay
