"""What the archive task leaves in XCom about a generation, complete in itself: the gallery's index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TASK = ("status", "created_at", "updated_at")


def xcom_key(kling_task_id: str) -> str:
    """The XCom key of an archived generation; XCom's ``key`` column has an index."""
    return f"kling_archive_{kling_task_id}"


def connection(destination: str, aws_conn_id: str | None) -> str | None:
    """The Airflow connection that reaches a destination, as far as the task names one."""
    scheme, _, rest = destination.partition("://")
    named = rest.partition("/")[0].rpartition("@")[0]
    return named or (aws_conn_id if scheme == "s3" else None)


def describe(
    summary: Mapping[str, Any], *, task: Mapping[str, Any], asked: Mapping[str, Any], conn_id: str | None
) -> dict[str, Any]:
    """What was asked, what came back, and which bytes lie where; some 2 kB for two images.

    :param summary: what the archive task returns: ``manifest``, ``kling_task_id``, ``images``.
    :param task: the finished task.
    :param asked: what the submitting task left in XCom; empty when it is elsewhere.
    :param conn_id: the Airflow connection that reaches the manifest, see :func:`connection`.
    :return: beside the above ``units`` and ``image_count`` as numbers, which a database can add up.
    """
    from airflow_kling.api.tasks import billed_units

    return {
        "kling_task_id": summary["kling_task_id"],
        "asked": dict(asked),
        "task": {name: task[name] for name in _TASK if task.get(name) is not None},
        "units": billed_units(task.get("unit_deduction")),
        "image_count": len(summary["images"]),
        "manifest": summary["manifest"],
        "conn_id": conn_id,
        "images": summary["images"],
    }
