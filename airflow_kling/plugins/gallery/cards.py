"""From a row to what its card shows; every value of an XCom is taken for what anybody may have written. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow_kling.plugins.gallery import locations
from airflow_kling.plugins.gallery.locations import NotShown
from airflow_kling.plugins.gallery.queries import Identity, Row
from airflow_kling.plugins.gallery.status import OPEN, State

MAX_IMAGES = 100
MAX_REFERENCES = 6
_MAX_TEXT = 4000


@dataclass(frozen=True)
class ImageView:
    """An archived image.

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
class ReferenceView:
    """A reference image: a picture of ours, a link to follow, or only words.

    :param role: subject, scene or style
    :param thumb: address of our picture of it, or empty
    :param href: an http(s) address of somebody else's, or empty
    """

    role: str
    label: str
    thumb: str
    large: str
    href: str


@dataclass(frozen=True)
class Card:
    """One generation."""

    identity: Identity
    element: str
    at: datetime
    state: State
    is_open: bool
    prompt: str
    negative_prompt: str
    facts: list[tuple[str, str]]
    images: list[ImageView]
    references: list[ReferenceView]
    expected: int
    manifest: str
    manifest_uri: str
    run_url: str
    task_url: str
    note: str


def make_card(row: Row, state: State) -> Card:
    """The card of a generation, with addresses relative to the gallery's page."""
    value = as_mapping(row.value)
    asked = as_mapping(value.get("asked")) if row.archived else value
    one = row.identity
    manifest_uri = _text(value.get("manifest")) if row.archived else ""
    return Card(
        identity=one,
        element="g" + "-".join(quote(str(part), safe="") for part in one),
        at=row.at,
        state=state,
        is_open=state in OPEN,
        prompt=_text(asked.get("prompt")),
        negative_prompt=_text(asked.get("negative_prompt")),
        facts=_facts(value, asked),
        images=_images(one, value) if row.archived else [],
        references=_references(one, asked),
        expected=_small(asked.get("n"), 1, 9),
        manifest=_ours(one, "manifest") if manifest_uri else "",
        manifest_uri=manifest_uri,
        run_url=f"../dags/{_part(one.dag_id)}/runs/{_part(one.run_id)}",
        task_url=_task_url(one),
        note="" if value else "Its values are kept by a custom XCom backend, which the gallery does not ask.",
    )


def as_mapping(value: Any) -> dict[str, Any]:
    """The value of an XCom as a mapping, an empty one where it is none; one that was set by hand is JSON in a text."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _facts(value: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("Model", _text(asked.get("model_name"))),
        ("Ratio", _text(asked.get("aspect_ratio"))),
        ("Units billed", _amount(value.get("units"))),
        ("Took", _duration(as_mapping(value.get("task")))),
    ]
    return [(name, fact) for name, fact in facts if fact]


def _images(one: Identity, value: Mapping[str, Any]) -> list[ImageView]:
    images = value.get("images")
    if not isinstance(images, list):
        return []
    described = [image for image in images if isinstance(image, dict) and isinstance(image.get("index"), int)]
    return [_image(one, value, image) for image in described[:MAX_IMAGES]]


def _image(one: Identity, value: Mapping[str, Any], image: Mapping[str, Any]) -> ImageView:
    index, problem, version = image["index"], "", ""
    try:
        version = locations.image_picture(value, one.kling_task_id, index).version
    except NotShown as reason:
        problem = str(reason)

    def address(size: str) -> str:
        return "" if problem else _ours(one, "image", index=index, size=size, v=version)

    return ImageView(
        index=index,
        width=_small(image.get("width"), 1, 100_000),
        height=_small(image.get("height"), 1, 100_000),
        bytes=_small(image.get("bytes"), 0, 2**40),
        uri=_text(image.get("uri")),
        thumb=address("thumb"),
        large=address("large"),
        original=address("original"),
        problem=problem,
    )


def _references(one: Identity, asked: Mapping[str, Any]) -> list[ReferenceView]:
    references = asked.get("references")
    if not isinstance(references, list):
        return []
    described = [reference for reference in references if isinstance(reference, dict)]
    return [_reference(one, asked, position, item) for position, item in enumerate(described[:MAX_REFERENCES])]


def _reference(one: Identity, asked: Mapping[str, Any], position: int, item: Mapping[str, Any]) -> ReferenceView:
    uri = _text(item.get("uri"))
    thumb = large = ""
    try:
        version = locations.reference_picture(asked, position).version
        thumb, large = (_ours(one, "reference", index=position, size=size, v=version) for size in ("thumb", "large"))
    except NotShown:
        pass
    return ReferenceView(
        _role(item.get("name")), uri or f"given as {_text(item.get('source')) or 'data'}", thumb, large, _link(uri)
    )


def _role(name: Any) -> str:
    return {"scene_image": "scene", "style_image": "style"}.get(str(name), "subject")


def _link(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    return uri if parts.scheme in ("http", "https") and parts.hostname else ""


def _ours(one: Identity, what: str, **query: Any) -> str:
    names = {"run_id": one.run_id, "task_id": one.task_id, "map_index": one.map_index}
    return f"dags/{_part(one.dag_id)}/{what}?{urlencode({**names, 'kling_task_id': one.kling_task_id, **query})}"


def _task_url(one: Identity) -> str:
    url = f"../dags/{_part(one.dag_id)}/runs/{_part(one.run_id)}/tasks/{_part(one.task_id)}"
    return url if one.map_index < 0 else f"{url}/mapped/{one.map_index}"


def _part(text: str) -> str:
    return quote(text, safe="")


def _text(value: Any) -> str:
    """What can be sent: JSON can hold half of a surrogate pair."""
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _small(value: Any, least: int, most: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else least


def _amount(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        number = float(value)
    except OverflowError:
        return ""
    return f"{number:g}" if math.isfinite(number) else ""


def _duration(task: Mapping[str, Any]) -> str:
    """From creation to the last change, as Kling tells them."""
    try:
        began, ended = (datetime.fromisoformat(task[name]) for name in ("created_at", "updated_at"))
        seconds = (ended - began).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ""
    if seconds < 0:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
