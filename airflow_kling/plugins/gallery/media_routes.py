"""Answers requests for an image, a reference image or a manifest of one generation.

Every route checks first that the user may read the DAG. A request names a generation and an index; the gallery reads
from Airflow's database where the object is, so no text of a request becomes part of a path.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

from airflow.providers.common.compat.sdk import conf
from airflow.utils.session import create_session
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse

from airflow_kling.archive.manifest import dump_manifest
from airflow_kling.plugins.gallery import locations, thumbnails
from airflow_kling.plugins.gallery.access import MayReadDag
from airflow_kling.plugins.gallery.cache import DiskCache
from airflow_kling.plugins.gallery.cards import as_mapping, request_of
from airflow_kling.plugins.gallery.locations import ExpectedImage, NotShown
from airflow_kling.plugins.gallery.queries import find_value
from airflow_kling.plugins.gallery.reading import Unreachable, open_verified, read_manifest
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.reporting.gallery_urls import Size

log = logging.getLogger(__name__)
T = TypeVar("T")

router = APIRouter(prefix="/dags/{dag_id}", dependencies=[MayReadDag])

#: Threads of a process that read from a storage or decode an image; the others stay free for Airflow.
WORKERS = 4
# A limiter belongs to the event loop in which it is made, so it cannot be a global variable.
_limiter: RunVar[CapacityLimiter] = RunVar("kling_gallery_limiter")
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
    found = await _in_thread(partial(_find_image, one, index, v))
    if size != "original":
        return await _thumbnail(request, found, size)
    return await _original(found, f"{one.kling_task_id}-{index}")


@router.get("/reference")
async def reference(request: Request, one: OneGeneration, index: int, size: thumbnails.Size = "large") -> Response:
    """Answer with a scaled-down reference image that was given as a file."""
    return await _thumbnail(request, await _in_thread(partial(_find_reference, one, index)), size)


@router.get("/manifest")
async def manifest(one: OneGeneration) -> Response:
    """Answer with the manifest, written again by this version, so that nothing else of the file is sent."""
    content = dump_manifest(await _in_thread(partial(_read_manifest, one), limited=True))
    headers = {"Content-Disposition": f'inline; filename="manifest-{one.kling_task_id}.json"'}
    return Response(content, media_type="application/json", headers=headers)


async def _in_thread(work: Callable[[], T], *, limited: bool = False) -> T:
    """Run blocking work.

    :param limited: in one of :data:`WORKERS` threads, for work that a slow storage can hold up.
    :raises HTTPException: 404 or 502.
    """
    try:
        return await to_thread.run_sync(work, limiter=_storage_limiter() if limited else None)
    except NotShown as reason:
        raise HTTPException(404, str(reason)) from None
    except Unreachable as reason:
        raise HTTPException(502, str(reason)) from None


def _storage_limiter() -> CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(WORKERS)
        _limiter.set(limiter)
        return limiter


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
    found = locations.archived_image(value, one.kling_task_id, index)
    if version not in (None, found.version):
        raise NotShown("Another image has replaced this one.")
    return found


def _find_reference(one: Identity, index: int) -> ExpectedImage:
    archived, value = _find(one)
    return locations.reference_image(request_of(value, archived=archived), index)


def _read_manifest(one: Identity) -> Any:
    return read_manifest(locations.manifest_location(_find(one)[1], one.kling_task_id), one.kling_task_id)


async def _thumbnail(request: Request, found: ExpectedImage, size: thumbnails.Size) -> Response:
    name = _cache_name(found, size)
    headers = {"Cache-Control": _MAY_BE_CACHED, "ETag": f'"{name}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = await _in_thread(partial(_cached, name))
    if content is None:
        content = await _in_thread(partial(_render, found, size, name), limited=True)
    return Response(content, media_type="image/webp", headers=headers)


def _cache_name(image: ExpectedImage, size: str) -> str:
    # The location is part of it: a hit must mean that this very object was read and checked before.
    described = f"{thumbnails.VERSION} {size} {image.location!r} {image.sha256}"
    return hashlib.sha256(described.encode()).hexdigest()


def _cached(name: str) -> bytes | None:
    cache = _disk_cache()
    return cache.get(name) if cache else None


def _render(image: ExpectedImage, size: thumbnails.Size, name: str) -> bytes:
    with open_verified(image, max_pixels=thumbnails.MAX_PIXELS) as (file, _):
        content = _scale(file, size)
    if cache := _disk_cache():
        cache.put(name, content)
    return content


def _scale(file: BinaryIO, size: thumbnails.Size) -> bytes:
    try:
        return thumbnails.render(file, size)
    except Exception as error:  # Pillow raises nearly anything on odd metadata, which a whole image may have
        log.warning("The Kling gallery cannot scale an image: %r", error)
        raise NotShown("The image cannot be scaled down; its original can be downloaded.") from None


@functools.cache
def _disk_cache() -> DiskCache | None:
    directory = conf.get("kling", "gallery_cache_directory", fallback="") or os.path.join(
        tempfile.gettempdir(), f"airflow-kling-gallery-{os.geteuid()}"
    )
    try:
        return DiskCache(Path(directory), conf.getint("kling", "gallery_cache_mb", fallback=512) * 1024 * 1024)
    except OSError as error:
        log.error("The Kling gallery cannot keep thumbnails in %s and makes each one again: %s", directory, error)
        return None


async def _original(image: ExpectedImage, name: str) -> Response:
    stack = ExitStack()  # the file stays open until it is sent
    file, info = await _in_thread(lambda: stack.enter_context(open_verified(image)), limited=True)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{info.extension}"',
        "Content-Length": str(image.bytes),
        "Cache-Control": _MAY_BE_CACHED,
    }
    return StreamingResponse(_pieces(file, stack), media_type=info.content_type, headers=headers)


def _pieces(file: BinaryIO, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        while piece := file.read(_PIECE):
            yield piece
