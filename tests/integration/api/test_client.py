"""Both clients over real HTTP: what is sent, how often, and what becomes of each answer."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_kling.api.async_client import AsyncKlingClient
from airflow_kling.api.auth import BearerAuth, JWTAuth
from airflow_kling.api.client import KlingClient
from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.routes.multi_image_to_image import ROUTE, MultiImageToImageRequest
from airflow_kling.api.tasks import KlingTask
from airflow_kling.emulator import Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import (
    KlingAccountError,
    KlingAPIError,
    KlingAuthenticationError,
    KlingBadRequestError,
    KlingConnectionError,
    KlingContentRejectedError,
    KlingError,
    KlingPermissionError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)

ALL = list(GATEWAYS)


class Asker:
    """The free calls of either client, called the same way; keeps what it would have slept."""

    def __init__(self, kind: str, url: str, key: str, gateway: str = "cometapi", **options: Any) -> None:
        self.slept: list[float] = []
        self._kind = kind
        self._auth = BearerAuth(key)
        self._options: dict[str, Any] = {
            "gateway": GATEWAYS[gateway],
            "base_url": url,
            "random_fraction": lambda: 0.0,
            **options,
        }

    def sends(self, fault: dict[str, Any]) -> int:
        """How often one try is sent: aiohttp itself sends a GET once more when the connection is dropped."""
        return 2 if self._kind == "async" and fault["action"].startswith("drop") else 1

    async def _asleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncKlingClient(self._auth, sleep=self._asleep, **self._options) as client:
            return await getattr(client, method)(*args, **kwargs)

    def list(self, **page: float) -> Any:
        """A page of the account's tasks; the asynchronous client reads no more than their statuses."""
        return self.__getattr__("list_statuses" if self._kind == "async" else "list")(**page)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._kind == "async":
                return asyncio.run(self._ask(method, *args, **kwargs))
            with KlingClient(self._auth, sleep=self.slept.append, **self._options) as client:
                return getattr(client, method)(*args, **kwargs)

        return call


@pytest.fixture(params=["sync", "async"])
def asker(request: pytest.FixtureRequest, emulator: Emulator) -> Callable[..., Asker]:
    def make(gateway: str = "cometapi", url: str = emulator.url, key: str = emulator.api_key, **options: Any) -> Asker:
        return Asker(request.param, url, key, gateway, **options)

    return make


@pytest.fixture
def paying(emulator: Emulator) -> Callable[..., KlingClient]:
    def make(gateway: str = "cometapi", **options: Any) -> KlingClient:
        given: dict[str, Any] = {"base_url": emulator.url, "sleep": lambda s: pytest.fail(f"slept {s}"), **options}
        return KlingClient(BearerAuth(emulator.api_key), gateway=GATEWAYS[gateway], **given)

    return make


@pytest.fixture
def request_(subjects: list[str]) -> MultiImageToImageRequest:
    return MultiImageToImageRequest.parse({"subject_images": subjects, "prompt": "two friends"})


def posts(emulator: Emulator) -> int:
    sent: int = emulator.ledger()["requests"]["create"]
    return sent


def created(emulator: Emulator) -> int:
    made: int = emulator.ledger()["totals"]["created"]
    return made


# --- create -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ALL)
def test_create_and_get(gateway: str, emulator: Emulator, paying: Any, asker: Any, subjects: list[str]) -> None:
    asked = {"prompt": "two friends", "n": 3, "aspect_ratio": "4:3", "external_task_id": "mine"}
    request = MultiImageToImageRequest.parse({"subject_images": subjects, "scene_image": subjects[0], **asked})
    with paying(gateway) as client:
        task = client.create(request)
    assert task.status == "submitted"
    assert task.request_id
    [entry] = emulator.ledger()["accounts"]["default"]["tasks"]
    assert entry["task_id"] == task.kling_task_id
    assert entry["gateway"] == gateway
    assert {name: entry["request"][name] for name in asked} == asked
    assert ROUTE.endpoint(gateway).spellings.get("scene_image", "scene_image") in entry["request"]

    assert asker(gateway).get(task.kling_task_id).status == "submitted"
    emulator.advance(60)
    assert asker(gateway).get(task.kling_task_id).status == "processing"
    emulator.advance(60)
    finished = asker(gateway).get(task.kling_task_id)
    assert finished.status == "succeed"
    assert finished.external_task_id == "mine"
    assert [image.index for image in finished.results] == [0, 1, 2]
    assert finished.unit_deduction == "48"
    assert finished.updated_at > finished.created_at


