"""Answers requests for an image, a reference image or a manifest of one generation.

Every route checks first that the user may read the DAG. A request names a generation and an index; the gallery reads
from Airflow's database where the object is, so no text of a request becomes part of a path. A cached thumbnail waits
for no storage and no image.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Annotated, Any, BinaryIO, TypeVar

from airflow.utils.session import create_session
from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse

from airflow_kling.archive.limits import DownloadLimits
from airflow_kling.archive.manifest import dump_manifest
from airflow_kling.plugins.gallery import locations, thumbnails
from airflow_kling.plugins.gallery.access import MayReadDag
from airflow_kling.plugins.gallery.cards import as_mapping, request_of
from airflow_kling.plugins.gallery.image_pool import Busy
from airflow_kling.plugins.gallery.locations import ExpectedImage, NotShown, Unreadable
from airflow_kling.plugins.gallery.queries import find_value
from airflow_kling.plugins.gallery.reading import read_image, read_manifest
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.plugins.gallery.settings import disk_cache, file_roots
from airflow_kling.plugins.gallery.workshop import workshop
from airflow_kling.reporting.gallery_urls import Size

log = logging.getLogger(__name__)
T = TypeVar("T")

router = APIRouter(prefix="/dags/{dag_id}", dependencies=[MayReadDag])

_PIECE = 256 * 1024  # bytes sent at once
_MAY_BE_CACHED = "private, max-age=3600"


def _identity(
    dag_id: str,
    run_id: str,
    task_id: str,
    kling_task_id: str,
    map_index: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
) -> Identity:
    return Identity(dag_id, run_id, task_id, map_index, kling_task_id)


OneGeneration = Annotated[Identity, Depends(_identity)]


@router.get("/image")
async def image(
    request: Request,
    one: OneGeneration,
    index: int,
    size: Size = "large",
    v: str | None = None,
) -> Response:
    """Answer with an archived image: scaled down, or the file as it was archived.

    :param v: version, see :func:`airflow_kling.reporting.gallery_urls.image_version`; 404 where the image has another.
    """
    found = await _answer(to_thread.run_sync(partial(_find_image, one, index, v)))
    if size != "original":
        return await _thumbnail(request, found, size)
    return await _original(request, found, f"{one.kling_task_id}-{index}")


@router.get("/reference")
async def reference(request: Request, one: OneGeneration, index: int, size: thumbnails.Size = "large") -> Response:
    """Answer with a scaled-down reference image that was given as a file."""
    return await _thumbnail(request, await _answer(to_thread.run_sync(partial(_find_reference, one, index))), size)


@router.get("/manifest")
async def manifest(request: Request, one: OneGeneration) -> Response:
    """Answer with the manifest, written again by this version, so that nothing else of the file is sent."""
    place = await _answer(to_thread.run_sync(partial(_find_manifest, one)))
    read = partial(read_manifest, place, one.kling_task_id, file_roots())
    content = dump_manifest(await _answer(workshop().storages.read(place.storage, read), request))
    headers = {"Content-Disposition": f'inline; filename="manifest-{one.kling_task_id}.json"'}
    return Response(content, media_type="application/json", headers=headers)


async def _answer(work: Awaitable[T], request: Request | None = None) -> T:
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


def _find(one: Identity) -> tuple[bool, dict[str, Any]]:
    """Return whether a generation is archived, and the value of its XCom."""
    with create_session(scoped=False) as session:
        found = find_value(session, one)
    if found is None:
        raise NotShown("This generation does not exist.")
    return found[0], as_mapping(found[1])


def _find_image(one: Identity, index: int, version: str | None) -> ExpectedImage:
    archived, value = _find(one)
    if not archived:
        raise NotShown("This generation is not archived.")
    found = locations.archived_image(value, one.kling_task_id, index, file_roots())
    if version not in (None, found.version):
        raise NotShown("Another image has replaced this one.")
    return found


def _find_reference(one: Identity, index: int) -> ExpectedImage:
    archived, value = _find(one)
    return locations.reference_image(request_of(value, archived=archived), index, file_roots())


def _find_manifest(one: Identity) -> locations.ArchiveLocation:
    return locations.manifest_location(_find(one)[1], one.kling_task_id, file_roots())


async def _thumbnail(request: Request, found: ExpectedImage, size: thumbnails.Size) -> Response:
    name = _cache_name(found, size)
    headers = {"Cache-Control": _MAY_BE_CACHED, "ETag": f'"{name}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = await to_thread.run_sync(_cached, name)
    if content is None:
        content = await _answer(_render(found, size, name), request)
    return Response(content, media_type="image/webp", headers=headers)


def _cache_name(image: ExpectedImage, size: str) -> str:
    # The location is part of it: a hit must mean that this very object was read and checked before.
    described = f"{thumbnails.VERSION} {size} {image.location!r} {image.sha256}"
    return hashlib.sha256(described.encode()).hexdigest()


def _cached(name: str) -> bytes | None:
    cache = disk_cache()
    return cache.get(name) if cache else None


async def _render(image: ExpectedImage, size: thumbnails.Size, name: str) -> bytes:
    if known := workshop().verdicts.get(name):
        raise NotShown(known)
    with await _read(image) as file:
        content = await _ask(file, name, size, thumbnails.MAX_PIXELS)
    if cache := disk_cache():
        await to_thread.run_sync(cache.put, name, content)
    return content


async def _read(image: ExpectedImage) -> BinaryIO:
    return await workshop().storages.read(image.location.storage, partial(read_image, image, file_roots()))


async def _ask(file: BinaryIO, name: str, size: str, max_pixels: int) -> bytes:
    try:
        return await workshop().images.ask(file, size=size, max_pixels=max_pixels)
    except NotShown as reason:
        workshop().verdicts.put(name, str(reason))
        raise


async def _original(request: Request, image: ExpectedImage, name: str) -> Response:
    file, content_type, extension = await _answer(_verified(image), request)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{extension}"',
        "Content-Length": str(image.bytes),
        "Cache-Control": _MAY_BE_CACHED,
    }
    return StreamingResponse(_pieces(file), media_type=content_type, headers=headers)


async def _verified(image: ExpectedImage) -> tuple[BinaryIO, str, str]:
    """Return an archived file, which stays open until it is sent, with its content type and extension."""
    name = _cache_name(image, "original")
    if known := workshop().verdicts.get(name):
        raise NotShown(known)
    file = await _read(image)
    try:
        content_type, extension = json.loads(await _ask(file, name, "original", DownloadLimits.max_pixels))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, content_type, extension


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
