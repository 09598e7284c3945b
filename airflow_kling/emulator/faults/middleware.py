"""Changes how a request is handled when a fault is in force for it."""

from __future__ import annotations

import asyncio
import uuid
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import HTMLResponse, RedirectResponse, Response

from airflow_kling.emulator.errors import ApiError, comet_error, kling_error, nested
from airflow_kling.emulator.faults.book import Fault, FaultBook, Kind
from airflow_kling.emulator.faults.responses import Drop, Endless, Slow, Truncated, bomb

Process = Callable[[Fault | None], Awaitable[Response]]

_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>nginx</body></html>"
_BOMB_SIDE = 30_000
"""Pixels: far beyond the size at which Pillow refuses a picture."""


async def handle(book: FaultBook, kind: Kind, facts: Callable[[], dict[str, Any]], process: Process) -> Response:
    """Handle a request, with the fault that is in force for it, if there is one.

    :param facts: what faults are matched against; called only when there are faults
    :param process: does what was requested
    """
    taken = book.take(kind, facts()) if len(book) else None
    if taken is None:
        return await _answer(process, None)
    fault_id, fault = taken
    early = await _before(book, fault_id, fault)
    if early is not None:
        return early
    return await _after(book, fault_id, fault, await _answer(process, fault))


async def _answer(process: Process, fault: Fault | None) -> Response:
    try:
        return await process(fault)
    except ApiError as error:
        return error.response()


async def _before(book: FaultBook, fault_id: str, fault: Fault) -> Response | None:
    """Apply the fault before the request is processed; a response means that it never is."""
    if fault.action == "delay":
        await sleep(fault.seconds)
    elif fault.action == "hold" and fault.point == "before":
        await asyncio.wrap_future(book.hold(fault_id))
    elif fault.action == "bomb":
        # In a thread: a large one takes seconds to make.
        data = await asyncio.to_thread(bomb, fault.size or _BOMB_SIDE)
        return Response(data, media_type="image/png")
    make = _INSTEAD.get(fault.action)
    return make(fault) if make else None


async def _after(book: FaultBook, fault_id: str, fault: Fault, response: Response) -> Response:
    """Apply the fault once the request has been processed."""
    if fault.action == "delay_after":
        await sleep(fault.seconds)
    elif fault.action == "hold" and fault.point == "after":
        await asyncio.wrap_future(book.hold(fault_id))
    make = _AFTERWARDS.get(fault.action)
    # A refusal stays what it is: "after" means after a success.
    return make(fault, response) if make and response.status_code < 400 else response


def _error(fault: Fault) -> Response:
    if fault.code is None and fault.status is None:
        error = kling_error(5000)
    elif isinstance(fault.code, int):
        error = kling_error(fault.code, fault.message, fault.status)
    else:
        error = comet_error(fault.status or 500, fault.message or "upstream error", fault.code or "")
    return error.response(fault.body, None if fault.retry_after is None else {"retry-after": str(fault.retry_after)})


def _nested_error(fault: Fault) -> Response:
    code = fault.code if isinstance(fault.code, int) else 5000
    error = kling_error(code, fault.message, fault.status)
    return error.response(nested(error.body(str(uuid.uuid4()))))


def _html(fault: Fault) -> Response:
    return HTMLResponse(_HTML.format(fault.message or "502 Bad Gateway"), fault.status or 502)


def _expired(fault: Fault) -> Response:
    xml = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    return Response(xml, fault.status or 403, media_type="application/xml")


_INSTEAD: dict[str, Callable[[Fault], Response]] = {
    "error": _error,
    "nested_error": _nested_error,
    "drop": lambda fault: Drop(),
    "html": _html,
    "redirect": lambda fault: RedirectResponse(fault.location, fault.status or 302),
    "expire_urls": _expired,
    "endless": lambda fault: Endless(),
    "not_an_image": lambda fault: Response(_HTML.format("Not an image"), media_type="image/png"),
}
"""Actions that answer without processing the request."""
_AFTERWARDS: dict[str, Callable[[Fault, Response], Response]] = {
    "error_after": lambda fault, response: _error(fault),
    "drop_after": lambda fault, response: Drop(),
    "truncate": lambda fault, response: Truncated(response, fault.size),
    "slow": lambda fault, response: Slow(response, fault.seconds),
}
"""Actions that change the answer of a processed request."""
