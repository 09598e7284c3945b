"""Turns requests into ``httpx.Request``, and ``httpx.Response`` into a task or an exception; does no I/O.

Understands Kling's native envelope, the wrapped one that CometAPI has also sent, and every documented error shape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn, TypeGuard
from urllib.parse import quote

import httpx

from airflow_kling.api.error_table import answer_error
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.gateways import Gateway
from airflow_kling.api.request import build_body
from airflow_kling.api.route import Route
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import (
    FAILED,
    PROCESSING,
    RESULT_KINDS,
    SUBMITTED,
    SUCCEED,
    TERMINAL,
    KlingTask,
    Result,
    TaskStatus,
)
from airflow_kling.exceptions import KlingServerError

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",  # what httpx decodes with whatever carries it
    "User-Agent": "airflow-provider-kling",
}
SUCCESS_CODES = (0, "0", "success")  # never the message: a failed task says "SUCCEED" there

# CometAPI's wrapped envelope has a status of its own in data.status.
WRAPPED_STATUSES = {
    "NOT_START": SUBMITTED,
    "SUBMITTED": SUBMITTED,
    "QUEUED": SUBMITTED,
    "IN_PROGRESS": PROCESSING,
    "SUCCESS": SUCCEED,
    "FAILURE": FAILED,
}
STATUS_SYNONYMS = {"succeeded": SUCCEED}


def create_request(gateway: Gateway, base_url: str, route: Route, request: KlingRequest) -> httpx.Request:
    """Make the paid call; the request must have been through :func:`airflow_kling.api.request.for_gateway`."""
    url = f"{base_url}{route.endpoint(gateway.name).path}"
    return httpx.Request("POST", url, json=build_body(route, request, gateway), headers=HEADERS)


def query_url(gateway: Gateway, base_url: str, route: Route, task_id: str) -> str:
    """Return where one task is asked for, by its id, or by its ``external_task_id`` where the gateway finds those."""
    return f"{base_url}{route.endpoint(gateway.name).path}/{quote(task_id, safe='')}"


def query_request(gateway: Gateway, base_url: str, route: Route, task_id: str) -> httpx.Request:
    """Ask for one task, see :func:`query_url`."""
    return httpx.Request("GET", query_url(gateway, base_url, route, task_id), headers=HEADERS)


def list_request(gateway: Gateway, base_url: str, route: Route, *, page: int, page_size: int) -> httpx.Request:
    """Ask for one page of the account's tasks of a route, newest first; page 1..1000, page_size 1..500 [C]."""
    params = {"pageNum": page, "pageSize": page_size}
    return httpx.Request("GET", f"{base_url}{route.endpoint(gateway.name).path}", params=params, headers=HEADERS)


def read_task(
    response: httpx.Response, *, now: float, route: str = DEFAULT_ROUTE, kling_task_id: str | None = None
) -> KlingTask:
    """Read the task in an answer to create or query.

    :param now: epoch seconds, for a ``Retry-After`` that is a date.
    :param kling_task_id: the task asked for, None for a create; a query's answer may leave its id out.
    :raises KlingAPIError: the answer is an error, see :func:`airflow_kling.api.error_table.answer_error`.
    """
    body = read_success(response, now=now, kling_task_id=kling_task_id)
    data = body.get("data")
    task = _task(data, body.get("request_id"), route, kling_task_id) if isinstance(data, dict) else None
    if task is None:
        _not_a_task(response, body, kling_task_id)
    return task


def read_page(response: httpx.Response, *, now: float, route: str = DEFAULT_ROUTE) -> list[KlingTask]:
    """Read the tasks of a page, in the API's order; none means that the page is empty, not that it is odd."""
    body = read_success(response, now=now)
    data = body.get("data")
    if not isinstance(data, list):
        _not_a_task(response, body, None)
    read = (_task(item, None, route, None) for item in data if isinstance(item, dict))
    tasks = [task for task in read if task is not None]
    if data and not tasks:
        _not_a_task(response, body, None)
    return tasks


def read_statuses(response: httpx.Response, *, now: float) -> list[TaskStatus]:
    """Read the statuses in an answer to list, and no more: a page of 500 holds an event loop for ~3 ms, not 15.

    An item that does not plainly say its status is left out, for the query of the task to tell.
    """
    body = read_success(response, now=now)
    data = body.get("data")
    if not isinstance(data, list):
        _not_a_task(response, body, None)
    return [_brief(item) for item in data if _says_status(item)]


def read_status(content: bytes) -> TaskStatus | None:
    """Read the status in a plain successful answer to query; None for any other, which :func:`read_task` reads."""
    body = _json(content)
    data = body.get("data") if _is_success(body) else None
    return _brief(data) if _says_status(data) else None


