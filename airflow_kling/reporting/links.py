"""Buttons of a task instance: to its generation in the gallery, and to its images in the S3 console.

A link is an XCom, which the task pushes itself as soon as the Kling task is known: so it is there while the task runs
or is deferred, and after it has failed. Airflow alone would push it only when the task has ended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

GALLERY_PATH = "kling/gallery"  # where the gallery plugin is mounted
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # boto3's, beside the connection's own


class _PushedLink(BaseOperatorLink):
    """A link that the running task has pushed."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, empty while there is none; called by the web server of Airflow 2, and when a task ends."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


class KlingGalleryLink(_PushedLink):
    """The generation in the gallery: a placeholder while it runs, its images once they are archived."""

    name = "Kling gallery"
    xcom_key = "kling_gallery_link"


class S3ConsoleLink(_PushedLink):
    """The folder of the archived images in the AWS console; for an endpoint of one's own there is none."""

    name = "S3 console"
    xcom_key = "kling_s3_console_link"


#: Links of each task that knows a Kling task; the gallery needs Airflow 3.1.
GALLERY_LINKS = (KlingGalleryLink(),) if AIRFLOW_V_3_1_PLUS else ()


def gallery_url(base_url: str, *, dag_id: str, run_id: str, kling_task_id: str) -> str:
    """The gallery's page of one generation.

    :param base_url: of Airflow's UI, with the path that a proxy may put before it.
    """
    query = urlencode({"dag_id": dag_id, "run_id": run_id, "kling_task_id": kling_task_id}, quote_via=quote)
    return f"{base_url.rstrip('/')}/{GALLERY_PATH}?{query}"


def s3_console_url(bucket: str, prefix: str, *, region: str | None) -> str:
    """The console's page of the objects below a prefix, in the console of the region's own partition.

    :param prefix: as in the keys, with its slash at the end.
    :param region: None where the connection names none; the console finds the bucket's then.
    """
    from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

    console = BASE_AWS_CONSOLE_LINK.format(aws_domain=BaseAwsLink.get_aws_domain(_partition(region or "")))
    query = urlencode({**({"region": region} if region else {}), "prefix": prefix}, safe="/", quote_via=quote)
    return f"{console}/s3/buckets/{quote(bucket, safe='')}?{query}"


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def gallery_link(ti: Any, kling_task_id: str) -> str:
    """The gallery's page of one generation, for a task instance of this Airflow."""
    base_url = conf.get("api", "base_url", fallback=None) or "/"
    return gallery_url(base_url, dag_id=ti.dag_id, run_id=ti.run_id, kling_task_id=kling_task_id)


def push_gallery_link(context: Context, kling_task_id: str) -> None:
    """Make the gallery link of the running task."""
    ti: Any = context.get("ti")
    if ti is not None and GALLERY_LINKS:
        _push(ti, KlingGalleryLink.xcom_key, lambda: gallery_link(ti, kling_task_id))


def push_s3_console_link(context: Context, *, destination: str, kling_task_id: str, aws_conn_id: str | None) -> None:
    """Make the console link of the running archive task; there is none for other storage.

    It costs a lookup of the connection, which says where the bucket is.
    """
    ti: Any = context.get("ti")
    if ti is None:
        return

    def url() -> str | None:
        if not destination.startswith("s3://"):
            return None
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        authority, _, prefix = destination.removeprefix("s3://").partition("/")
        conn_id, _, bucket = authority.rpartition("@")
        connection = S3Hook(aws_conn_id=conn_id or aws_conn_id).conn_config
        if connection.get_service_endpoint_url("s3") or any(map(os.environ.get, _S3_ENDPOINTS)):
            return None
        folder = f"{prefix.strip('/')}/{kling_task_id}/".lstrip("/")
        return s3_console_url(bucket, folder, region=connection.region_name)

    _push(ti, S3ConsoleLink.xcom_key, url)


def _push(ti: Any, key: str, make_url: Callable[[], str | None]) -> None:
    """A task never fails for a button. No link is an empty one: Airflow logs an error where it finds no XCom at all."""
    try:
        ti.xcom_push(key=key, value=make_url() or "")
    except Exception as error:
        log.warning("There is no %s: %s", key, type(error).__name__)
