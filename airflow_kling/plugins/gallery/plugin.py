"""What Airflow loads: each of its processes does, but only the API server looks at the app, which comes then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast, overload

from airflow.providers.common.compat.sdk import AirflowPlugin

log = logging.getLogger(__name__)

URL_PREFIX = "/kling"


class _WhenLookedAt(Sequence[dict[str, Any]]):
    """A list that is made at the first look at it.

    :param make: returns the items
    """

    def __init__(self, make: Callable[[], Sequence[dict[str, Any]]]) -> None:
        self._make = make

    @cached_property
    def _items(self) -> Sequence[dict[str, Any]]:
        return self._make()

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Sequence[dict[str, Any]]:
        return self._items[index]


def _airflow_has_views() -> bool:
    """Airflow 3.1 and later show pages of plugins."""
    from airflow import __version__
    from packaging.version import Version

    return Version(__version__).release >= (3, 1)


def _apps() -> list[dict[str, Any]]:
    """The app, or nothing: without Airflow's own authorisation there is no gallery."""
    if not _airflow_has_views():
        return []
    try:
        from airflow_kling.plugins.gallery.app import create_app
    except ImportError:
        log.exception("No Kling gallery: this Airflow does not have what the gallery's authorisation is made of")
        return []
    return [{"app": create_app(), "url_prefix": URL_PREFIX, "name": "Kling gallery"}]


def _views() -> list[dict[str, Any]]:
    return [_view(*one) for one in _DESTINATIONS] if APPS else []


# The UI fills in the names in braces. Each route is looked up by its name alone, so each place has one of its own.
_DESTINATIONS = (
    ("nav", "kling", ""),
    ("dag", "kling-dag", "?dag_id={DAG_ID}"),
    ("dag_run", "kling-run", "?dag_id={DAG_ID}&run_id={RUN_ID}"),
    ("task_instance", "kling-task", "?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"),
)


def _view(destination: str, url_route: str, query: str) -> dict[str, Any]:
    # Relative, so that they hold where Airflow is served below a path.
    here = URL_PREFIX.removeprefix("/")
    view = {"name": "Kling", "destination": destination, "url_route": url_route}
    return {**view, "href": f"{here}/gallery{query}", "icon": f"{here}/static/icon.svg"}


APPS = _WhenLookedAt(_apps)
VIEWS = _WhenLookedAt(_views)


class KlingGalleryPlugin(AirflowPlugin):
    """A page in the navigation, and a tab on each DAG, DAG run and task instance."""

    name = "kling_gallery"
    fastapi_apps = cast(list[Any], APPS)
    external_views = cast(list[Any], VIEWS)
