"""The app as an ASGI server calls it: one answer for everything that is no genuine callback."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_kling.api.callbacks import make_callback_url
from airflow_kling.plugins.callbacks import app as module
from airflow_kling.plugins.callbacks.app import CallbackApp
from airflow_kling.plugins.callbacks.rate_limit import RateLimit
from airflow_kling.plugins.callbacks.receivers import Receiver, make_receiver
from airflow_kling.submission.callback_notes import read_note

SECRET = "a-secret-that-nobody-else-knows"
BODY = b'{"task_id": "8334"}'


def path(name: str = "job-7", secret: str = SECRET) -> str:
    return urlsplit(make_callback_url("https://h.example/kling-callbacks/kling_default", secret, name)).path


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return make_receiver(SECRET, f"file://{tmp_path}", "", aws_conn_id=None)


def app_of(receiver: Receiver, **options: Any) -> CallbackApp:
    async def find(place: str) -> Receiver | None:
        return receiver if place == "kling_default" else None

    return CallbackApp(find, **options)


async def call(app: CallbackApp, to: str, body: bytes = BODY, method: str = "POST") -> tuple[int, bytes, Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": to, "headers": []}, receive, send)
    start, end = sent
    return start["status"], end["body"], sorted(start["headers"])


def test_a_callback_is_noted(receiver: Receiver) -> None:
    assert asyncio.run(call(app_of(receiver), path()))[0] == 200
    assert read_note(receiver.store, "job-7") == "8334"


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "GET": (path(), BODY, "GET"),
    "HEAD": (path(), BODY, "HEAD"),
    "OPTIONS": (path(), BODY, "OPTIONS"),
    "PUT": (path(), BODY, "PUT"),
    "token of another secret": (path(secret="x"), BODY, "POST"),
    "another connection": (path().replace("kling_default", "kling_other"), BODY, "POST"),
    "no connection": ("/" + "/".join(path().split("/")[-2:]), BODY, "POST"),
    "no token": (path().rpartition("/")[0], BODY, "POST"),
    "more behind the token": (path() + "/", BODY, "POST"),
    "a name that climbs": (path().replace("job-7", "../job-7"), BODY, "POST"),
    "root": ("/", BODY, "POST"),
    "nothing": ("", BODY, "POST"),
    "no JSON": (path(), b"<html>", "POST"),
    "no id": (path(), b"{}", "POST"),
    "an id that climbs": (path(), b'{"task_id": "../../x"}', "POST"),
}


def test_everything_else_gets_the_same_answer(receiver: Receiver, tmp_path: Path) -> None:
    app = app_of(receiver)

    async def ask() -> list[Any]:
        return [await call(app, *request) for request in REFUSED.values()]

    answers = asyncio.run(ask())
    assert answers == [answers[0]] * len(REFUSED)
    assert answers[0][:2] == (404, b"Not Found")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_the_token_is_checked_before_anything_is_read_or_counted(receiver: Receiver) -> None:
    limit = RateLimit(each=1, overall=1)
    app = app_of(receiver, limit=limit)

    async def never() -> Any:
        pytest.fail("the body was read")

    async def send(_: Any) -> None: ...

    async def use() -> int:
        scope = {"type": "http", "method": "POST", "path": path(secret="x"), "headers": []}
        for _ in range(100):
            await app(scope, never, send)
        return (await call(app, path()))[0]

    assert asyncio.run(use()) == 200


def test_too_many_of_one_submission(receiver: Receiver) -> None:
    now = [0.0]
    app = app_of(receiver, limit=RateLimit(each=2), clock=lambda: now[0])

    async def use() -> list[int]:
        statuses = [(await call(app, path()))[0] for _ in range(4)]
        statuses.append((await call(app, path("job-8")))[0])
        now[0] = 60
        return [*statuses, (await call(app, path()))[0]]

    assert asyncio.run(use()) == [200, 200, 429, 429, 200, 200]


def test_the_first_note_stays_and_the_log_says_it_once(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(receiver)
    module._warn_of_another.cache_clear()

    async def use() -> list[int]:
        bodies = [BODY, *[b'{"task_id": "9999"}'] * 3]
        return [(await call(app, path(), body))[0] for body in bodies]

    assert asyncio.run(use()) == [200] * 4
    assert read_note(receiver.store, "job-7") == "8334"
    assert caplog.text.count("names Kling task 9999; the first one, 8334, stays") == 1


def test_two_at_once_agree_on_one(receiver: Receiver) -> None:
    app = app_of(receiver)

    async def use() -> None:
        bodies = [json.dumps({"task_id": str(number)}).encode() for number in range(10)]
        assert {status for status, *_ in await asyncio.gather(*(call(app, path(), b) for b in bodies))} == {200}

    asyncio.run(use())
    assert read_note(receiver.store, "job-7") in set(map(str, range(10)))


class Broken:
    """A storage that fails, or hangs until the test ends."""

    def __init__(self, until: threading.Event | None = None) -> None:
        self.until = until

    def download(self, *_: Any) -> bool:
        if self.until is None:
            raise OSError("the bucket is away")
        self.until.wait(60)
        return False


def test_a_storage_that_fails_asks_for_another_delivery(caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(Receiver(SECRET, Broken()))  # type: ignore[arg-type]
    assert asyncio.run(call(app, path()))[0] == 503
    assert "The callback for job-7, Kling task 8334, is not noted" in caplog.text
    assert path().rpartition("/")[2] not in caplog.text


def test_a_storage_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORAGE_SECONDS", 0.05)
    ended = threading.Event()
    app = app_of(Receiver(SECRET, Broken(ended)))  # type: ignore[arg-type]
    try:
        assert asyncio.run(call(app, path()))[0] == 503
    finally:
        ended.set()


def test_other_kinds_of_connection(receiver: Receiver) -> None:
    sent: list[Any] = []
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app_of(receiver)({"type": "lifespan"}, receive, send))
    asyncio.run(app_of(receiver)({"type": "websocket", "path": path()}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