ONCE = [
    ({"action": "drop"}, KlingConnectionError, 0, "may have been created"),
    ({"action": "drop_after"}, KlingConnectionError, 1, "may have been created"),
    ({"action": "error", "code": 5000}, KlingServerError, 0, "may have been created"),
    ({"action": "error_after", "code": 5000}, KlingServerError, 1, "may have been created"),
    ({"action": "error_after", "code": 5002}, KlingServerError, 1, "may have been created"),
    ({"action": "error", "status": 524}, KlingServerError, 0, "may have been created"),
    ({"action": "html"}, KlingServerError, 0, "may have been created"),
    ({"action": "html", "status": 200}, KlingServerError, 0, "may have been created"),
    ({"action": "html", "status": 404}, KlingAPIError, 0, "Nothing was created"),
    ({"action": "redirect"}, KlingAPIError, 0, "Nothing was created"),
    ({"action": "error", "code": 5001}, KlingServerError, 0, "Nothing was created"),
    ({"action": "error", "code": 1302, "retry_after": 1}, KlingRateLimitError, 0, "Nothing was created"),
    ({"action": "error", "code": 1303}, KlingRateLimitError, 0, "Nothing was created"),
    ({"action": "error", "code": 1101}, KlingAccountError, 0, "Nothing was created"),
    ({"action": "error", "code": 1103}, KlingPermissionError, 0, "Nothing was created"),
    ({"action": "error", "code": 1201}, KlingBadRequestError, 0, "Nothing was created"),
    ({"action": "error", "code": 1301}, KlingContentRejectedError, 0, "Nothing was created"),
    ({"action": "error", "code": 1000}, KlingAuthenticationError, 0, "Nothing was created"),
    (
        {"action": "error", "status": 403, "code": "insufficient_user_quota"},
        KlingAccountError,
        0,
        "Nothing was created",
    ),
]


@pytest.mark.parametrize(("fault", "kind", "tasks", "money"), ONCE, ids=[str(row[0]) for row in ONCE])
def test_the_paid_call_is_sent_exactly_once(
    fault: dict[str, Any],
    kind: type[KlingError],
    tasks: int,
    money: str,
    emulator: Emulator,
    paying: Any,
    request_: MultiImageToImageRequest,
) -> None:
    emulator.faults.add(on="create", **fault)
    with paying() as client, pytest.raises(KlingError) as caught:
        client.create(request_)
    assert type(caught.value) is kind
    assert money in str(caught.value)
    assert posts(emulator) == 1
    assert created(emulator) == tasks


def test_a_dropped_create_says_that_it_may_have_arrived(
    emulator: Emulator, paying: Any, request_: MultiImageToImageRequest
) -> None:
    emulator.faults.add(on="create", action="drop_after")
    with paying() as client, pytest.raises(KlingConnectionError) as caught:
        client.create(request_)
    assert caught.value.request_sent


def test_a_create_that_times_out_is_not_sent_again(
    emulator: Emulator, paying: Any, request_: MultiImageToImageRequest
) -> None:
    fault = emulator.faults.add(on="create", action="hold", point="after")
    with paying(timeout=0.2) as client, pytest.raises(KlingConnectionError, match="ReadTimeout") as caught:
        client.create(request_)
    emulator.faults.wait_until_held(fault, timeout=60)  # it has arrived by then
    emulator.faults.release(fault)
    assert caught.value.request_sent
    assert posts(emulator) == created(emulator) == 1


def test_a_refused_create_is_sent_again_when_somebody_listens(
    closed_port: int, request_: MultiImageToImageRequest
) -> None:
    with contextlib.ExitStack() as stack:
        started: list[Emulator] = []

        def sleep(seconds: float) -> None:
            started.append(stack.enter_context(serve(EmulatorConfig(port=closed_port))))

        client = KlingClient(
            BearerAuth(EmulatorConfig().accounts[0].api_key), base_url=f"http://127.0.0.1:{closed_port}", sleep=sleep
        )
        with client:
            task = client.create(request_)
        [emulator] = started
        assert posts(emulator) == created(emulator) == 1
        assert emulator.state.find("default", emulator.state.of_account("default")[0].endpoint, task.kling_task_id)


