"""What the two clients share: which calls there are, how large an answer may be, and what an error means."""

from __future__ import annotations

import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from airflow_kling.api import protocol
from airflow_kling.api.gateways import DEFAULT_GATEWAY, Gateway
from airflow_kling.api.retry import delay_before_repeat, with_money
from airflow_kling.api.tasks import KlingTask, MultiImageToImageRequest
from airflow_kling.exceptions import KlingError, KlingInputError

TASK_SIZE = 2**20  # bytes, decoded, of an answer about one task, which has ~1 kB
PAGE_SIZE = 2**24  # bytes, decoded, of a page of the list, which has ~400 kB

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call: what to send, how to read the answer, and whether it costs money."""

    request: httpx.Request
    read: Callable[..., T]
    kling_task_id: str | None = None
    creates: bool = False
    limit: int = TASK_SIZE


class Answer(NamedTuple):
    """One answer, read to its end."""

    status: int
    headers: Iterable[tuple[bytes, bytes]]
    content: bytes

    def as_response(self) -> httpx.Response:
        """It as :mod:`wire` reads it."""
        headers = [(name, value) for name, value in self.headers if name.lower() != b"content-encoding"]
        return httpx.Response(self.status, headers=headers, content=self.content)


class Calls:
    """The gateway, which calls there are, and what an error means for the next try."""

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
        self._clock = clock
        self._random_fraction = random_fraction

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.gateway.name} {self.base_url}>"

    def _create(self, request: MultiImageToImageRequest) -> Call[KlingTask]:
        sent = protocol.create_request(self.gateway, self.base_url, request.for_gateway(self.gateway))
        return Call(sent, protocol.read_task, creates=True)

    def _get(self, kling_task_id: str) -> Call[KlingTask]:
        kling_task_id = self._checked(kling_task_id)
        sent = protocol.query_request(self.gateway, self.base_url, kling_task_id)
        return Call(sent, partial(protocol.read_task, kling_task_id=kling_task_id), kling_task_id)

    @staticmethod
    def _checked(kling_task_id: str) -> str:
        if isinstance(kling_task_id, int):  # a native template renders an id of digits to a number
            return str(kling_task_id)
        if not isinstance(kling_task_id, str) or not kling_task_id.strip(". "):
            raise KlingInputError(
                f"kling_task_id is {kling_task_id!r}, which is not a Kling task id; nothing was asked."
            )
        return kling_task_id

    def _list(self, page: int, page_size: int, read: Callable[..., T]) -> Call[T]:
        sent = protocol.list_request(self.gateway, self.base_url, page=page, page_size=page_size)
        return Call(sent, read, limit=PAGE_SIZE)

    def _read(self, call: Call[T], answer: Answer) -> T:
        return call.read(answer.as_response(), now=self._clock())

    def _delay(self, call: Call[T], error: KlingError, attempt: int, deadline: float) -> float:
        """Seconds before the next try; raises the error where there is none."""
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


def proxy_for(base_url: str) -> tuple[str | None, dict[str, str]]:
    """The proxy that the environment names for a host, as httpx would find it, and the header that opens it.

    They are apart because aiohttp's errors quote the URL.
    """
    url = httpx.URL(base_url)
    proxies = {} if proxy_bypass(url.host) else getproxies()
    if not (named := proxies.get(url.scheme) or proxies.get("all")):
        return None, {}
    proxy = httpx.Proxy(named if "://" in named else f"http://{named}")
    if not proxy.raw_auth:
        return str(proxy.url), {}
    return str(proxy.url), {"Proxy-Authorization": f"Basic {b64encode(b':'.join(proxy.raw_auth)).decode()}"}
