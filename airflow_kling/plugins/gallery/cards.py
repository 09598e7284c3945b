"""Turns a row into the card that the page shows. Pure.

The author of a DAG can write anything into an XCom, so no value is trusted: one of another type than expected counts as
missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.plugins.gallery import locations
from airflow_kling.plugins.gallery.locations import NotShown
from airflow_kling.plugins.gallery.rows import MAX_VALUE, Identity, Row
from airflow_kling.plugins.gallery.status import UNFINISHED, State
from airflow_kling.reporting import gallery_urls

#: More than any route makes or takes; they bound what a hostile XCom makes a browser draw.
MAX_IMAGES = 100
MAX_REFERENCES = 6
_MAX_TEXT = 4000  # characters, longer than any prompt that Kling takes
_SHOWN_SIZES: tuple[gallery_urls.Size, ...] = ("thumb", "large")


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
class ReferenceView:
    """A reference image: shown by the gallery, or a link to another site, or a text.

    :param role: subject, scene or style
    :param label: its URI, or in which form it was given
    :param thumb: address of a small form of it; empty where the gallery does not show it
    :param large: address of a form for a whole screen; empty where the gallery does not show it
    :param href: its http(s) address on another site, or empty
    """

    role: str
    label: str
    thumb: str
    large: str
    href: str


@dataclass(frozen=True)
class Card:
    """One generation.

    :param generation: see :attr:`airflow_kling.plugins.gallery.rows.Identity.generation`
    :param element: id of the card's HTML element
    :param at: when its task pushed the XCom
    :param can_change: whether the browser asks again for the state
    :param facts: names and values
    :param expected: how many images were asked for
    :param manifest: address of the gallery's view of it; empty where there is none
    :param note: why the card shows so little; empty where it shows all
    """

    identity: Identity
    generation: str
    element: str
    at: datetime
    state: State
    can_change: bool
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


def make_card(row: Row, state: State, roots: Sequence[str] = ()) -> Card:
    """The card of a generation, with addresses relative to the gallery's page.

    :param roots: folders of the API server that may be read.
    """
    value = as_mapping(row.value)
    request = request_of(value, archived=row.archived)
    one = row.identity
    manifest_uri = _text(value.get("manifest")) if row.archived else ""
    return Card(
        identity=one,
        generation=one.generation,
        element="g" + "-".join(quote(str(part), safe="") for part in one),
        at=row.at,
        state=state,
        can_change=state in UNFINISHED,
        prompt=_text(request.get("prompt")),
        negative_prompt=_text(request.get("negative_prompt")),
        facts=_facts(value, request),
        images=_images(one, value, roots) if row.archived else [],
        references=_references(one, request, roots),
        expected=_whole_number(request.get("n"), 1, 9),
        manifest=gallery_urls.manifest_url(**one._asdict()) if manifest_uri else "",
        manifest_uri=manifest_uri,
        run_url=gallery_urls.run_url(one.dag_id, one.run_id),
        task_url=gallery_urls.task_url(one.dag_id, one.run_id, one.task_id, one.map_index),
        note=_note(row, value),
    )


def _note(row: Row, value: Mapping[str, Any]) -> str:
    if row.is_too_large:
        return f"Its values are larger than {MAX_VALUE // 1024} kB, which is too large for the gallery to read them."
    return "" if value else "A custom XCom backend keeps its values. The gallery does not read them."


def as_mapping(value: Any) -> dict[str, Any]:
    """Return the value of an XCom as a mapping, an empty one where it is something else."""
    # Airflow keeps a value that a person typed into its UI as JSON in a text.
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def request_of(value: Mapping[str, Any], *, archived: bool) -> dict[str, Any]:
    """Return the request record of a generation; empty where there is none.

    :param value: of the XCom that the archive task pushed, which contains the record, or of the one that the submitting
        task pushed, which is the record.
    """
    return as_mapping(value.get("asked") if archived else value)


def _facts(value: Mapping[str, Any], request: Mapping[str, Any]) -> list[tuple[str, str]]:
    # An archive names the route itself too: its request record can be missing.
    route = _text(request.get("route") or value.get("route"))
    facts = [
        # Most generations have the default route; naming it on each card would tell nothing.
        ("Route", "" if route == DEFAULT_ROUTE else route),
        ("Model", _text(request.get("model_name"))),
        ("Ratio", _text(request.get("aspect_ratio"))),
        ("Units billed", _amount(value.get("units"))),
        ("Took", _duration(as_mapping(value.get("task")))),
    ]
    return [(name, fact) for name, fact in facts if fact]


def _images(one: Identity, value: Mapping[str, Any], roots: Sequence[str]) -> list[ImageView]:
    images = value.get("images")
    if not isinstance(images, list):
        return []
    described = [image for image in images if isinstance(image, dict) and isinstance(image.get("index"), int)]
    return [_image(one, value, image, roots) for image in described[:MAX_IMAGES]]


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
        width=_whole_number(image.get("width"), 1, 100_000),
        height=_whole_number(image.get("height"), 1, 100_000),
        bytes=_whole_number(image.get("bytes"), 0, 2**40),
        uri=_text(image.get("uri")),
        thumb=url("thumb"),
        large=url("large"),
        original=url("original"),
        problem=problem,
    )


def _references(one: Identity, request: Mapping[str, Any], roots: Sequence[str]) -> list[ReferenceView]:
    described = locations.references(request)
    return [_reference(one, request, index, roots) for index in range(min(len(described), MAX_REFERENCES))]


def _reference(one: Identity, request: Mapping[str, Any], index: int, roots: Sequence[str]) -> ReferenceView:
    item = locations.references(request)[index]
    uri = _text(item.get("uri"))
    thumb = large = ""
    try:
        version = locations.reference_image(request, index, roots).version
        names = {**one._asdict(), "index": index, "version": version}
        thumb, large = (gallery_urls.reference_url(**names, size=size) for size in _SHOWN_SIZES)
    except NotShown:
        pass  # the card has a link or a text instead
    label = uri or f"given as {_text(item.get('source')) or 'data'}"
    return ReferenceView(_role(item.get("name")), label, thumb, large, _link(uri))


def _role(name: Any) -> str:
    return {"scene_image": "scene", "style_image": "style"}.get(str(name), "subject")


def _link(uri: str) -> str:
    """Return a URI that a browser may follow; never one that is a script."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    return uri if parts.scheme in ("http", "https") and parts.hostname else ""


def _text(value: Any) -> str:
    # JSON can hold half of a surrogate pair, which UTF-8 cannot.
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _whole_number(value: Any, least: int, most: int) -> int:
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
    """Return the time between creation and last change of a task, by Kling's clock; empty where it is not known."""
    try:
        began, ended = (datetime.fromisoformat(task[name]) for name in ("created_at", "updated_at"))
        seconds = (ended - began).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ""
    if seconds < 0:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