def _says_status(data: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether it is a native body with an id and a status of its own, and not a wrapped one."""
    if not isinstance(data, dict) or not data.get("task_id") or "status" in data or "data" in data:
        return False
    return isinstance(data.get("task_status"), str) and data["task_status"] != ""


def _brief(task: dict[str, Any]) -> TaskStatus:
    status = _status(task.get("task_status"), None, has_results=False)
    return TaskStatus(str(task["task_id"]), status, _seconds(task.get("created_at")))


def _seconds(milliseconds: Any) -> float | None:
    """Turn the API's Unix milliseconds, a number or its text, into seconds; an odd one must not lose the status."""
    try:
        seconds = float(milliseconds) / 1000
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def read_success(response: httpx.Response, *, now: float, kling_task_id: str | None = None) -> dict[str, Any]:
    """Return the body of an answer that says success.

    :raises KlingAPIError: it says anything else.
    """
    body = _json(response.content)
    if response.is_success and _is_success(body):
        return body
    raise answer_error(response, body, now=now, kling_task_id=kling_task_id)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _is_success(body: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(body, dict) and body.get("code") in SUCCESS_CODES and not body.get("error")


def _not_a_task(response: httpx.Response, body: dict[str, Any], kling_task_id: str | None) -> NoReturn:
    raise KlingServerError(
        "Kling answered success without a task in it: look whether the connection's gateway fits its host.",
        http_status=response.status_code,
        code=str(body.get("code")),
        request_id=str(body.get("request_id") or "") or None,
        kling_task_id=kling_task_id,
    )


def _task(data: dict[str, Any], request_id: Any, route: str, asked_id: str | None) -> KlingTask | None:
    levels = list(_levels(data))
    # A list may not stand in for a dict further in, so the native body is the innermost level that has its fields.
    native = next((level for level in reversed(levels) if "task_status" in level or "task_result" in level), levels[-1])
    # Of two ids, the one that was asked for is the gateway's, and else the outer one.
    ids = [str(level["task_id"]) for level in (data, native) if level.get("task_id")]
    task_id = asked_id if not ids or asked_id in ids else ids[0]
    if not task_id:
        return None
    info = native.get("task_info")
    external_task_id = info.get("external_task_id") if isinstance(info, dict) else None
    results = tuple(_results(native.get("task_result")))
    deduction = native.get("final_unit_deduction")
    return KlingTask(
        kling_task_id=task_id,
        route=route,
        external_task_id=str(external_task_id) if external_task_id else None,
        status=_status(native.get("task_status"), data.get("status"), has_results=bool(results)),
        status_message=str(native.get("task_status_msg") or data.get("fail_reason") or ""),
        results=results,
        created_at=native.get("created_at"),
        updated_at=native.get("updated_at"),
        unit_deduction=None if deduction is None else str(deduction),
        request_id=str(request_id) if request_id else None,
    )


def _levels(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    level: Any = data
    while isinstance(level, dict):
        yield level
        level = level.get("data")


def _status(native: Any, wrapped: Any, *, has_results: bool) -> str:
    """Choose the task's status of the native and the wrapped one: of two that differ, the terminal one is newer.

    A wrapped SUCCESS alone ends nothing before the results are there.
    """
    inner = STATUS_SYNONYMS.get(native, native) if isinstance(native, str) else ""
    outer = WRAPPED_STATUSES.get(wrapped, wrapped) if isinstance(wrapped, str) else ""
    if inner in TERMINAL or not outer:
        return inner or SUBMITTED
    if outer == FAILED or (outer == SUCCEED and has_results):
        return outer
    return inner or (PROCESSING if outer == SUCCEED else outer)


def _results(task_result: Any) -> Iterator[Result]:
    """Read the results of every list that there is."""
    for name, kind in RESULT_KINDS.items():
        listed = task_result.get(name) if isinstance(task_result, dict) else None
        yield from _entries(kind, listed if isinstance(listed, list) else [])


def _entries(kind: str, listed: list[Any]) -> Iterator[Result]:
    """Read one list; an index may be missing, and then all of them are numbered by position, so that none is lost."""
    entries = [(position, entry) for position, entry in enumerate(listed) if isinstance(entry, dict)]
    given = [entry.get("index") for _, entry in entries]
    trusted = all(type(index) is int and index >= 0 for index in given) and len(set(given)) == len(given)
    for position, entry in entries:
        texts = {name: str(entry[name]) for name in ("url", "id", "duration") if entry.get(name)}
        yield Result(kind=kind, index=entry["index"] if trusted else position, **texts)
