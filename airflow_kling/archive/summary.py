"""Describes an archived task for XCom and Asset events. Pure."""

from __future__ import annotations

from typing import Any, Final

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.archive.manifest import Archive, ManifestImage, ManifestVideo, UnverifiedFile

_IMAGE: Final = ("index", "uri", "sha256", "bytes", "width", "height", "content_type")
_VIDEO: Final = (*_IMAGE, "duration", "codec", "id")
_POSTER: Final = _IMAGE[1:]


def summarize(archive: Archive) -> dict[str, Any]:
    """Return what goes into XCom: ``{"manifest", "kling_task_id", "route", "images": [{"index", "uri", ...}]}``.

    ``videos``, ``unverified`` and ``warnings`` are there only where there are any.
    """
    manifest = archive.manifest
    lists = {
        "videos": [describe_video(video) for video in manifest.videos],
        "unverified": [_describe_unverified(file) for file in manifest.unverified],
        "warnings": list(manifest.warnings),
    }
    return {
        "manifest": archive.uri,
        "kling_task_id": manifest.kling_task_id,
        "route": manifest.task.get("route", DEFAULT_ROUTE),
        "images": [describe_image(image) for image in manifest.images],
        **{name: entries for name, entries in lists.items() if entries},
    }


def describe_event(archive: Archive) -> dict[str, Any]:
    """Return the extra of an Asset event: the summary, what was asked, what came back, and the run."""
    return {**summarize(archive), **archive.manifest.model_dump(mode="json", include={"request", "task", "run"})}


def describe_image(image: ManifestImage) -> dict[str, Any]:
    """Return an image as XCom has it: ``{"index", "uri", "sha256", "bytes", "width", "height", "content_type"}``."""
    return {name: getattr(image, name) for name in _IMAGE}


def describe_video(video: ManifestVideo) -> dict[str, Any]:
    """Return a video as XCom has it: as an image, and ``duration`` in seconds, ``codec``, ``id``, ``poster``.

    ``poster`` is ``{"uri", "sha256", "bytes", "width", "height", "content_type"}``, and left out where there is none.
    """
    poster = {"poster": {name: getattr(video.poster, name) for name in _POSTER}} if video.poster else {}
    return {name: getattr(video, name) for name in _VIDEO} | poster


def _describe_unverified(file: UnverifiedFile) -> dict[str, Any]:
    kind = {"kind": file.kind} if file.kind != "image" else {}  # images came first, without it
    return file.model_dump(include={"index", "uri", "sha256", "bytes", "reason"}) | kind
