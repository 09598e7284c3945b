"""Builds every address of the gallery, and of Airflow's pages that the gallery links to. Pure.

An address is relative to the gallery's page, ``/kling/gallery``. :func:`absolute` makes one for another page.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote, urlencode

#: Airflow serves the gallery's app below this path.
URL_PREFIX = "/kling"
#: Hexadecimal digits of the SHA-256 that name the bytes of a file.
_VERSION_LENGTH = 12

Size = Literal["thumb", "large", "original"]


def absolute(base_url: str, relative_url: str) -> str:
    """Return the full address of a page or image of the gallery.

    :param base_url: of Airflow's UI, with the path that a proxy may put before it; or only that path.
    :param relative_url: as the other functions of this module return it.
    """
    return f"{base_url.rstrip('/')}{URL_PREFIX}/{relative_url}"


def page_url(**query: str | int | None) -> str:
    """Return the address of the gallery's page.

    :param query: names as :func:`airflow_kling.plugins.gallery.filters.read_filters` reads them; empty text and None
        are left out.
    """
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"gallery?{_encoded(given)}" if given else "gallery"


def tab_url(*names: str) -> str:
    """Return the address of the page for a tab in Airflow's UI, which fills in the names in braces.

    It is relative to the root of Airflow's UI, so it holds below the path of a proxy too.
    """
    query = "&".join(f"{name}={{{name.upper()}}}" for name in names)
    return f"{_in_airflow('gallery')}?{query}" if query else _in_airflow("gallery")


def icon_url() -> str:
    """Return the address of the tabs' icon, relative to the root of Airflow's UI."""
    return _in_airflow("static/icon.svg")


def static_url(name: str, version: str) -> str:
    """Return the address of a script, style or icon.

    :param version: another content has another version, so that browsers do not show an old copy.
    """
    return f"static/{name}?v={version}"


def file_version(sha256: str) -> str:
    """Return what names the bytes of an image, a video or a poster in its address."""
    return sha256[:_VERSION_LENGTH]


def image_url(*, index: int, version: str, size: Size, **generation: Any) -> str:
    """Return the address of an archived image.

    The gallery answers 404 where its own record of the generation has another version.

    :param version: see :func:`file_version`.
    :param generation: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` and ``kling_task_id``.
    """
    return _media_url("image", generation, index=index, v=version, size=size)


def video_url(*, index: int, version: str, **generation: Any) -> str:
    """Return the address of an archived video; parameters as :func:`image_url`."""
    return _media_url("video", generation, index=index, v=version)


def poster_url(*, index: int, version: str, size: Size, **generation: Any) -> str:
    """Return the address of the poster of the video with this index; parameters as :func:`image_url`."""
    return _media_url("poster", generation, index=index, v=version, size=size)


def reference_url(*, index: int, version: str, size: Size, **generation: Any) -> str:
    """Return the address of a reference image; parameters as :func:`image_url`."""
    return _media_url("reference", generation, index=index, v=version, size=size)


def generation_url(*, dag_id: str, run_id: str, kling_task_id: str) -> str:
    """Return the address of the page that shows one generation."""
    return page_url(dag_id=dag_id, run_id=run_id, kling_task_id=kling_task_id)


def manifest_url(**generation: Any) -> str:
    """Return the address of a manifest; parameters as :func:`image_url`."""
    return _media_url("manifest", generation)


def run_url(dag_id: str, run_id: str) -> str:
    """Return the address of a DAG run in Airflow's UI."""
    return f"../dags/{_segment(dag_id)}/runs/{_segment(run_id)}"


def task_url(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the address of a task instance in Airflow's UI.

    :param map_index: -1 where the task is not mapped.
    """
    url = f"{run_url(dag_id, run_id)}/tasks/{_segment(task_id)}"
    return url if map_index < 0 else f"{url}/mapped/{map_index}"


def _media_url(kind: str, generation: dict[str, Any], **query: Any) -> str:
    # The DAG is part of the path, because Airflow's authorisation reads it there.
    names = {name: generation[name] for name in ("run_id", "task_id", "map_index", "kling_task_id")}
    return f"dags/{_segment(str(generation['dag_id']))}/{kind}?{_encoded({**names, **query})}"


def _in_airflow(relative_url: str) -> str:
    return absolute("", relative_url).removeprefix("/")


def _encoded(query: dict[str, Any]) -> str:
    # A space becomes %20: a "+" is a space only to those who decode forms.
    return urlencode(query, quote_via=quote)


def _segment(text: str) -> str:
    return quote(text, safe="")
