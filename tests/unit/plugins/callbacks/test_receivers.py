"""Whose callbacks are taken: those of the connections that the configuration names, and of no other."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from airflow_kling.exceptions import KlingInputError
from airflow_kling.plugins.callbacks.receivers import CACHED, ConnectionReceivers, Receiver, make_receiver

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
BODY = b'{"task_id": "8334"}'


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, **extra: Any) -> None:
    connection = {"conn_type": "kling", "password": "the-api-key", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def find(receivers: ConnectionReceivers, conn_id: str) -> Receiver | None:
    return asyncio.run(receivers.find(conn_id))


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    extra = {"callback_base_url": "https://example.com/x", "record_store": f"file://{tmp_path}"}
    connect(monkeypatch, "kling_default", **extra)
    return extra


def test_a_named_connection_has_a_receiver(connected: dict[str, Any]) -> None:
    receiver = find(ConnectionReceivers(["kling_default"]), "kling_default")
    assert receiver is not None
    assert receiver.secret == "the-api-key"
    assert "the-api-key" not in repr(receiver)


@pytest.mark.parametrize("conn_ids", [[], ["kling"], ["kling_default2", "KLING_DEFAULT"]], ids=str)
def test_another_has_none(conn_ids: list[str], connected: dict[str, Any]) -> None:
    assert find(ConnectionReceivers(conn_ids), "kling_default") is None


def test_secrets_come_in_order(connected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = {"gateway": "official", "access_key": "the-access-key", "secret_key": "the-secret-key"}
    connect(monkeypatch, "kling_default", **connected, **pair)
    receiver = find(ConnectionReceivers(["kling_default"]), "kling_default")
    assert receiver is not None
    assert receiver.secret == "the-secret-key"
    connect(monkeypatch, "kling_default", **connected, **pair, callback_secret="the-callback-secret")
    receiver = find(ConnectionReceivers(["kling_default"]), "kling_default")
    assert receiver is not None
    assert receiver.secret == "the-callback-secret"


WRONG: list[dict[str, Any]] = [
    {"callback_base_url": ""},
    {"record_store": ""},
    {"record_store": "nowhere"},
    {"webhook_secret": "whsec_abcde"},
    {"webhook_secret": "whsec_"},
    {"gateway": "none"},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_a_connection_that_is_wrong_takes_none_and_the_log_says_why(
    changes: dict[str, Any],
    connected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(monkeypatch, "kling_default", **{**connected, **changes})
    assert find(ConnectionReceivers(["kling_default"]), "kling_default") is None
    assert "Connection 'kling_default' takes no callbacks" in caplog.text
    assert "whsec_abcde" not in caplog.text


def test_a_connection_is_read_now_and_then_only(connected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    receivers = ConnectionReceivers(["kling_default"], clock=lambda: now[0])

    async def use() -> None:
        first = await receivers.find("kling_default")
        connect(monkeypatch, "kling_default", **connected, callback_secret="another")
        now[0] += CACHED - 0.01
        assert await receivers.find("kling_default") is first
        now[0] += 0.01
        later = await receivers.find("kling_default")
        assert later is not None
        assert later.secret == "another"

    asyncio.run(use())


def signed(body: bytes = BODY, *, at: float | None = None, secret: str = SECRET, **changes: str) -> dict[str, str]:
    now = int(time.time() if at is None else at)
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(now, UTC), body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature, **changes}


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return make_receiver("s", f"file://{tmp_path}", SECRET, aws_conn_id=None)


def test_kling_s_signature(receiver: Receiver) -> None:
    assert receiver.is_signed(BODY, signed())
    other = "v1,bm9uZQ== " + signed()["webhook-signature"]
    assert receiver.is_signed(BODY, signed(**{"webhook-signature": other}))


#: Made by each test: those that wait long for their turn would all be old.
WRONG_HEADERS: dict[str, Callable[[], dict[str, str]]] = {
    "none": dict,
    "of another secret": lambda: signed(secret="whsec_YW5vdGhlcg=="),
    "of another body": lambda: signed(b"{}"),
    "old": lambda: signed(at=time.time() - 3600),
    "of tomorrow": lambda: signed(at=time.time() + 86_400),
    "no version": lambda: signed(**{"webhook-signature": "x"}),
    "three parts": lambda: signed(**{"webhook-signature": "v1,a,b"}),
    "no base64": lambda: signed(**{"webhook-signature": "v1,a"}),
    "not ASCII": lambda: signed(**{"webhook-signature": "v1,ÿÿÿÿ"}),
    "time of nothing": lambda: signed(**{"webhook-timestamp": "nan"}),
    "time of text": lambda: signed(**{"webhook-timestamp": "now"}),
    "another id": lambda: signed(**{"webhook-id": "msg_2"}),
}


@pytest.mark.parametrize("headers", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_what_is_not_kling_s_signature(headers: Callable[[], dict[str, str]], receiver: Receiver) -> None:
    assert not receiver.is_signed(BODY, headers())


def test_a_body_that_is_no_text_is_not_signed(receiver: Receiver) -> None:
    assert not receiver.is_signed(b"\xff", signed())


def test_without_a_secret_no_signature_is_asked_for(tmp_path: Path) -> None:
    assert make_receiver("s", f"file://{tmp_path}", "", aws_conn_id=None).is_signed(BODY, {})


def test_without_the_library_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "standardwebhooks.webhooks", None)
    with pytest.raises(KlingInputError, match=r"install airflow-provider-kling\[callbacks\]"):
        make_receiver("s", f"file://{tmp_path}", SECRET, aws_conn_id=None)
