"""Registers the gallery with Airflow 3.1 and later: a page in the navigation, and tabs on DAGs, runs and tasks.

Every process of Airflow imports this module; only the API server gets requests. So it imports nothing of the gallery,
and the app is built at the first request.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_kling.reporting import gallery_urls

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

# Airflow's UI finds a view by its route alone, so each destination has a route of its own.
_VIEWS = [
    {"name": "Kling", "destination": destination, "url_route": route, "href": href, "icon": gallery_urls.icon_url()}
    for destination, route, href in (
        ("nav", "kling", gallery_urls.tab_url()),
        ("dag", "kling-dag", gallery_urls.tab_url("dag_id")),
        ("dag_run", "kling-run", gallery_urls.tab_url("dag_id", "run_id")),
        ("task_instance", "kling-task", gallery_urls.tab_url("dag_id", "run_id", "task_id", "map_index")),
    )
]


@cache
def load_app() -> ASGIApp:
    """Build the gallery's app, once in each process.

    :return: an app that answers 503 to everything where this Airflow lacks what the gallery is built on: a gallery
        without Airflow's authorisation would show images to strangers.
    """
    try:
        from airflow_kling.plugins.gallery.app import create_app

        return create_app()
    except Exception:  # imports, and names that another version of Airflow or FastAPI has changed
        log.exception("The Kling gallery is not available: this Airflow lacks something that it is built on.")
        return _unavailable


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    from starlette.responses import PlainTextResponse

    answer = PlainTextResponse("The Kling gallery is not available. The API server's log says why.", 503)
    await answer(scope, receive, send)


async def gallery_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request to the gallery's app."""
    # The imports take about a second. In a thread they do not hold up the API server's other requests.
    app = load_app() if load_app.cache_info().currsize else await asyncio.to_thread(load_app)
    await app(scope, receive, send)


_APPS = [{"app": gallery_app, "url_prefix": gallery_urls.URL_PREFIX, "name": "Kling gallery"}]


class KlingGalleryPlugin(AirflowPlugin):
    """The app, and the views that show it. Older versions of Airflow get neither."""

    name = "kling_gallery"
    fastapi_apps: list[Any] = _APPS if AIRFLOW_V_3_1_PLUS else []
    external_views: list[Any] = _VIEWS if AIRFLOW_V_3_1_PLUS else []
