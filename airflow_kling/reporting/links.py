"""Links a task instance in Airflow's UI to its generation in the gallery, and to its images in the S3 console.

A link is an XCom. On Airflow 3 the task keeps the address in its operator. When the task ends or defers, Airflow's task
runner asks for it in the same process and pushes it, one call of Airflow's API server. A task that holds its worker
while it waits pushes it itself too, since users want it meanwhile. On Airflow 2 the web server asks, in another
process, so there the task always pushes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

_ADDRESSES = "_link_addresses"  # attribute of the operator that runs


class _TaskLink(BaseOperatorLink):
    """A link whose address the running task has made."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, empty while there is none: Airflow 3 pushes it in any case."""
        if AIRFLOW_V_3_0_PLUS:
            addresses: dict[str, str] = getattr(operator, _ADDRESSES, {})
            return addresses.get(self.xcom_key, "")
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


class KlingGalleryLink(_TaskLink):
    """Opens the generation in the gallery: a placeholder while it runs, its images once they are archived."""

    name = "Kling gallery"
    xcom_key = "kling_gallery_link"


class S3ConsoleLink(_TaskLink):
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


def set_gallery_link(operator: Any, context: Context, kling_task_id: str, *, at_once: bool = False) -> None:
    """Set the gallery link of the running task.

    :param operator: the task that runs, which Airflow asks when it has ended or deferred.
    :param at_once: push it too, since the task now holds its worker for long.
    """
    ti: Any = context.get("ti")
    if ti is not None and GALLERY_LINKS:
        _set(operator, ti, KlingGalleryLink.xcom_key, lambda: gallery_link(ti, kling_task_id), at_once=at_once)


def set_s3_console_link(operator: Any, context: Context, make_url: Callable[[], str | None]) -> None:
    """Set the console link of the running archive task.

    :param operator: as above.
    :param make_url: returns None for storage that has no S3 console; what it raises is logged.
    """
    ti: Any = context.get("ti")
    if ti is not None:
        _set(operator, ti, S3ConsoleLink.xcom_key, make_url)


def _set(operator: Any, ti: Any, key: str, make_url: Callable[[], str | None], *, at_once: bool = False) -> None:
    # A task never fails because of a link.
    try:
        address = make_url() or ""
        # Another dict each time: Airflow copies operators, and copies share what they hold.
        setattr(operator, _ADDRESSES, {**getattr(operator, _ADDRESSES, {}), key: address})
        if at_once or not AIRFLOW_V_3_0_PLUS:
            ti.xcom_push(key=key, value=address)
    except Exception as error:
        # Only the class: the message may contain a part of the connection.
        log.warning("The task has no %s: %s", key, type(error).__name__)
