"""Turns a row into the card that the page shows. Pure.

The author of a DAG can write anything into an XCom, so no value is trusted: one of another type than expected counts as
missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow_kling.api.prices import bill_differs, pack_of, units_text
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.plugins.gallery.chains import NO_CHAINS, Chains, Generation, results_of
from airflow_kling.plugins.gallery.locations import MAX_VIDEO_BYTES
from airflow_kling.plugins.gallery.rows import MAX_VALUE, Identity, Row
from airflow_kling.plugins.gallery.status import UNFINISHED, State
from airflow_kling.plugins.gallery.values import as_mapping, finite, request_of, text, whole_number
from airflow_kling.plugins.gallery.views import (
    ImageView,
    ReferenceView,
    VideoView,
    image_views,
    reference_views,
    video_views,
)
from airflow_kling.reporting import gallery_urls

#: Links from a card to others, of each kind.
MAX_LINKS = 6


@dataclass(frozen=True)
class CardLink:
    """A link to the card of another generation."""

    label: str
    url: str


@dataclass(frozen=True)
class Card:
    """One generation.

    :param generation: see :attr:`airflow_kling.plugins.gallery.rows.Identity.generation`
    :param element: id of the card's HTML element
    :param at: when its task pushed the XCom
    :param can_change: whether the browser asks again for the state
    :param facts: names and values
    :param made_from: generations whose results are references of this one
    :param used_in: generations that were made from results of this one
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
    videos: list[VideoView]
    references: list[ReferenceView]
    made_from: list[CardLink]
    used_in: list[CardLink]
    expected: int
    manifest: str
    manifest_uri: str
    run_url: str
    task_url: str
    note: str

    @property
    def is_portrait(self) -> bool:
        """Whether its first result is higher than wide."""
        results: list[ImageView | VideoView] = [*self.images, *self.videos]
        return bool(results) and results[0].height > results[0].width


def make_card(
    row: Row,
    state: State,
    roots: Sequence[str] = (),
    *,
    max_video_bytes: int = MAX_VIDEO_BYTES,
    chains: Chains = NO_CHAINS,
) -> Card:
    """The card of a generation, with addresses relative to the gallery's page.

    :param roots: folders of the API server that may be read.
    :param max_video_bytes: a video of more is not shown.
    :param chains: what the generations of the page were made from, and what was made from them.
    """
    value = as_mapping(row.value)
    request = request_of(value, archived=row.archived)
    one = row.identity
    references = reference_views(one, request, roots, chains)
    manifest_uri = text(value.get("manifest")) if row.archived else ""
    return Card(
        identity=one,
        generation=one.generation,
        element="g" + "-".join(quote(str(part), safe="") for part in one),
        at=row.at,
        state=state,
        can_change=state in UNFINISHED,
        prompt=text(request.get("prompt")),
        negative_prompt=text(request.get("negative_prompt")),
        facts=_facts(value, request),
        images=image_views(one, value, roots) if row.archived else [],
        videos=video_views(one, value, roots, max_video_bytes) if row.archived else [],
        references=references,
        made_from=_links(one, [reference.made_by for reference in references]),
        used_in=_links(one, _uses(one, value, chains)) if row.archived else [],
        expected=whole_number(request.get("n"), 1, 9),
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


def _uses(one: Identity, value: Mapping[str, Any], chains: Chains) -> list[Generation]:
    return [use for result in sorted(results_of(value, one.kling_task_id)) for use in chains.uses.get(result, ())]


def _links(one: Identity, others: Sequence[Generation | None]) -> list[CardLink]:
    """Return one link to each generation but this one."""
    links: dict[str, CardLink] = {}
    for identity, label in filter(None, others):
        url = gallery_urls.generation_url(
            dag_id=identity.dag_id, run_id=identity.run_id, kling_task_id=identity.kling_task_id
        )
        if identity.kling_task_id != one.kling_task_id:
            links.setdefault(url, CardLink(label, url))
    return list(links.values())[:MAX_LINKS]


def _facts(value: Mapping[str, Any], request: Mapping[str, Any]) -> list[tuple[str, str]]:
    # An archive names the route itself too: its request record can be missing.
    route = text(request.get("route") or value.get("route"))
    facts = [
        # Most generations have the default route; naming it on each card would tell nothing.
        ("Route", "" if route == DEFAULT_ROUTE else route),
        ("Model", text(request.get("model_name"))),
        ("Ratio", text(request.get("aspect_ratio"))),
        *_units(route or DEFAULT_ROUTE, finite(value.get("units")), finite(request.get("estimated_units"))),
        ("Took", _duration(as_mapping(value.get("task")))),
    ]
    return [(name, fact) for name, fact in facts if fact]


def _units(route: str, billed: float | None, estimated: float | None) -> list[tuple[str, str]]:
    """Return what was billed, and the estimate where that is all there is, or was wrong by more than a tenth."""
    facts = []
    if billed is not None:
        facts.append(("Units billed", units_text(billed, pack_of(route))))
    if estimated is not None and (billed is None or bill_differs(route, billed, estimated)):
        facts.append(("Units estimated", units_text(estimated, pack_of(route))))
    return facts


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
