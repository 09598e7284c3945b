"""Turns requests into ``httpx.Request``, and ``httpx.Response`` into a task or an exception; does no I/O.

Understands Kling's native envelope, the wrapped one that CometAPI has also sent, a bare task, and every error shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn, TypeGuard
from urllib.parse import quote

import httpx

from airflow_kling.api.envelope import SHORT, decode, id_of, possible_tasks, printable, unpacked
from airflow_kling.api.error_table import ErrorRule, answer_error, says_error
from airflow_kling.api.fields import KlingRequest
from airflow_kling.api.gateways import Gateway
from airflow_kling.api.redact import redact_urls_in
from airflow_kling.api.request import build_body
from airflow_kling.api.route import Route
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import (
    FAILED,
    PROCESSING,
    SUBMITTED,
    SUCCEED,
    TERMINAL,
    KlingTask,
    Result,
    TaskStatus,
)
from airflow_kling.api.values import RESULT_KINDS
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
LIST_KINDS = {**RESULT_KINDS, "series_images": "image"}
MOST_EXTERNAL_ID = 512  # characters; whoever asks compares it with the id that was sent
LONGEST_REASON = 2000  # characters of task_status_msg


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
    response: httpx.Response,
    *,
    now: float,
    route: str = DEFAULT_ROUTE,
    kling_task_id: str | None = None,
    host: str = "",
    no_model: ErrorRule | None = None,
) -> KlingTask:
    """Read the task in an answer to create or query.

    A 2xx with a task id in it is a task under whatever code, unless it says in so many words that it is an error.

    :param now: epoch seconds, for a ``Retry-After`` that is a date.
    :param kling_task_id: the task asked for, None for a create; a query's answer may leave its id out.
    :param host: who was asked, for the sentence of an error.
    :param no_model: what a 1203 means for a create.
    :raises KlingAPIError: the answer is an error, see :func:`airflow_kling.api.error_table.answer_error`.
    """
    body = decode(response.content)
    success = _is_success(body)
    if response.is_success and (success or not says_error(body)):
        request_id = body.get("request_id") if isinstance(body, dict) else None
        tasks = (_task(level, request_id, route, kling_task_id) for level in possible_tasks(body, kling_task_id))
        if (task := next(filter(None, tasks), None)) is not None:
            return task
        if success and not says_error(body):
            _not_a_task(response, host, kling_task_id)
    raise answer_error(response, body, now=now, kling_task_id=kling_task_id, host=host, no_model=no_model)


def read_page(response: httpx.Response, *, now: float, route: str = DEFAULT_ROUTE, host: str = "") -> list[KlingTask]:
    """Read the tasks of a page, in the API's order; none means that the page is empty, not that it is odd."""
    data = _read_list(response, now=now, host=host)
    read = (_task(item, None, route, None) for item in data if isinstance(item, dict))
    tasks = [task for task in read if task is not None]
    if data and not tasks:
        _not_a_task(response, host, None)
    return tasks


def read_statuses(response: httpx.Response, *, now: float, host: str = "") -> list[TaskStatus]:
    """Read the statuses in an answer to list, and no more: a page of 500 holds an event loop for ~3 ms, not 15.

    An item that does not plainly say its status, or that has succeeded and does not show its results, is left out, for
    the query of the task to tell.
    """
    briefs = (_brief(item) for item in _read_list(response, now=now, host=host) if _says_status(item))
    return [one for one in briefs if one.status != SUCCEED or one.complete]


def read_status(content: bytes) -> TaskStatus | None:
    """Read the status in a plain successful answer to query; None for any other, which :func:`read_task` reads."""
    body = decode(content)
    data = body.get("data") if _is_success(body) else None
    return _brief(data) if _says_status(data) else None


