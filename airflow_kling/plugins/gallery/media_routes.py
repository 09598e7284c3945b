"""Answers requests for an image, a poster, a reference image or a manifest of one generation.

Every route checks first that the user may read the DAG. A request names a generation and an index; the gallery reads
from Airflow's database where the object is, so no text of a request becomes part of a path. A cached thumbnail waits
for no storage and no image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from airflow_kling.archive.limits import DownloadLimits
from airflow_kling.archive.manifest import dump_manifest
from airflow_kling.plugins.gallery import locations, thumbnails
from airflow_kling.plugins.gallery.access import MayReadDag
from airflow_kling.plugins.gallery.answers import (
    MAY_BE_CACHED,
    PIECE,
    OneGeneration,
    answer,
    find_archive,
    find_generation,
    of_version,
)
from airflow_kling.plugins.gallery.locations import ExpectedFile, NotShown
from airflow_kling.plugins.gallery.reading import read_image, read_manifest
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.plugins.gallery.settings import disk_cache, file_roots
from airflow_kling.plugins.gallery.values import request_of
from airflow_kling.plugins.gallery.workshop import workshop
from airflow_kling.reporting.gallery_urls import Size

router = APIRouter(prefix="/dags/{dag_id}", dependencies=[MayReadDag])


@router.get("/image")
async def image(
    request: Request,
    one: OneGeneration,
    index: int,
    size: Size = "large",
    v: str | None = None,
) -> Response:
    """Answer with an archived image: scaled down, or the file as it was archived.

    :param v: version, see :func:`airflow_kling.reporting.gallery_urls.file_version`; 404 where the image has another.
    """
    found = await answer(to_thread.run_sync(partial(_find_image, one, index, v)))
    if size != "original":
        return await _thumbnail(request, found, size)
    return await _original(request, found, f"{one.kling_task_id}-{index}")


@router.get("/poster")
async def poster(
    request: Request, one: OneGeneration, index: int, size: thumbnails.Size = "large", v: str | None = None
) -> Response:
    """Answer with the scaled-down poster of an archived video; parameters as :func:`image`."""
    found = await answer(to_thread.run_sync(partial(_find_poster, one, index, v)))
    return await _thumbnail(request, found, size)


@router.get("/reference")
async def reference(request: Request, one: OneGeneration, index: int, size: thumbnails.Size = "large") -> Response:
    """Answer with a scaled-down reference image that was given as a file."""
    return await _thumbnail(request, await answer(to_thread.run_sync(partial(_find_reference, one, index))), size)


@router.get("/manifest")
async def manifest(request: Request, one: OneGeneration) -> Response:
    """Answer with the manifest, written again by this version, so that nothing else of the file is sent."""
    place = await answer(to_thread.run_sync(partial(_find_manifest, one)))
    read = partial(read_manifest, place, one.kling_task_id, file_roots())
    content = dump_manifest(await answer(workshop().storages.read(place.storage, read), request))
    headers = {"Content-Disposition": f'inline; filename="manifest-{one.kling_task_id}.json"'}
    return Response(content, media_type="application/json", headers=headers)


def _find_image(one: Identity, index: int, version: str | None) -> ExpectedFile:
    value = find_archive(one)
    return of_version(locations.archived_image(value, one.kling_task_id, index, file_roots()), version)


def _find_poster(one: Identity, index: int, version: str | None) -> ExpectedFile:
    value = find_archive(one)
    return of_version(locations.archived_poster(value, one.kling_task_id, index, file_roots()), version)


def _find_reference(one: Identity, index: int) -> ExpectedFile:
    archived, value = find_generation(one)
    return locations.reference_image(request_of(value, archived=archived), index, file_roots())


def _find_manifest(one: Identity) -> locations.ArchiveLocation:
    return locations.manifest_location(find_generation(one)[1], one.kling_task_id, file_roots())


async def _thumbnail(request: Request, found: ExpectedFile, size: thumbnails.Size) -> Response:
    name = _cache_name(found, size)
    headers = {"Cache-Control": MAY_BE_CACHED, "ETag": f'"{name}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = await to_thread.run_sync(_cached, name)
    if content is None:
        content = await answer(_render(found, size, name), request)
    return Response(content, media_type="image/webp", headers=headers)


def _cache_name(image: ExpectedFile, size: str) -> str:
    # The location is part of it: a hit must mean that this very object was read and checked before.
    described = f"{thumbnails.VERSION} {size} {image.location!r} {image.sha256}"
    return hashlib.sha256(described.encode()).hexdigest()


def _cached(name: str) -> bytes | None:
    cache = disk_cache()
    return cache.get(name) if cache else None


async def _render(image: ExpectedFile, size: thumbnails.Size, name: str) -> bytes:
    if known := workshop().verdicts.get(name):
        raise NotShown(known)
    with await _read(image) as file:
        content = await _ask(file, name, size, thumbnails.MAX_PIXELS)
    if cache := disk_cache():
        await to_thread.run_sync(cache.put, name, content)
    return content


async def _read(image: ExpectedFile) -> BinaryIO:
    return await workshop().storages.read(image.location.storage, partial(read_image, image, file_roots()))


async def _ask(file: BinaryIO, name: str, size: str, max_pixels: int) -> bytes:
    try:
        return await workshop().images.ask(file, size=size, max_pixels=max_pixels)
    except NotShown as reason:
        workshop().verdicts.put(name, str(reason))
        raise


async def _original(request: Request, image: ExpectedFile, name: str) -> Response:
    file, content_type, extension = await answer(_verified(image), request)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{extension}"',
        "Content-Length": str(image.bytes),
        "Cache-Control": MAY_BE_CACHED,
    }
    return StreamingResponse(_pieces(file), media_type=content_type, headers=headers)


async def _verified(image: ExpectedFile) -> tuple[BinaryIO, str, str]:
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
        while piece := file.read(PIECE):
            yield piece
