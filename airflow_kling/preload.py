"""Loads what tasks need in the scheduler, once, so that the processes that LocalExecutor forks for tasks have it.

Airflow does the same where a Celery worker starts, with modules of its own. Each task would import some 100 modules,
and read botocore's descriptions of S3, which takes 50 to 150 ms of CPU; the scheduler holds 25 MB more. Other executors
do not fork tasks from the scheduler, so there nothing is loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin, conf, hookimpl
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

#: What tasks import, with all that these import.
MODULES = (
    "airflow_kling.api.client",
    "airflow_kling.api.connection",
    "airflow_kling.api.max_units",
    "airflow_kling.api.reference_checks",
    "airflow_kling.api.reference_images",
    "airflow_kling.api.reference_videos",
    "airflow_kling.archive.archiver",
    "airflow_kling.archive.summary",
    "airflow_kling.lifecycle.allowed",
    "airflow_kling.lifecycle.submitting",
    "airflow_kling.storage.local",
    "airflow_kling.storage.open",
    "airflow_kling.storage.s3",
    "airflow_kling.task_group",
)


def load() -> None:
    """Import :data:`MODULES`, the operators of all routes, and what a client of S3 needs."""
    from airflow_kling.operators import generate

    for name in MODULES:
        importlib.import_module(name)
    for name in generate.__all__:
        getattr(generate, name)
    with contextlib.suppress(ImportError):  # without the amazon provider
        from airflow_kling.storage import aws

        aws.preload()


class Preload:
    """Hears of the start of each component of Airflow."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """Load, if this is the scheduler, before it forks."""
        # A job says only later of what kind it is. No other component than the scheduler imports this.
        if "airflow.jobs.scheduler_job_runner" not in sys.modules:
            return
        from airflow.jobs.job import Job

        if isinstance(component, Job):  # a task that was forked hears of its own start too
            load()


def _forks_tasks() -> bool:
    return "LocalExecutor" in conf.get("core", "executor", fallback="")


class KlingPreloadPlugin(AirflowPlugin):
    """The listener. On Airflow 2 it would be heard in the process of every task too."""

    name = "kling_preload"
    listeners: list[Any] = [Preload()] if AIRFLOW_V_3_0_PLUS and _forks_tasks() else []
