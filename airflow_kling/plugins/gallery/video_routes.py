"""Answers requests for an archived video, whole or in ranges, as a browser's player asks for it.

As :mod:`.media_routes` does: who may not read the DAG gets nothing, and no byte is sent before all of the file is
checked. A player asks for many ranges of one video; the file comes from the storage once, and then from the disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from airflow_kling.media.kinds import MP4
from airflow_kling.plugins.gallery import locations
from airflow_kling.plugins.gallery.access import MayReadDag
from airflow_kling.plugins.gallery.answers import (
    MAY_BE_CACHED,
    PIECE,
    OneGeneration,
    answer,
    find_archive,
    of_version,
)
from airflow_kling.plugins.gallery.locations import ExpectedFile, NotShown
from airflow_kling.plugins.gallery.ranges import NotSatisfiable, Span, read_range
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.plugins.gallery.settings import file_roots, max_video_bytes, video_cache
from airflow_kling.plugins.gallery.workshop import workshop

router = APIRouter(prefix="/dags/{dag_id}", dependencies=[MayReadDag])


@router.api_route("/video", methods=["GET", "HEAD"])
async def video(request: Request, one: OneGeneration, index: int, v: str | None = None) -> Response:
    """Answer with an archived video, or the range of it that is asked for; with 416 where it has no such range.

    :param v: version, see :func:`airflow_kling.reporting.gallery_urls.file_version`; 404 where the video has another.
    """
    found = await answer(to_thread.run_sync(partial(_find_video, one, index, v)))
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": MAY_BE_CACHED,
        "ETag": f'"{found.sha256}"',
        "Content-Disposition": f'inline; filename="{one.kling_task_id}-{index}.{MP4.extension}"',
        # Airflow's compression would change the bytes that a range counts. Newer versions of it leave videos alone.
        "Content-Encoding": "identity",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        span = read_range(_range_of(request, headers["ETag"]), found.bytes)
    except NotSatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{found.bytes}"})
    file = await answer(_open(found), request)
    return _send(file, span, found.bytes, headers, with_body=request.method == "GET")


def _find_video(one: Identity, index: int, version: str | None) -> ExpectedFile:
    value = find_archive(one)
    found = locations.archived_video(value, one.kling_task_id, index, file_roots(), max_video_bytes())
    return of_version(found, version)


def _range_of(request: Request, etag: str) -> str | None:
    """Return the range that is asked for, unless it is one of another version of the file."""
    return request.headers.get("range") if request.headers.get("if-range") in (None, etag) else None


async def _open(found: ExpectedFile) -> BinaryIO:
    cache = await to_thread.run_sync(video_cache)
    if cache is None:
        raise NotShown("The API server has no directory for videos; its log says why.")
    return await workshop().videos.open(found, cache, file_roots())


def _send(file: BinaryIO, span: Span | None, size: int, headers: dict[str, str], *, with_body: bool) -> Response:
    sent = span or Span(0, size - 1)
    headers = {**headers, "Content-Length": str(sent.length)}
    if span is not None:
        headers["Content-Range"] = f"bytes {span.first}-{span.last}/{size}"
    status = 200 if span is None else 206
    if not with_body:
        file.close()
        return Response(status_code=status, headers=headers, media_type=MP4.content_type)
    return StreamingResponse(_pieces(file, sent), status, headers=headers, media_type=MP4.content_type)


async def _pieces(file: BinaryIO, span: Span) -> AsyncIterator[bytes]:
    with file:
        file.seek(span.first)
        left = span.length
        while left and (piece := await to_thread.run_sync(file.read, min(left, PIECE))):
            left -= len(piece)
            yield piece
