"""Images, references and manifests of one generation, whose DAG the user may read.

A request names a generation and an index. Where the object lies is looked up in Airflow's database; nothing of a
request becomes part of a path.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

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
from airflow_kling.plugins.gallery.cards import as_mapping
from airflow_kling.plugins.gallery.locations import EXTENSIONS, NotShown, Picture
from airflow_kling.plugins.gallery.queries import Identity, find_value
from airflow_kling.plugins.gallery.reading import Unreachable, opened, read_manifest

log = logging.getLogger(__name__)
T = TypeVar("T")

router = APIRouter(prefix="/dags/{dag_id}", dependencies=[MayReadDag])

#: Reading from a storage and decoding, at once in one process: the rest of the API server's threads are Airflow's.
WORKERS = 4
_limiter: RunVar[CapacityLimiter] = RunVar("kling_gallery_limiter")
_PIECE = 256 * 1024
_CACHED_FOR = "private, max-age=3600"


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
    size: Literal["thumb", "large", "original"] = "large",
    v: str | None = None,
) -> Response:
    """An archived image: a smaller form of it, or the file as it was archived.

    :param v: the first 12 letters of its SHA-256, where whoever asks means these bytes and no others.
    """
    picture = await _in_thread(partial(_archived_picture, one, index, v))
    if size != "original":
        return await _rendition(request, picture, size)
    return await _original(picture, f"{one.kling_task_id}-{index}")


@router.get("/reference")
async def reference(request: Request, one: OneGeneration, index: int, size: thumbnails.Size = "large") -> Response:
    """A smaller form of a reference image that was given as a file."""
    return await _rendition(request, await _in_thread(partial(_reference_picture, one, index)), size)


@router.get("/manifest")
async def manifest(one: OneGeneration) -> Response:
    """The manifest, as this version reads it."""
    content = dump_manifest(await _in_thread(partial(_read_manifest, one), apart=True))
    headers = {"Content-Disposition": f'inline; filename="manifest-{one.kling_task_id}.json"'}
    return Response(content, media_type="application/json", headers=headers)


async def _in_thread(work: Callable[[], T], *, apart: bool = False) -> T:
    """Run blocking work; ``apart`` from Airflow's own threads when a storage may be slow.

    :raises HTTPException: 404 or 502, with words that name no address.
    """
    try:
        return await to_thread.run_sync(work, limiter=_our_limiter() if apart else None)
    except NotShown as reason:
        raise HTTPException(404, str(reason)) from None
    except Unreachable as reason:
        raise HTTPException(502, str(reason)) from None


def _our_limiter() -> CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(WORKERS)
        _limiter.set(limiter)
        return limiter


def _find(one: Identity) -> tuple[bool, dict[str, Any]]:
    with create_session(scoped=False) as session:
        found = find_value(session, one)
    if found is None:
        raise NotShown("There is no such generation.")
    return found[0], as_mapping(found[1])


def _archived_picture(one: Identity, index: int, version: str | None) -> Picture:
    archived, value = _find(one)
    if not archived:
        raise NotShown("This generation is not archived.")
    picture = locations.image_picture(value, one.kling_task_id, index)
    if version not in (None, picture.version):
        raise NotShown("This image has been replaced by another.")
    return picture


def _reference_picture(one: Identity, index: int) -> Picture:
    archived, value = _find(one)
    return locations.reference_picture(as_mapping(value.get("asked")) if archived else value, index)


def _read_manifest(one: Identity) -> Any:
    return read_manifest(locations.manifest_place(_find(one)[1], one.kling_task_id), one.kling_task_id)


async def _rendition(request: Request, picture: Picture, size: thumbnails.Size) -> Response:
    name = _name(picture, size)
    headers = {"Cache-Control": _CACHED_FOR, "ETag": f'"{name}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = await _in_thread(partial(_cached, name))
    if content is None:
        content = await _in_thread(partial(_render, picture, size, name), apart=True)
    return Response(content, media_type="image/webp", headers=headers)


def _name(picture: Picture, size: str) -> str:
    """By place and content: a hit stands for this object having been read and checked before."""
    described = f"{thumbnails.VERSION} {size} {picture.place!r} {picture.sha256}"
    return hashlib.sha256(described.encode()).hexdigest()


def _cached(name: str) -> bytes | None:
    kept = _cache()
    return kept.get(name) if kept else None


def _render(picture: Picture, size: thumbnails.Size, name: str) -> bytes:
    with opened(picture, max_pixels=thumbnails.MAX_PIXELS) as (file, _):
        content = _scale(file, size)
    if kept := _cache():
        kept.put(name, content)
    return content


def _scale(file: BinaryIO, size: thumbnails.Size) -> bytes:
    try:
        return thumbnails.render(file, size)
    except Exception as error:  # Pillow raises nearly anything on odd metadata, which a whole image may have
        log.warning("The Kling gallery cannot scale an image: %r", error)
        raise NotShown("No smaller picture can be made of it.") from None


@cache
def _cache() -> DiskCache | None:
    directory = conf.get("kling", "gallery_cache_directory", fallback="") or os.path.join(
        tempfile.gettempdir(), f"airflow-kling-gallery-{os.geteuid()}"
    )
    try:
        return DiskCache(Path(directory), conf.getint("kling", "gallery_cache_mb", fallback=512) * 1024 * 1024)
    except OSError as error:
        log.error("The Kling gallery renders each thumbnail anew, it cannot keep them in %s: %s", directory, error)
        return None


async def _original(picture: Picture, name: str) -> Response:
    stack = ExitStack()
    file, info = await _in_thread(lambda: stack.enter_context(opened(picture)), apart=True)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{EXTENSIONS[info.content_type]}"',
        "Content-Length": str(picture.bytes),
        "Cache-Control": _CACHED_FOR,
    }
    return StreamingResponse(_pieces(file, stack), media_type=info.content_type, headers=headers)


def _pieces(file: BinaryIO, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        while piece := file.read(_PIECE):
            yield piece
