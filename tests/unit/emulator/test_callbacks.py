"""Callbacks that are signed, and what faults make of them: late, twice, out of order, forged."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from airflow_kling.emulator.faults.book import Fault
from tests.unit.emulator.calls import client, create

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[tuple[str, dict[str, str], bytes]]]]:
    """Where callbacks arrive: path, headers and body of each."""
    posts: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posts.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posts
    finally:
        server.shutdown()
        server.server_close()


def status(post: tuple[str, dict[str, str], bytes]) -> str:
    return json.loads(post[2])["task_status"]


@pytest.fixture
def posted(emulator, http):
    """``posted(count, fault)``: create a task with a callback URL; what arrives, while the clock moves on."""
    with receiver() as (base, posts):

        def run(moves: list[float], *faults: dict[str, Any]):
            for fault in faults:
                emulator.faults.add(fault)
            run.task_id = create(http, callback_url=f"{base}/kling/job-7/token", external_task_id="job-7")
            arrived = []
            for seconds in moves:
                emulator.advance(seconds)
                arrived.append(posts.get(timeout=60))
            run.rest = posts
            return arrived

        yield run


def test_they_are_not_signed_by_default(posted):
    [(path, headers, _)] = posted([0])
    assert path == "/kling/job-7/token"
    assert headers["content-type"] == "application/json"
    assert not [name for name in headers if name.startswith("webhook-")]


def test_they_are_signed_as_the_standard_says():
    config = EmulatorConfig(duration=Duration(30), webhook_secret=SECRET, fetch_references=False)
    with serve(config) as emulator, client(emulator) as http, receiver() as (base, posts):
        create(http, callback_url=base)
        _, headers, body = posts.get(timeout=60)
        emulator.faults.add(on="callback", action="wrong_signature")
        create(http, callback_url=base)
        _, forged, other = posts.get(timeout=60)
    assert Webhook(SECRET).verify(body, headers)["task_status"] == "submitted"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(other, forged)


def test_twice(posted):
    first, second = posted([0, 0], {"on": "callback", "action": "twice", "times": 1})
    assert first[2] == second[2]


def test_out_of_order(posted):
    """The first one is sent late, with what was true when it was due."""
    late = {"action": "delay", "on": "callback", "seconds": 25, "match": {"task_status": "submitted"}}
    arrived = posted([10, 16], late)
    assert [status(post) for post in arrived] == ["processing", "submitted"]


def test_never(posted, emulator):
    [post] = posted([10], {"action": "drop", "on": "callback", "times": 1})
    assert status(post) == "processing"


def test_a_wrong_token_is_as_long_as_the_right_one(posted):
    [(path, _, _)] = posted([0], {"action": "wrong_token"})
    assert path == "/kling/job-7/tokeA"


def test_another_task(posted):
    [(_, _, body)] = posted([0], {"action": "wrong_task", "task_id": "8334", "match": {"external_task_id": "job-7"}})
    assert json.loads(body)["task_id"] == "8334"
    assert posted.task_id != "8334"


def test_faults_of_requests_leave_callbacks_alone(posted, emulator):
    faults = [emulator.faults.add(action=action, times=1, after=1) for action in ("drop", "delay")]
    assert status(posted([0])[0]) == "submitted"
    assert [one["hits"] for one in emulator.faults.describe()] == [0] * len(faults)


@pytest.mark.parametrize("action", ["error", "html", "hold", "truncate"])
def test_what_makes_no_sense_for_a_callback_is_refused(action):
    with pytest.raises(ValidationError, match="works on"):
        Fault(on="callback", action=action)
    with pytest.raises(ValidationError, match="works on callback"):
        Fault(on="create", action="twice")
