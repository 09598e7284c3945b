"""What the two clients share, without a server: what they show, refuse and make of a lost connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_kling.api.async_client import AsyncKlingClient
from airflow_kling.api.auth import BearerAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.api.gateways import GATEWAYS, OFFICIAL
from airflow_kling.api.routes.multi_image_to_image import MultiImageToImageRequest
from airflow_kling.exceptions import KlingConnectionError, KlingInputError

KEY = "sk-distinctive-key"
REQUEST = MultiImageToImageRequest.parse({"subject_images": ["https://example.com/a.png"] * 2})


def client(handler: Callable[[httpx.Request], httpx.Response] | None = None, **options: Any) -> KlingClient:
    made = KlingClient(BearerAuth(KEY), **options)
    if handler:
        made._transport._http = httpx.Client(transport=httpx.MockTransport(handler))
    return made


@pytest.mark.parametrize("kind", [KlingClient, AsyncKlingClient])
def test_repr_tells_gateway_and_host_and_no_key(kind: type) -> None:
    made = kind(BearerAuth(KEY), gateway=OFFICIAL, base_url="https://proxy.example.com/")
    assert repr(made) == f"<{kind.__name__} official https://proxy.example.com>"
    assert KEY not in f"{made} {vars(made)}"


@pytest.mark.parametrize("name", GATEWAYS)
def test_base_url_is_the_gateways_unless_given(name: str) -> None:
    assert client(gateway=GATEWAYS[name]).base_url == GATEWAYS[name].base_url


def test_the_asynchronous_client_cannot_create() -> None:
    assert not hasattr(AsyncKlingClient, "create")


@pytest.mark.parametrize("odd", ["", " ", ".", "..", " . ", None, ["8334"]], ids=str)
def test_id_that_is_none_is_refused_before_anything_is_asked(odd: Any) -> None:
    with pytest.raises(KlingInputError, match="nothing was asked"):
        client(lambda request: pytest.fail("asked")).get(odd)
    with pytest.raises(KlingInputError, match="nothing was asked"):
        asyncio.run(AsyncKlingClient(BearerAuth(KEY)).get(odd))


def test_request_that_the_gateway_does_not_take_is_not_sent() -> None:
    one = MultiImageToImageRequest.parse({"subject_images": ["https://example.com/a.png"]})
    with pytest.raises(KlingInputError, match="takes 2 to 4"):
        client(lambda request: pytest.fail("sent")).create(one)


# What httpx raises, and whether the request may have reached the API.
LOST = [
    (httpx.ConnectError("refused"), False),
    (httpx.ConnectTimeout("slow"), False),
    (httpx.PoolTimeout("busy"), False),
    (httpx.UnsupportedProtocol("odd"), False),
    (httpx.ReadTimeout("slow"), True),
    (httpx.WriteTimeout("slow"), True),
    (httpx.ReadError("reset"), True),
    (httpx.WriteError("reset"), True),
    (httpx.CloseError("reset"), True),
    (httpx.RemoteProtocolError("dropped"), True),
    (httpx.ProxyError("proxy"), False),
    (httpx.DecodingError("gzip"), True),
    (httpx.TooManyRedirects("many"), True),
]


@pytest.mark.parametrize(("lost", "sent"), LOST, ids=[type(error).__name__ for error, _ in LOST])
def test_lost_connection_says_whether_the_request_may_have_arrived(lost: httpx.RequestError, sent: bool) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise lost

    with pytest.raises(KlingConnectionError) as caught:
        client(handler).get("8334", deadline=0)
    assert caught.value.request_sent is sent
    assert caught.value.kling_task_id == "8334"
    assert caught.value.retryable
    assert type(lost).__name__ in str(caught.value)
    assert ("may have arrived" in str(caught.value)) is sent
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(("lost", "sent"), LOST, ids=[type(error).__name__ for error, _ in LOST])
def test_the_paid_call_is_sent_again_only_when_it_never_left(lost: httpx.RequestError, sent: bool) -> None:
    tries = []

    def handler(request: httpx.Request) -> httpx.Response:
        tries.append(json.loads(request.content))
        if len(tries) == 1:
            raise lost
        return httpx.Response(200, json={"code": 0, "data": {"task_id": "8334"}})

    made = client(handler, sleep=lambda seconds: None)
    if sent:
        with pytest.raises(KlingConnectionError):
            made.create(REQUEST)
        assert len(tries) == 1
    else:
        assert made.create(REQUEST).kling_task_id == "8334"
        assert len(tries) == 2
        assert tries[0] == tries[1]


def test_error_about_a_header_does_not_quote_it() -> None:
    with (
        KlingClient(BearerAuth(f"{KEY}\nx"), base_url="http://127.0.0.1:9") as made,
        pytest.raises(KlingConnectionError) as caught,
    ):
        made.get("8334", deadline=0)
    assert KEY not in str(caught.value)
