"""Tasks as the JSON that the gateways answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from airflow_kling.emulator.tasks import FAILED, PROCESSING, SUBMITTED, SUCCEED, Task

_WRAPPED_STATUS = {SUBMITTED: "SUBMITTED", PROCESSING: "IN_PROGRESS", SUCCEED: "SUCCESS", FAILED: "FAILURE"}
_WRAPPED_PROGRESS = {SUBMITTED: "0%", PROCESSING: "50%", SUCCEED: "100%", FAILED: "100%"}


class UrlSigner:
    """Makes and checks the signed URLs of result images.

    :param ttl: seconds that a URL lives
    :param clock: Unix time in seconds
    :param suffix: file name extension
    """

    def __init__(self, ttl: float, clock: Callable[[], float], suffix: str) -> None:
        self._ttl = ttl
        self._clock = clock
        self._suffix = suffix
        self._secret = secrets.token_bytes(16)

    def _token(self, task_id: str, name: str, expires: str) -> str:
        text = f"{task_id}/{name}?{expires}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:40]

    def url(self, base_url: str, task_id: str, index: int, *, watermark: bool = False) -> str:
        """The address of a result image, valid from now on for the time to live."""
        name = f"{index}{'-watermark' if watermark else ''}.{self._suffix}"
        expires = f"{self._clock() + self._ttl:.3f}"
        query = urlencode({"token": self._token(task_id, name, expires), "expires": expires})
        return f"{base_url}/_images/{task_id}/{name}?{query}"

    def refusal(self, task_id: str, name: str, token: str, expires: str) -> str | None:
        """Why a URL with these parts is refused, None for a good one."""
        if not hmac.compare_digest(token.encode(), self._token(task_id, name, expires).encode()):
            return "SignatureDoesNotMatch"
        return "Request has expired" if self._clock() >= float(expires) else None


@dataclass(frozen=True)
class Answers:
    """Turns tasks into answers.

    :param signer: for the URLs of results
    :param clock: Unix time in seconds
    """

    signer: UrlSigner
    clock: Callable[[], float]

    def task(self, task: Task, base_url: str, *, sparse: bool = False) -> dict[str, Any]:
        """The task object of queries, lists and callbacks.

        :param sparse: leave out what CometAPI sometimes leaves out
        """
        now = self.clock()
        status = task.status(now)
        external_id = task.creation.external_task_id
        data: dict[str, Any] = {
            "task_id": task.task_id,
            "task_status": status,
            "task_status_msg": (task.failure or "") if status == FAILED else "",
            "task_info": {"external_task_id": external_id} if external_id and not sparse else {},
            "created_at": int(task.created_at * 1000),
            "updated_at": int(task.changed_at(now) * 1000),
            "task_result": {},
        }
        if status == SUCCEED:
            data["task_result"] = {"images": self._images(task, base_url, sparse=sparse)}
            if not sparse:
                data["final_unit_deduction"] = str(task.units)
        return data

    def _images(self, task: Task, base_url: str, *, sparse: bool) -> list[dict[str, Any]]:
        images = []
        for index in range(task.creation.n):
            image: dict[str, Any] = {} if sparse else {"index": index}
            image["url"] = self.signer.url(base_url, task.task_id, index)
            if task.creation.watermark:
                image["watermark_url"] = self.signer.url(base_url, task.task_id, index, watermark=True)
            images.append(image)
        return images

    def created(self, task: Task, *, sparse: bool = False) -> dict[str, Any]:
        """The ``data`` of the answer to a create request."""
        if sparse:
            return {"task_id": task.task_id}
        now, external_id = self.clock(), task.creation.external_task_id
        return {
            "task_id": task.task_id,
            "task_status": task.status(now),
            "task_info": {"external_task_id": external_id} if external_id else {},
            "created_at": int(task.created_at * 1000),
            "updated_at": int(task.changed_at(now) * 1000),
        }


def envelope(data: Any, request_id: str, *, sparse: bool = False) -> dict[str, Any]:
    """Kling's own envelope, the same for a failed task as for any other."""
    body = {"code": 0, "message": "SUCCEED", "data": data}
    return body if sparse else {**body, "request_id": request_id}


def wrapped(data: dict[str, Any], request_id: str, depth: int = 2) -> dict[str, Any]:
    """The envelope that CometAPI sometimes puts around Kling's.

    :param data: the task object
    :param depth: 2 for ``data.data.task_status``, 3 for ``data.data.data.task_status``
    """
    status = data.get("task_status", SUBMITTED)
    outer = {
        "task_id": data["task_id"],
        "action": "generate",
        "status": _WRAPPED_STATUS.get(status, "UNKNOWN"),
        "fail_reason": data.get("task_status_msg", ""),
        "submit_time": data.get("created_at", 0) // 1000,
        "start_time": data.get("created_at", 0) // 1000,
        "finish_time": data.get("updated_at", 0) // 1000 if status in (SUCCEED, FAILED) else 0,
        "progress": _WRAPPED_PROGRESS.get(status, ""),
        "data": data if depth == 2 else envelope(data, request_id),
    }
    return {"code": "success", "message": "", "data": outer}
