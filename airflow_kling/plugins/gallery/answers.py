"""Finds the generation that a request names, and turns what keeps it from being shown into an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from airflow.utils.session import create_session
from fastapi import Depends, HTTPException, Query, Request

from airflow_kling.plugins.gallery.image_pool import Busy
from airflow_kling.plugins.gallery.locations import ExpectedFile, NotShown, Unreadable
from airflow_kling.plugins.gallery.queries import find_value
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.plugins.gallery.values import as_mapping

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Of what has its version in its address.
MAY_BE_CACHED = "private, max-age=3600"
PIECE = 256 * 1024  # bytes sent at once


def _identity(
    dag_id: str,
    run_id: str,
    task_id: str,
    kling_task_id: str,
    map_index: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
) -> Identity:
    return Identity(dag_id, run_id, task_id, map_index, kling_task_id)


OneGeneration = Annotated[Identity, Depends(_identity)]


async def answer(work: Awaitable[T], request: Request | None = None) -> T:
    """Do what an answer needs.

    :param request: the work is cancelled when its client has gone.
    :raises HTTPException: 404 where nothing is shown, 503 where too many wait.
    """
    try:
        return await (work if request is None else _while_connected(request, work))
    except Unreadable as error:
        log.warning("The Kling gallery does not show an object: %s", error.reason)
        raise HTTPException(404, str(error)) from None
    except NotShown as reason:
        raise HTTPException(404, str(reason)) from None
    except Busy as reason:
        raise HTTPException(503, str(reason), headers={"Retry-After": "30"}) from None


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnection(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(499, "The client has closed the connection.")
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.wait((task, gone))


async def _disconnection(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def find_generation(one: Identity) -> tuple[bool, dict[str, Any]]:
    """Return whether a generation is archived, and the value of its XCom.

    :raises NotShown: it does not exist.
    """
    with create_session(scoped=False) as session:
        found = find_value(session, one)
    if found is None:
        raise NotShown("This generation does not exist.")
    return found[0], as_mapping(found[1])


def find_archive(one: Identity) -> dict[str, Any]:
    """Return the value of the XCom of a generation's archive task.

    :raises NotShown: the generation does not exist, or is not archived.
    """
    archived, value = find_generation(one)
    if not archived:
        raise NotShown("This generation is not archived.")
    return value


def of_version(found: ExpectedFile, version: str | None) -> ExpectedFile:
    """Return a file if it is of the version that a request names.

    :param version: see :func:`airflow_kling.reporting.gallery_urls.file_version`; None for any.
    :raises NotShown: it is not.
    """
    if version not in (None, found.version):
        raise NotShown("Another file has replaced this one.")
    return found