def test_a_create_that_stays_refused_ends(closed_port: int, request_: MultiImageToImageRequest) -> None:
    slept: list[float] = []
    url = f"http://127.0.0.1:{closed_port}"
    with (
        KlingClient(BearerAuth("k"), base_url=url, sleep=slept.append, random_fraction=lambda: 0.0) as client,
        pytest.raises(KlingConnectionError, match="Nothing was created") as caught,
    ):
        client.create(request_)
    assert not caught.value.request_sent
    assert slept == [1.0] * 4


def test_a_refused_create_is_not_tried_again_past_its_deadline(
    closed_port: int, request_: MultiImageToImageRequest
) -> None:
    with (
        KlingClient(BearerAuth("k"), base_url=f"http://127.0.0.1:{closed_port}", sleep=pytest.fail) as client,
        pytest.raises(KlingConnectionError),
    ):
        client.create(request_, deadline=0)


def test_what_the_server_refuses_is_what_the_client_reports(
    emulator: Emulator, paying: Any, subjects: list[str]
) -> None:
    request = MultiImageToImageRequest.parse({"subject_images": subjects, "external_task_id": "mine"})
    with paying() as client:
        client.create(request)
        with pytest.raises(KlingBadRequestError, match="'mine' already exists") as caught:
            client.create(request)
    assert (caught.value.http_status, caught.value.code) == (400, "1201")
    assert caught.value.request_id
    assert created(emulator) == 1


# --- free calls -------------------------------------------------------------------------------------------------------

