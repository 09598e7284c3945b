"""Makes the callbacks that are posted at each change of a task, and those that faults make of them."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_kling.emulator.faults.book import Fault, FaultBook
from airflow_kling.emulator.serializers import Answers, task_facts
from airflow_kling.emulator.tasks import Task

_OTHER_SECRET = "whsec_YW5vdGhlciBzZWNyZXQ="


@dataclass(frozen=True)
class Delivery:
    """One POST.

    :param due: Unix seconds of the emulator's clock
    :param secret: what it is signed with; None for no signature
    """

    task_id: str
    url: str
    content: bytes
    due: float
    secret: str | None


class Callbacks:
    """Makes callbacks.

    :param secret: what they are signed with, as Standard Webhooks says; None for no signature
    """

    def __init__(self, answers: Answers, faults: FaultBook, secret: str | None) -> None:
        self._answers = answers
        self._faults = faults
        self._secret = secret

    def deliveries(self, task: Task) -> list[Delivery]:
        """What is posted about the status that a task has now: one delivery, unless a fault changes that."""
        body = self._answers.task(task, task.base_url)
        url = task.creation.callback_url or ""
        delivery = Delivery(task.task_id, url, _json(body), self._answers.clock(), self._secret)
        facts = {**task_facts(task), "task_status": body["task_status"]}
        taken = self._faults.take("callback", facts)
        return [delivery] if taken is None else _changed(delivery, body, taken[1])

    @staticmethod
    def headers(delivery: Delivery) -> dict[str, str]:
        """The headers of a delivery, signed as it leaves."""
        headers = {"content-type": "application/json"}
        if delivery.secret is None:
            return headers
        from standardwebhooks.webhooks import Webhook

        # The receiver compares it with its own clock, which knows nothing of the emulator's.
        message_id, now = f"msg_{uuid.uuid4().hex}", int(time.time())
        signature = Webhook(delivery.secret).sign(
            message_id, datetime.fromtimestamp(now, UTC), delivery.content.decode()
        )
        return {
            **headers,
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature,
        }


def _changed(delivery: Delivery, body: dict[str, Any], fault: Fault) -> list[Delivery]:
    if fault.action == "drop":
        return []
    if fault.action == "twice":
        return [delivery, delivery]
    if fault.action == "delay":
        return [replace(delivery, due=delivery.due + fault.seconds)]
    if fault.action == "wrong_token":
        # As long as the right one, and as likely to be taken for it.
        base, _, token = delivery.url.rpartition("/")
        return [replace(delivery, url=f"{base}/{token[:-1]}{'A' if token[-1:] != 'A' else 'B'}")]
    if fault.action == "wrong_task":
        return [replace(delivery, content=_json({**body, "task_id": fault.task_id}))]
    return [replace(delivery, secret=_OTHER_SECRET)]  # wrong_signature


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
