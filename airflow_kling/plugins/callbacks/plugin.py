"""Registers the receiver of callbacks with Airflow 3.1+, for the connections that ``[kling] callback_conn_ids`` names.

Every process of Airflow imports this module; only the API server gets requests. So it imports nothing of the receiver,
and the app is built at the first request.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

#: Not below the gallery's ``/kling``: Airflow would pass the requests to the gallery, which wants a login.
URL_PREFIX = "/kling-callbacks"


def conn_ids() -> list[str]:
    """Return the connections whose callbacks are taken; none unless the configuration names some."""
    return [name.strip() for name in conf.get("kling", "callback_conn_ids", fallback="").split(",") if name.strip()]


@cache
def _load_app() -> Any:
    from airflow_kling.plugins.callbacks.app import CallbackApp
    from airflow_kling.plugins.callbacks.receivers import ConnectionReceivers

    return CallbackApp(ConnectionReceivers(conn_ids()).find)


async def callback_app(scope: Any, receive: Any, send: Any) -> None:
    """Pass a request to the receiver."""
    app = _load_app() if _load_app.cache_info().currsize else await asyncio.to_thread(_load_app)
    await app(scope, receive, send)


_APPS = [{"app": callback_app, "url_prefix": URL_PREFIX, "name": "Kling callbacks"}]


class KlingCallbacksPlugin(AirflowPlugin):
    """The app, at ``/kling-callbacks/<connection id>``; nothing is mounted where no connection takes callbacks."""

    name = "kling_callbacks"
    fastapi_apps: list[Any] = _APPS if AIRFLOW_V_3_1_PLUS and conn_ids() else []