PASSING = [
    {"action": "error", "code": 5000},
    {"action": "error", "code": 5001},
    {"action": "error", "code": 5002},
    {"action": "error", "status": 500},
    {"action": "error", "status": 524},
    {"action": "error", "code": 1302},
    {"action": "error", "code": 1303},
    {"action": "error", "status": 429},
    {"action": "html"},
    {"action": "html", "status": 200},
    {"action": "html", "status": 524},
    {"action": "html", "status": 401},
    {"action": "html", "status": 404},
    {"action": "redirect", "status": 301},
    {"action": "redirect", "status": 302},
    {"action": "drop"},
    {"action": "drop_after"},
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_get_is_repeated(fault: dict[str, Any], kling: Emulator, asker: Any, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    kling.faults.add(on="query", times=2, **fault)
    client = asker()
    assert client.get(task_id).kling_task_id == task_id
    assert kling.ledger()["requests"]["query"] == 3
    assert client.slept == [1.0] * (2 // client.sends(fault))


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_get_ends_after_five_tries(
    fault: dict[str, Any], kling: Emulator, asker: Any, submitted: Callable[..., str]
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", **fault)
    client = asker()
    with pytest.raises(KlingError) as caught:
        client.get(task_id)
    assert caught.value.retryable
    assert caught.value.kling_task_id == task_id
    assert len(client.slept) == 4
    assert kling.ledger()["requests"]["query"] == 5 * client.sends(fault)
    assert "created" not in str(caught.value)


FINAL = [
    ({"action": "error", "code": 1000}, KlingAuthenticationError),
    ({"action": "error", "status": 401}, KlingAuthenticationError),
    ({"action": "error", "code": 1101}, KlingAccountError),
    ({"action": "error", "code": 1103}, KlingPermissionError),
    ({"action": "error", "status": 500, "code": "invalid_request"}, KlingBadRequestError),
    ({"action": "error", "status": 404, "body": {"code": None, "message": "404"}}, KlingAPIError),
]


@pytest.mark.parametrize(("fault", "kind"), FINAL, ids=[str(fault) for fault, _ in FINAL])
def test_get_is_not_repeated_where_that_cannot_help(
    fault: dict[str, Any], kind: type[KlingError], kling: Emulator, asker: Any, submitted: Callable[..., str]
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", **fault)
    client = asker()
    with pytest.raises(KlingError) as caught:
        client.get(task_id)
    assert type(caught.value) is kind
    assert kling.ledger()["requests"]["query"] == 1
    assert client.slept == []


@pytest.mark.parametrize("gateway", ALL)
def test_unknown_task(gateway: str, emulator: Emulator, asker: Any) -> None:
    with pytest.raises(KlingTaskNotFoundError) as caught:
        asker(gateway).get("8334")
    assert caught.value.kling_task_id == "8334"
    assert emulator.ledger()["requests"]["query"] == 1


def test_task_of_another_account_is_unknown(submitted: Callable[..., str], asker: Any) -> None:
    with pytest.raises(KlingTaskNotFoundError, match="account and gateway that created it"):
        asker(key="the-key-of-another-account").get(submitted())


@pytest.mark.parametrize(("retry_after", "seconds"), [(3, 3.0), ("3", 3.0), (7200, 60.0), ("soon", 1.0)])
def test_retry_after_is_slept(
    retry_after: int | str, seconds: float, kling: Emulator, asker: Any, submitted: Callable[..., str]
) -> None:
    task_id = submitted()
    kling.faults.add(on="query", action="error", code=1302, retry_after=retry_after, times=1)
    client = asker()
    client.get(task_id)
    assert client.slept == [seconds]


def test_retry_after_as_a_date_is_relative_to_the_date_of_the_answer(
    kling: Emulator, asker: Any, submitted: Callable[..., str]
) -> None:
    task_id = submitted()
    date = formatdate(time.time() + 30, usegmt=True)
    kling.faults.add(on="query", action="error", code=5001, retry_after=date, times=1)
    client = asker(clock=lambda: 1_600_000_000.0)
    client.get(task_id)
    assert 20 < client.slept[0] <= 35  # a server may put a Date on its answers that is a second old


def test_deadline_is_never_slept_past(kling: Emulator, asker: Any, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    kling.faults.add(on="query", action="error", code=1302, retry_after=30)
    client = asker(clock=lambda: 1000.0)
    with pytest.raises(KlingRateLimitError):
        client.get(task_id, deadline=1029.0)
    assert client.slept == []


def test_deadline_that_has_passed_leaves_one_try(kling: Emulator, asker: Any, submitted: Callable[..., str]) -> None:
    task_id = submitted()
    assert asker().get(task_id, deadline=0).kling_task_id == task_id
    assert asker().get(task_id, deadline=-math.inf).kling_task_id == task_id


@pytest.mark.parametrize("depth", [2, 3])
def test_wrapped_envelope(depth: int, kling: Emulator, asker: Any, submitted: Callable[..., str]) -> None:
    task_id = submitted(n=2)
    kling.faults.add(on="query", action="wrapped", depth=depth)
    assert asker().get(task_id).status == "submitted"
    kling.advance(120)
    task: KlingTask = asker().get(task_id)
    assert (task.kling_task_id, task.status) == (task_id, "succeed")
    assert len(task.results) == 2


def test_sparse_answers(asker: Any, subjects: list[str]) -> None:
    with serve(EmulatorConfig(sparse=True, image_size=64)) as sparse:
        with KlingClient(BearerAuth(sparse.api_key), base_url=sparse.url) as client:
            task = client.create(MultiImageToImageRequest.parse({"subject_images": subjects, "n": 2}))
        assert task == KlingTask(kling_task_id=task.kling_task_id)
        sparse.advance(8)
        finished = asker(url=sparse.url, key=sparse.api_key).get(task.kling_task_id)
        assert [image.index for image in finished.results] == [0, 1]
        assert finished.unit_deduction is None


def test_failed_task_keeps_the_reason(kling: Emulator, asker: Any, submitted: Callable[..., str]) -> None:
    kling.faults.add(on="create", action="fail_task", message="Image pixel is invalid")
    task_id = submitted()
    kling.advance(120)
    task = asker().get(task_id)
    assert (task.status, task.status_message, task.results) == ("failed", "Image pixel is invalid", ())


def test_lookup_by_external_id_and_list_on_the_official_gateway(
    emulator: Emulator, paying: Any, asker: Any, subjects: list[str]
) -> None:
    with paying("official") as client:
        tasks = [
            client.create(MultiImageToImageRequest.parse({"subject_images": subjects, "external_task_id": f"job-{i}"}))
            for i in range(3)
        ]
    ids = [task.kling_task_id for task in tasks]
    assert asker("official").get("job-1").kling_task_id == ids[1]
    assert [task.kling_task_id for task in asker("official").list()] == ids[::-1]
    assert [task.kling_task_id for task in asker("official").list(page=2, page_size=2)] == ids[:1]
    assert asker("official").list(page=3) == []
    with pytest.raises(KlingBadRequestError, match="pageSize"):
        asker("official").list(page_size=501)


def test_list_is_repeated(emulator: Emulator, asker: Any) -> None:
    emulator.faults.add(on="list", action="error", code=5000, times=1)
    client = asker("official")
    assert client.list() == []
    assert client.slept == [1.0]


def test_refused_connection(asker: Any, closed_port: int) -> None:
    client = asker(url=f"http://127.0.0.1:{closed_port}")
    with pytest.raises(KlingConnectionError, match="the request was not sent") as caught:
        client.get("8334")
    assert not caught.value.request_sent
    assert len(client.slept) == 4


OK = b'{"code": 0, "data": {"task_id": "8334", "task_status": "processing"}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n"
GOOD = HEAD % len(OK) + b"\r\n" + OK
ODD = {
    "cut off": HEAD % (len(OK) + 10) + b"\r\n" + OK,
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
    "damaged gzip": HEAD % len(OK) + b"Content-Encoding: gzip\r\n\r\n" + OK,
    "half of the JSON": HEAD % 20 + b"\r\n" + OK[:20],
    "not UTF-8": HEAD % 2 + b"\r\n\xff\xff",
    "no content": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    "other JSON": HEAD % 2 + b"\r\n[]",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_are_asked_for_again(name: str, raw_server: Any, asker: Any) -> None:
    url, requests = raw_server(ODD[name], GOOD)
    assert asker(url=url).get("8334").status == "processing"
    assert len(requests) == 2


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_to_a_create_leave_open_what_happened(
    name: str, raw_server: Any, paying: Any, request_: MultiImageToImageRequest
) -> None:
    url, requests = raw_server(ODD[name], GOOD)
    with paying(base_url=url) as client, pytest.raises(KlingError, match="may have been created"):
        client.create(request_)
    assert len(requests) == 1


MISLED = b"HTTP/1.1 302 Found\r\nLocation: http://[fe80::1%\xff]/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("method", ["get", "list"])
def test_what_the_http_library_stumbles_over_is_an_error_of_ours(method: str, raw_server: Any, asker: Any) -> None:
    url, _ = raw_server(*[MISLED] * 5)
    with pytest.raises(KlingError):
        getattr(asker("official", url=url), method)(**({"kling_task_id": "8334"} if method == "get" else {}))


def test_what_the_http_library_stumbles_over_leaves_open_what_a_create_did(
    raw_server: Any, paying: Any, request_: MultiImageToImageRequest
) -> None:
    url, requests = raw_server(MISLED, GOOD)
    with paying(base_url=url) as client, pytest.raises(KlingConnectionError, match="may have been created") as caught:
        client.create(request_)
    assert caught.value.request_sent
    assert len(requests) == 1


BLANKS = b" " * 40_000_000  # JSON may have them, so the answer is a valid one
TOO_LONG = {
    "plain": HEAD % (len(BLANKS) + len(OK)) + b"\r\n" + BLANKS + OK,
    "inflated": (HEAD % len(packed := gzip.compress(BLANKS + OK, 1)) + b"Content-Encoding: gzip\r\n\r\n" + packed),
}


@pytest.mark.parametrize("method", ["get", "list"])
@pytest.mark.parametrize("name", TOO_LONG)
def test_answer_without_end_is_not_read_to_its_end(name: str, method: str, raw_server: Any, asker: Any) -> None:
    url, _ = raw_server(TOO_LONG[name])
    ask = getattr(asker("official", url=url), method)
    with pytest.raises(KlingServerError, match=r"more than \d+ bytes") as caught:
        ask(deadline=0, **({"kling_task_id": "8334"} if method == "get" else {}))
    assert caught.value.retryable
    assert caught.value.kling_task_id == ("8334" if method == "get" else None)


def test_a_create_with_an_answer_without_end_leaves_open_what_happened(
    raw_server: Any, paying: Any, request_: MultiImageToImageRequest
) -> None:
    url, requests = raw_server(TOO_LONG["plain"], GOOD)
    with paying(base_url=url) as client, pytest.raises(KlingServerError, match="may have been created"):
        client.create(request_)
    assert len(requests) == 1


@pytest.fixture
def trickling() -> Iterator[str]:
    """A server that sends its answer at one byte every 50 ms, so that each piece is in time."""
    listener, stopped = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def run() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(HEAD % 1000 + b"\r\n")
            while not stopped.wait(0.05):
                connection.sendall(b" ")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stopped.set()
    thread.join()
    listener.close()


def test_answer_that_trickles_in_holds_a_worker_no_longer_than_its_deadline(
    trickling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 960.0

    def later() -> float:
        nonlocal now
        now += 40
        return now

    monkeypatch.setattr("airflow_kling.api.transport.time", SimpleNamespace(monotonic=later))
    with (
        KlingClient(BearerAuth("k"), base_url=trickling, timeout=60, clock=lambda: now) as client,
        pytest.raises(KlingConnectionError, match="trickles"),
    ):
        client.get("8334", deadline=1100.0)
    assert now == 1120.0


def test_headers(raw_server: Any, asker: Any) -> None:
    url, requests = raw_server(GOOD)
    asker(url=url, key="sk-key").get("8334")
    head = requests[0].decode().lower()
    assert "authorization: bearer sk-key\r\n" in head
    assert "user-agent: airflow-provider-kling" in head
    assert "accept: application/json" in head


def test_redirect_is_not_followed_with_the_key(raw_server: Any, asker: Any) -> None:
    other, received = raw_server(GOOD)
    moved = f"HTTP/1.1 302 Found\r\nLocation: {other}/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    url, _ = raw_server(moved.encode())
    with pytest.raises(KlingAPIError, match="redirect"):
        asker(url=url).get("8334", deadline=0)
    assert received == []


def test_body_is_json_in_utf_8(raw_server: Any, paying: Any, subjects: list[str]) -> None:
    url, requests = raw_server(GOOD)
    with paying(base_url=url) as client:
        client.create(MultiImageToImageRequest.parse({"subject_images": subjects, "prompt": "Prüfung 🎨"}))
    assert json.loads(requests[0].partition(b"\r\n\r\n")[2])["prompt"] == "Prüfung 🎨"


# --- access key and secret key ----------------------------------------------------------------------------------------


def test_pair_signs_for_the_official_gateway(emulator: Emulator, subjects: list[str]) -> None:
    assert emulator.access_key
    assert emulator.secret_key
    auth = JWTAuth(emulator.access_key, emulator.secret_key)
    with KlingClient(auth, base_url=emulator.url, gateway=GATEWAYS["official"]) as client:
        task = client.create(MultiImageToImageRequest.parse({"subject_images": subjects}))
        assert client.get(task.kling_task_id).status == "submitted"


@pytest.mark.parametrize("code", [1003, 1004])
def test_token_out_of_time_is_signed_anew_once(code: int, emulator: Emulator, subjects: list[str]) -> None:
    assert emulator.access_key
    assert emulator.secret_key
    emulator.faults.add(on="create", action="error", code=code, times=1)
    auth = JWTAuth(emulator.access_key, emulator.secret_key)
    with KlingClient(auth, base_url=emulator.url, gateway=GATEWAYS["official"]) as client:
        client.create(MultiImageToImageRequest.parse({"subject_images": subjects}))
    assert posts(emulator) == 2
    assert created(emulator) == 1


def test_token_that_stays_out_of_time_is_an_authentication_error(emulator: Emulator) -> None:
    assert emulator.access_key
    assert emulator.secret_key
    emulator.faults.add(on="query", action="error", code=1004)
    auth = JWTAuth(emulator.access_key, emulator.secret_key)
    with (
        KlingClient(auth, base_url=emulator.url, gateway=GATEWAYS["official"]) as client,
        pytest.raises(KlingAuthenticationError, match="clock") as caught,
    ):
        client.get("8334")
    assert caught.value.code == "1004"
    assert emulator.ledger()["requests"]["query"] == 2


@pytest.mark.parametrize("skew", [-7200, -3600, -60, 60, 3600, 7200])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_machine_whose_clock_is_off_signs_by_the_apis(
    kind: str, skew: float, emulator: Emulator, subjects: list[str]
) -> None:
    assert emulator.access_key
    assert emulator.secret_key
    auth = JWTAuth(emulator.access_key, emulator.secret_key, clock=lambda: time.time() + skew)
    options: dict[str, Any] = {"base_url": emulator.url, "gateway": GATEWAYS["official"]}

    async def status(task_id: str) -> str:
        async with AsyncKlingClient(auth, **options) as client:
            return (await client.status(task_id)).status

    with KlingClient(auth if kind == "sync" else BearerAuth(emulator.api_key), **options) as client:
        task = client.create(MultiImageToImageRequest.parse({"subject_images": subjects}))
        told = client.get(task.kling_task_id).status if kind == "sync" else asyncio.run(status(task.kling_task_id))
    assert told == "submitted"
    assert created(emulator) == 1


# --- answers in another shape -----------------------------------------------------------------------------------------


ODD_CREATIONS: list[dict[str, Any]] = [
    {"code": 200, "data": {"task_id": "8334", "task_status": "submitted"}},
    {"code": None, "data": {"task_id": "8334"}},
    {"data": {"task_id": "8334"}},
    {"code": "SUCCESS", "data": [{"task_id": "8334"}]},
    {"task_id": "8334", "task_status": "submitted"},
    {"code": 0, "data": '{"task_id": "8334"}'},
]


@pytest.mark.parametrize("body", ODD_CREATIONS, ids=str)
def test_a_creation_in_an_odd_shape_is_one(
    body: Any, emulator: Emulator, paying: Any, request_: MultiImageToImageRequest
) -> None:
    emulator.faults.add(on="create", action="error", status=200, body=body)
    with paying() as client:
        assert client.create(request_).kling_task_id == "8334"
    assert posts(emulator) == 1


def test_an_error_that_names_a_task_is_not_said_to_have_created_nothing(
    emulator: Emulator, paying: Any, request_: MultiImageToImageRequest
) -> None:
    body = {"code": 1201, "message": "external_task_id already exists", "data": {"task_id": "8334"}}
    emulator.faults.add(on="create", action="error", status=400, body=body)
    with paying() as client, pytest.raises(KlingBadRequestError, match="may have been created") as caught:
        client.create(request_)
    assert caught.value.kling_task_id == "8334"
    assert "Kling task 8334" in str(caught.value)


@pytest.mark.parametrize("nested", [False, True])
def test_a_model_that_is_discontinued_is_named_with_what_switches(
    nested: bool, emulator: Emulator, paying: Any, request_: MultiImageToImageRequest
) -> None:
    body: Any = {"code": 1203, "message": "The model is discontinued", "request_id": "r"}
    body = {"message": "m", "data": {"message": "m", "data": body}} if nested else body
    emulator.faults.add(on="create", action="error", status=404, body=body)
    with paying() as client, pytest.raises(KlingBadRequestError, match="Nothing was created") as caught:
        client.create(request_)
    for words in ("'kling-v2'", "'cometapi'", "model_name='kling-v2-1'", '"models": {"multi-image-to-image"'):
        assert words in str(caught.value)


@pytest.mark.parametrize("status", [200, 302, 403, 404, 502])
def test_a_page_in_place_of_the_api_is_named_with_status_and_host(
    status: int, emulator: Emulator, paying: Any, asker: Any, request_: MultiImageToImageRequest
) -> None:
    emulator.faults.add(action="redirect" if status == 302 else "html", status=status)
    host = emulator.url.removeprefix("http://")
    with paying() as client, pytest.raises(KlingError) as created:
        client.create(request_)
    with pytest.raises(KlingError) as asked:
        asker().get("8334", deadline=0)
    for caught in (created, asked):
        assert f"HTTP {status}" in str(caught.value)
        assert f"at {host}" in str(caught.value)


def test_an_answer_that_breaks_off_behind_the_id_names_the_task(
    paying: Any, raw_server: Any, request_: MultiImageToImageRequest
) -> None:
    part = b'{"code":0,"message":"SUCCEED","data":{"task_id":"8334","task_st'
    url, _ = raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + part)
    with paying(base_url=url) as client, pytest.raises(KlingConnectionError, match="Kling task 8334") as caught:
        client.create(request_)
    assert caught.value.kling_task_id == "8334"
    assert caught.value.request_sent
