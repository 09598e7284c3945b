"""What each fault does to a request, seen from the client and from the ledger."""

from __future__ import annotations

import asyncio
import socket
import threading
from email.utils import formatdate

import pytest
from starlette.responses import Response

from airflow_kling.emulator.faults import middleware
from airflow_kling.emulator.faults.book import FaultBook
from tests.unit.emulator.calls import PATHS, body, download
from tests.unit.emulator.faults.calls import add, created, get, image_url, made, post


@pytest.mark.parametrize("code", [1302, 1303, 1101, 5000, 5001, 5002, 1301, 1103])
def test_error_creates_nothing(emulator, http, code):
    add(http, on="create", action="error", code=code, times=1)
    answer = post(http)
    expected = {1302: 429, 1303: 429, 1101: 429, 5000: 500, 5001: 503, 5002: 504, 1301: 400, 1103: 403}[code]
    assert (answer.status_code, answer.json()["code"]) == (expected, code)
    assert created(emulator) == 0
    assert post(http).status_code == 200


def test_retry_after_in_seconds_and_as_a_date(emulator, http):
    date = formatdate(2_000_000_000, usegmt=True)
    add(http, on="create", action="error", code=1302, times=1, retry_after=7)
    add(http, on="create", action="error", code=1302, times=1, retry_after=date)
    assert [post(http).headers["retry-after"] for _ in range(2)] == ["7", date]


def test_errors_of_cometapi_and_any_body(emulator, http):
    add(http, on="create", action="error", status=403, code="insufficient_user_quota", message="no money", times=1)
    answer = post(http)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "insufficient_user_quota"
    assert answer.json()["error"]["message"].startswith("no money (request id: ")
    add(http, on="create", action="error", status=524, body={"odd": True})
    answer = post(http)
    assert (answer.status_code, answer.json()) == (524, {"odd": True})


def test_error_after_creates_a_task(emulator, http):
    add(http, on="create", action="error_after", code=5002, times=1)
    assert post(http).status_code == 504
    assert created(emulator) == 1


def test_error_after_keeps_a_refusal(emulator, http):
    add(http, on="create", action="error_after", code=5002)
    assert post(http, n=99).status_code == 400


@pytest.mark.parametrize(
    ("action", "order"), [("delay", ["slept 60.0", "processed"]), ("delay_after", ["processed", "slept 60.0"])]
)
def test_delays(monkeypatch, action, order):
    happened = []

    async def sleep(seconds):
        happened.append(f"slept {seconds}")

    async def process(fault):
        happened.append("processed")
        return Response()

    monkeypatch.setattr(middleware, "sleep", sleep)
    book = FaultBook()
    book.add(action=action, seconds=60)
    asyncio.run(middleware.handle(book, "create", dict, process))
    assert happened == order


def test_a_request_whose_client_has_gone_is_processed(emulator, http, monkeypatch):
    fault = add(http, on="create", action="hold", point="before")
    done = threading.Event()
    create = emulator.state.create

    def create_and_report(*arguments, **settings):
        task = create(*arguments, **settings)
        done.set()
        return task

    monkeypatch.setattr(emulator.state, "create", create_and_report)
    request = http.build_request("POST", PATHS["cometapi"], json=body())
    head = [f"POST {PATHS['cometapi']} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + request.content)
        emulator.faults.wait_until_held(fault, timeout=60)
    assert created(emulator) == 0
    emulator.faults.release(fault)
    assert done.wait(60)
    assert created(emulator) == 1


@pytest.mark.parametrize(("point", "tasks"), [("before", 0), ("after", 1)])
def test_hold_until_released(emulator, http, point, tasks):
    fault = add(http, on="create", action="hold", point=point)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(http)))
    thread.start()
    emulator.faults.wait_until_held(fault, timeout=60)
    assert created(emulator) == tasks
    assert http.get("/_emulator/faults").json()["faults"][0]["held"] == 1
    assert http.post(f"/_emulator/faults/{fault}/release").json() == {"released": 1}
    thread.join(60)
    assert answers[0].status_code == 200
    assert post(http).status_code == 200  # a released hold stops no more
    assert http.post("/_emulator/faults/none/release").status_code == 404


def test_html_and_redirects(emulator, http):
    task_id = made(http)
    add(http, on="query", action="html", times=1)
    add(http, on="query", action="html", status=200, times=1)
    add(http, on="query", action="redirect", status=301, location="https://example.org/moved", times=1)
    answers = [get(http, task_id) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502, 200, 301]
    assert answers[1].headers["content-type"].startswith("text/html")
    assert answers[2].headers["location"] == "https://example.org/moved"


def test_wrapped_envelopes(emulator, http):
    task_id = made(http)
    add(http, on="query", action="wrapped", times=1)
    add(http, on="query", action="wrapped", depth=3, times=1)
    two, three = (get(http, task_id).json() for _ in range(2))
    assert (two["code"], two["data"]["status"]) == ("success", "SUCCESS")
    assert two["data"]["data"]["task_status"] == "succeed"
    assert three["data"]["data"]["data"]["task_status"] == "succeed"
    add(http, on="create", action="wrapped", times=1)
    assert post(http).json()["data"]["data"]["task_id"]


@pytest.mark.parametrize(
    ("fault", "status", "code", "message"),
    [
        ({"code": 1201, "message": "Voice id not found"}, 400, 1201, "Voice id not found"),
        ({"code": 1102, "status": 200}, 200, 1102, "Resource pack depleted or expired"),
        ({}, 500, 5000, "Internal server error"),
    ],
)
def test_nested_errors(emulator, http, fault, status, code, message):
    add(http, on="create", action="nested_error", times=1, **fault)
    answer = post(http)
    told = answer.json()
    inner = told["data"]["data"]
    assert inner.pop("request_id")
    assert (answer.status_code, inner) == (status, {"code": code, "message": message})
    assert told == {"message": message, "data": {"message": message, "data": inner}}
    assert created(emulator) == 0


def test_bare_tasks(emulator, http):
    add(http, action="bare_task")
    task = post(http).json()
    assert (task["task_status"], "code" in task) == ("succeed", False)
    done = get(http, task["task_id"]).json()
    assert (done["task_id"], done["task_status"]) == (task["task_id"], "succeed")
    assert done["task_result"]["images"]


def test_faults_of_one_route(emulator, http):
    add(http, on="create", action="error", code=1302, match={"route": "image-generation"})
    assert post(http).status_code == 200
    assert http.post(PATHS["cometapi"], json={"prompt": "a fox"}).status_code == 429


def test_fail_task(emulator, http):
    add(http, on="create", action="fail_task", match={"prompt": "friends"}, times=1)
    add(http, on="create", action="fail_task", message="because", times=1)
    for reason in ("Failure to pass the risk control system", "because"):
        data = get(http, made(http)).json()["data"]
        assert (data["task_status"], data["task_status_msg"]) == ("failed", reason)
    assert emulator.ledger()["totals"]["billed_tasks"] == 0


def test_unknown_status(emulator, http):
    task_id = made(http)
    add(http, on="query", action="unknown_status", task_status="pondering", times=1)
    data = get(http, task_id).json()["data"]
    assert (data["task_status"], data["task_result"]) == ("pondering", {})
    assert get(http, task_id).json()["data"]["task_status"] == "succeed"


def test_expired_urls_and_wrong_content(emulator, http):
    url = image_url(http)
    add(http, on="image", action="expire_urls", times=1)
    add(http, on="image", action="not_an_image", times=1)
    assert download(url).status_code == 403
    answer = download(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"<html>")
