"""Turns tasks into the JSON that the gateways answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from airflow_kling.emulator.endpoints import ResultList
from airflow_kling.emulator.tasks import FAILED, PROCESSING, SUBMITTED, SUCCEED, Task

_WRAPPED_STATUS = {SUBMITTED: "SUBMITTED", PROCESSING: "IN_PROGRESS", SUCCEED: "SUCCESS", FAILED: "FAILURE"}
_WRAPPED_PROGRESS = {SUBMITTED: "0%", PROCESSING: "50%", SUCCEED: "100%", FAILED: "100%"}


class UrlSigner:
    """Makes and checks the signed URLs of results.

    :param ttl: seconds that a URL lives
    :param clock: Unix time in seconds
    """

    def __init__(self, ttl: float, clock: Callable[[], float]) -> None:
        self._ttl = ttl
        self._clock = clock
        self._secret = secrets.token_bytes(16)

    def _token(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}?{expires}".encode(), hashlib.sha256).hexdigest()[:40]

    def url(self, base_url: str, path: str) -> str:
        """The URL of a result, valid from now on for the time to live."""
        expires = f"{self._clock() + self._ttl:.3f}"
        query = urlencode({"token": self._token(path, expires), "expires": expires})
        return f"{base_url}/{path}?{query}"

    def refusal(self, path: str, token: str, expires: str) -> str | None:
        """Why a URL with these parts is refused, None for a good one."""
        # The token first: it proves that ``expires`` is ours, and so a number.
        if not hmac.compare_digest(token.encode(), self._token(path, expires).encode()):
            return "SignatureDoesNotMatch"
        return "Request has expired" if self._clock() >= float(expires) else None


@dataclass(frozen=True)
class Answers:
    """Turns tasks into answers.

    :param signer: signs the URLs of results
    :param suffix: the file name extension of a list's results
    :param clock: Unix time in seconds
    """

    signer: UrlSigner
    suffix: Callable[[ResultList], str]
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
            for results, count in task.results:
                data["task_result"] |= results.beside
                data["task_result"][results.name] = [
                    self._result(task, results, index, base_url, sparse=sparse) for index in range(count)
                ]
            if not sparse:
                data["final_unit_deduction"] = f"{task.units:g}"
        return data

    def _result(self, task: Task, results: ResultList, index: int, base_url: str, *, sparse: bool) -> dict[str, Any]:
        result = results.item(task.task_id, index, task.fields)
        if sparse:
            result.pop("index", None)
        path, suffix = f"_{results.name}/{task.task_id}/{index}", self.suffix(results)
        result["url"] = self.signer.url(base_url, f"{path}.{suffix}")
        if task.creation.watermark:
            result["watermark_url"] = self.signer.url(base_url, f"{path}-watermark.{suffix}")
        return result

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


def task_facts(task: Task | None) -> dict[str, Any]:
    """What faults can be matched against, nothing without a task."""
    if task is None:
        return {}
    return {
        "task_id": task.task_id,
        "external_task_id": task.creation.external_task_id,
        "prompt": task.creation.prompt,
        "account": task.account,
        "gateway": task.endpoint.gateway.name,
        "route": task.endpoint.route.name,
    }


def envelope(data: Any, request_id: str, *, sparse: bool = False) -> dict[str, Any]:
    """Kling's own envelope."""
    # A failed task has it too: the failure is in ``data`` only [C].
    body = {"code": 0, "message": "SUCCEED", "data": data}
    return body if sparse else {**body, "request_id": request_id}


def wrapped(data: dict[str, Any], request_id: str, depth: int = 2) -> dict[str, Any]:
    """The envelope that CometAPI sometimes puts around Kling's.

    :param data: the task object
    :param depth: 2 for ``data.data.task_status``, 3 for ``data.data.data.task_status``
    """
    status = data.get("task_status", SUBMITTED)
    # CometAPI's outer object repeats the task in its own words, with times in seconds [C].
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
