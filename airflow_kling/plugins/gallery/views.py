"""Describes the pictures, videos and references of a card: their addresses, or why they are not shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_kling.plugins.gallery import locations
from airflow_kling.plugins.gallery.chains import Chains, Claim, Generation, claim_of
from airflow_kling.plugins.gallery.locations import NotShown
from airflow_kling.plugins.gallery.rows import Identity
from airflow_kling.plugins.gallery.values import finite, text, whole_number
from airflow_kling.reporting import gallery_urls

#: More than any route makes or takes; they bound what a hostile XCom makes a browser draw.
MAX_RESULTS = 100
MAX_REFERENCES = 6
_SHOWN_SIZES: tuple[gallery_urls.Size, ...] = ("thumb", "large")
_MAX_DURATION = 24 * 60 * 60.0  # seconds; Kling's longest videos have 15
_ROLES = {
    "subject_images": "subject",
    "scene_image": "scene",
    "style_image": "style",
    "image": "image",
    "image_tail": "last frame",
    "image_list": "image",
    "video_list": "video",
    "human_image": "person",
    "cloth_image": "garment",
}


@dataclass(frozen=True)
class ImageView:
    """An archived image.

    :param width: in pixels
    :param height: in pixels
    :param bytes: size of the archived file
    :param uri: of the archived file
    :param thumb: address of a small form of it; empty where it is not shown
    :param large: address of a form for a whole screen; empty where it is not shown
    :param original: address of the archived file; empty where it is not shown
    :param problem: why it is not shown; empty when it is
    """

    index: int
    width: int
    height: int
    bytes: int
    uri: str
    thumb: str
    large: str
    original: str
    problem: str


@dataclass(frozen=True)
class VideoView:
    """An archived video.

    :param width: in pixels
    :param height: in pixels
    :param bytes: size of the archived file
    :param duration: such as ``0:05``; empty where it is not known
    :param uri: of the archived file
    :param thumb: address of a small form of its poster; empty where there is none
    :param large: address of the poster for a whole screen; empty where there is none
    :param source: address of the archived file; empty where it is not shown
    :param problem: why it is not shown; empty when it is
    """

    index: int
    width: int
    height: int
    bytes: int
    duration: str
    uri: str
    thumb: str
    large: str
    source: str
    problem: str


@dataclass(frozen=True)
class ReferenceView:
    """A reference image or video: shown by the gallery, or a link to another site, or a text.

    :param role: such as ``subject``, ``scene`` or ``style``
    :param label: its URI, or in which form it was given
    :param thumb: address of a small form of it; empty where the gallery does not show it
    :param large: address of a form for a whole screen; empty where the gallery does not show it
    :param href: its http(s) address on another site, or empty
    :param made_by: the generation that it is a result of; None where that is not known
    """

    role: str
    label: str
    thumb: str
    large: str
    href: str
    made_by: Generation | None


def image_views(one: Identity, value: Mapping[str, Any], roots: Sequence[str]) -> list[ImageView]:
    """Describe the archived images of a generation."""
    return [_image(one, value, image, roots) for image in _results(value, "images")]


def video_views(one: Identity, value: Mapping[str, Any], roots: Sequence[str], max_bytes: int) -> list[VideoView]:
    """Describe the archived videos of a generation.

    :param max_bytes: a video of more is not shown.
    """
    return [_video(one, value, video, roots, max_bytes) for video in _results(value, "videos")]


def reference_views(
    one: Identity, request: Mapping[str, Any], roots: Sequence[str], chains: Chains
) -> list[ReferenceView]:
    """Describe the references of a generation."""
    described = locations.references(request)[:MAX_REFERENCES]
    return [_reference(one, request, index, item, roots, chains) for index, item in enumerate(described)]


def _results(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    results = value.get(name)
    if not isinstance(results, list):
        return []
    described = [result for result in results if isinstance(result, dict) and isinstance(result.get("index"), int)]
    return described[:MAX_RESULTS]


def _image(one: Identity, value: Mapping[str, Any], image: Mapping[str, Any], roots: Sequence[str]) -> ImageView:
    index, problem, version = image["index"], "", ""
    try:
        version = locations.archived_image(value, one.kling_task_id, index, roots).version
    except NotShown as reason:
        problem = str(reason)

    def url(size: gallery_urls.Size) -> str:
        return "" if problem else gallery_urls.image_url(**one._asdict(), index=index, version=version, size=size)

    return ImageView(
        index=index,
        **_measures(image),
        uri=text(image.get("uri")),
        thumb=url("thumb"),
        large=url("large"),
        original=url("original"),
        problem=problem,
    )


def _video(
    one: Identity, value: Mapping[str, Any], video: Mapping[str, Any], roots: Sequence[str], max_bytes: int
) -> VideoView:
    index, source, problem, thumb, large = video["index"], "", "", "", ""
    names = {**one._asdict(), "index": index}
    try:
        found = locations.archived_video(value, one.kling_task_id, index, roots, max_bytes)
        source = gallery_urls.video_url(**names, version=found.version)
    except NotShown as reason:
        problem = str(reason)
    try:
        poster = locations.archived_poster(value, one.kling_task_id, index, roots)
        thumb, large = (gallery_urls.poster_url(**names, version=poster.version, size=size) for size in _SHOWN_SIZES)
    except NotShown:
        pass  # the card has a plain placeholder
    return VideoView(
        index=index,
        **_measures(video),
        duration=_duration(video.get("duration")),
        uri=text(video.get("uri")),
        thumb=thumb,
        large=large,
        source=source,
        problem=problem,
    )


def _measures(result: Mapping[str, Any]) -> dict[str, int]:
    return {
        "width": whole_number(result.get("width"), 1, 100_000),
        "height": whole_number(result.get("height"), 1, 100_000),
        "bytes": whole_number(result.get("bytes"), 0, 2**40),
    }


def _duration(seconds: Any) -> str:
    number = finite(seconds)
    if number is None or not 0 < number <= _MAX_DURATION:
        return ""
    whole = max(1, round(number))
    return f"{whole // 60}:{whole % 60:02d}"


def _reference(
    one: Identity,
    request: Mapping[str, Any],
    index: int,
    item: Mapping[str, Any],
    roots: Sequence[str],
    chains: Chains,
) -> ReferenceView:
    uri = text(item.get("uri"))
    claim = claim_of(item)
    made_by = chains.sources.get(claim) if claim else None
    thumb = large = ""
    if claim and made_by:
        thumb, large = _archived(claim, made_by, is_picture=text(item.get("content_type")).startswith("image/"))
    else:
        try:
            version = locations.reference_image(request, index, roots).version
            names = {**one._asdict(), "index": index, "version": version}
            thumb, large = (gallery_urls.reference_url(**names, size=size) for size in _SHOWN_SIZES)
        except NotShown:
            pass  # the card has a link or a text instead
    label = uri or f"given as {text(item.get('source')) or 'data'}"
    return ReferenceView(_role(item.get("name")), label, thumb, large, _link(uri), made_by)


def _archived(claim: Claim, made_by: Generation, *, is_picture: bool) -> tuple[str, str]:
    """Return the addresses of a result as its own card shows it: through the connection of its archive."""
    if not is_picture:
        return "", ""
    url = gallery_urls.image_url if claim.kind == "image" else gallery_urls.poster_url
    names = {**made_by.identity._asdict(), "index": claim.number, "version": gallery_urls.file_version(claim.sha256)}
    return url(**names, size="thumb"), url(**names, size="large")


def _role(name: Any) -> str:
    return _ROLES.get(re.split(r"[\[.]", str(name), maxsplit=1)[0], "reference")


def _link(uri: str) -> str:
    """Return a URI that a browser may follow; never one that is a script."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    return uri if parts.scheme in ("http", "https") and parts.hostname else ""