def _says_status(data: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether it is a native body with an id and a status of its own, and not a wrapped one."""
    if not isinstance(data, dict) or not id_of(data) or "status" in data or "data" in data:
        return False
    return isinstance(data.get("task_status"), str) and data["task_status"] != ""


def _brief(task: dict[str, Any]) -> TaskStatus:
    status = _status(task.get("task_status"), None, has_results=False)
    complete = status == SUCCEED and _all_have_urls(task.get("task_result"))
    return TaskStatus(id_of(task), status, _seconds(task.get("created_at")), complete)


def _all_have_urls(task_result: Any) -> bool:
    urls = [_url(entry) for _, listed in _result_lists(task_result) for entry in listed if isinstance(entry, dict)]
    return bool(urls) and all(urls)


def _seconds(milliseconds: Any) -> float | None:
    """Turn the API's Unix milliseconds, a number or its text, into seconds; an odd one must not lose the status."""
    try:
        seconds = float(milliseconds) / 1000
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def _read_list(response: httpx.Response, *, now: float, host: str) -> list[Any]:
    """Return the items of a page.

    :raises KlingAPIError: the answer is none.
    """
    body = decode(response.content)
    if response.is_success and _is_success(body):
        data = body.get("data")
        if not isinstance(data, list):
            _not_a_task(response, host, None)
        return data
    raise answer_error(response, body, now=now, host=host)


def _is_success(body: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(body, dict) and body.get("code") in SUCCESS_CODES and not body.get("error")


def _not_a_task(response: httpx.Response, host: str, kling_task_id: str | None) -> NoReturn:
    body = decode(response.content)
    where = f" at {host}" if host else ""
    raise KlingServerError(
        f"Kling answered{where} with success but without a task in it (HTTP {response.status_code}): look whether the "
        "connection's gateway fits its host.",
        http_status=response.status_code,
        code=printable(body.get("code")),
        request_id=printable(body.get("request_id") or "") or None,
        kling_task_id=kling_task_id,
    )


def _task(data: dict[str, Any], request_id: Any, route: str, asked_id: str | None) -> KlingTask | None:
    """Read a task; None where the object does not tell of one."""
    if not id_of(data) and not _tells_of_a_task(data):
        return None
    levels = list(_levels(data))
    ids = [found for level in levels if (found := id_of(level))]
    if not ids and asked_id is None:
        return None
    # A list may not stand in for a dict further in, so the native body is the innermost level that has its fields.
    native = next((level for level in reversed(levels) if "task_status" in level or "task_result" in level), levels[-1])
    info = native.get("task_info")
    external_task_id = info.get("external_task_id") if isinstance(info, dict) else None
    results = tuple(_results(native.get("task_result")))
    deduction = native.get("final_unit_deduction")
    return KlingTask(
        # Of two ids, the one that was asked for is the gateway's, and else the outer one.
        kling_task_id=asked_id if asked_id and (not ids or asked_id in ids) else ids[0],
        route=route,
        external_task_id=printable(external_task_id, MOST_EXTERNAL_ID) if external_task_id else None,
        status=_status(native.get("task_status"), data.get("status"), has_results=bool(results)),
        status_message=redact_urls_in(
            str(native.get("task_status_msg") or data.get("fail_reason") or "")[:LONGEST_REASON]
        ),
        results=results,
        created_at=native.get("created_at"),
        updated_at=native.get("updated_at"),
        unit_deduction=None if deduction is None else printable(deduction),
        request_id=printable(request_id) if request_id else None,
    )


def _tells_of_a_task(level: dict[str, Any]) -> bool:
    status = level.get("status")
    return "task_status" in level or "task_result" in level or (isinstance(status, str) and status in WRAPPED_STATUSES)


def _levels(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    level: Any = data
    while isinstance(level, dict):
        yield level
        level = unpacked(level.get("data"))


def _status(native: Any, wrapped: Any, *, has_results: bool) -> str:
    """Choose the task's status of the native and the wrapped one: of two that differ, the terminal one is newer.

    A wrapped SUCCESS alone ends nothing before the results are there.
    """
    inner = STATUS_SYNONYMS.get(native, native) if isinstance(native, str) else ""
    outer = WRAPPED_STATUSES.get(wrapped, wrapped) if isinstance(wrapped, str) else ""
    if inner in TERMINAL or not outer:
        return printable(inner, SHORT) or SUBMITTED
    if outer == FAILED or (outer == SUCCEED and has_results):
        return outer
    return printable(inner or (PROCESSING if outer == SUCCEED else outer), SHORT)


def _results(task_result: Any) -> Iterator[Result]:
    """Read the results of every list that there is; those of one kind are numbered together."""
    by_kind: dict[str, list[Any]] = {}
    for kind, listed in _result_lists(task_result):
        by_kind.setdefault(kind, []).extend(listed)
    for kind, listed in by_kind.items():
        yield from _entries(kind, listed)


def _result_lists(task_result: Any) -> list[tuple[str, list[Any]]]:
    """Return the lists of results with their kind.

    Where there is none that is known, every list counts whose entries have a URL, for routes that are not known here.
    """
    task_result = unpacked(task_result)
    if not isinstance(task_result, dict):
        return []
    lists = [(name, listed) for name, listed in task_result.items() if isinstance(listed, list)]
    known = [(LIST_KINDS[name], listed) for name, listed in lists if name in LIST_KINDS and listed]
    return known or [("file", listed) for _, listed in lists if any(map(_has_a_url_field, listed))]


def _has_a_url_field(entry: Any) -> bool:
    return isinstance(entry, dict) and any(name.startswith("url") for name in entry)


def _url(entry: dict[str, Any]) -> str:
    """Return the URL of an entry: ``url``, else the first of ``url_mp3`` and the like; empty while there is none."""
    named = sorted((name for name in entry if name.startswith("url")), key=lambda name: name != "url")
    urls = (entry[name].strip() for name in named if isinstance(entry[name], str))
    return next(filter(None, urls), "")


def _entries(kind: str, listed: list[Any]) -> Iterator[Result]:
    """Read one list; an index may be missing, and then all of them are numbered by position, so that none is lost."""
    entries = [(position, entry) for position, entry in enumerate(listed) if isinstance(entry, dict)]
    given = [entry.get("index") for _, entry in entries]
    trusted = all(type(index) is int and index >= 0 for index in given) and len(set(given)) == len(given)
    for position, entry in entries:
        texts = {name: str(entry[name]) for name in ("id", "duration") if entry.get(name)}
        yield Result(kind=kind, index=entry["index"] if trusted else position, url=_url(entry), **texts)
