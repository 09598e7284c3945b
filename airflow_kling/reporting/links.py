"""Links a task instance in Airflow's UI to its generation in the gallery, and to its images in the S3 console.

A link is an XCom. The task pushes it itself as soon as the Kling task is known, so the link is there while the task
runs or is deferred. Airflow alone would push it only when the task has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)


class _PushedLink(BaseOperatorLink):
    """A link that the running task has pushed."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, empty while there is none."""
        # Airflow 2 calls this in its web server, Airflow 3 when the task has ended.
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


class KlingGalleryLink(_PushedLink):
    """Opens the generation in the gallery: a placeholder while it runs, its images once they are archived."""

    name = "Kling gallery"
    xcom_key = "kling_gallery_link"


class S3ConsoleLink(_PushedLink):
    """Opens the folder of the archived images in the AWS console."""

    name = "S3 console"
    xcom_key = "kling_s3_console_link"


#: Links of each operator that knows a Kling task; the gallery needs Airflow 3.1.
GALLERY_LINKS = (KlingGalleryLink(),) if AIRFLOW_V_3_1_PLUS else ()


def gallery_link(ti: Any, kling_task_id: str) -> str:
    """Return the address of a generation in the gallery of this Airflow."""
    from airflow_kling.reporting import gallery_urls

    base_url = conf.get("api", "base_url", fallback=None) or "/"
    page = gallery_urls.page_url(dag_id=ti.dag_id, run_id=ti.run_id, kling_task_id=kling_task_id)
    return gallery_urls.absolute(base_url, page)


def push_gallery_link(context: Context, kling_task_id: str) -> None:
    """Push the gallery link of the running task."""
    ti: Any = context.get("ti")
    if ti is not None and GALLERY_LINKS:
        _push(ti, KlingGalleryLink.xcom_key, lambda: gallery_link(ti, kling_task_id))


def push_s3_console_link(context: Context, make_url: Callable[[], str | None]) -> None:
    """Push the console link of the running archive task.

    :param make_url: returns None for storage that has no S3 console; what it raises is logged.
    """
    ti: Any = context.get("ti")
    if ti is not None:
        _push(ti, S3ConsoleLink.xcom_key, make_url)


def _push(ti: Any, key: str, make_url: Callable[[], str | None]) -> None:
    # A task never fails because of a link.
    try:
        # An empty text stands for no link: Airflow logs an error where there is no XCom.
        ti.xcom_push(key=key, value=make_url() or "")
    except Exception as error:
        # Only the class: the message may contain a part of the connection.
        log.warning("The task has no %s: %s", key, type(error).__name__)
