"""Describes a generation in XCom: what was asked (the request record), what was archived, and by which run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.route import Route
    from airflow_kling.api.tasks import KlingTask


def request_key(kling_task_id: str) -> str:
    """Return the XCom key of a request record: one for each generation, so that the archive task finds it."""
    return f"kling_request_{kling_task_id}"


def archive_key(kling_task_id: str) -> str:
    """Return the XCom key of an archived generation; XCom's ``key`` column has an index."""
    return f"kling_archive_{kling_task_id}"


def describe_request(
    route: Route,
    request: KlingRequest,
    references: list[dict[str, Any]],
    *,
    gateway_name: str,
    estimated_units: float | None = None,
) -> dict[str, Any]:
    """Make the request record: what was asked, for XCom and manifest, without payload and secret.

    :param estimated_units: left out where the price is not known.
    """
    asked = request.model_dump(include=set(route.recorded_fields))
    if request.extra_fields:
        asked["extra_fields"] = sorted(request.extra_fields)
    estimated = {} if estimated_units is None else {"estimated_units": estimated_units}
    return {**asked, "route": route.name, "gateway": gateway_name, **estimated, "references": references}


def describe_run(context: Context) -> dict[str, Any]:
    """Name the task instance that writes a manifest or a review; empty where there is none."""
    ti = context.get("ti")
    return {name: getattr(ti, name, None) for name in ("dag_id", "run_id", "task_id", "map_index")} if ti else {}


def describe_archive(
    summary: Mapping[str, Any], *, task: KlingTask, asked: Mapping[str, Any], conn_id: str | None
) -> dict[str, Any]:
    """Describe what was asked, what came back, and which bytes lie where; some 2 kB for two images.

    :param summary: what the archive task returns.
    :param task: the finished task.
    :param asked: the request record; empty when the submitting task is elsewhere.
    :param conn_id: the Airflow connection that reaches the manifest.
    :return: beside the above ``units``, ``image_count`` and ``video_count`` as numbers, which a database can add up;
        ``unverified`` and ``warnings`` where there are any.
    """
    times = {"created_at": task.created_at, "updated_at": task.updated_at}
    return {
        "kling_task_id": task.kling_task_id,
        "route": task.route,
        "asked": dict(asked),
        "task": {"status": task.status, **{name: at.isoformat() for name, at in times.items() if at}},
        "units": task.billed_units,
        "image_count": len(summary["images"]),
        "video_count": len(summary.get("videos", ())),
        "manifest": summary["manifest"],
        "conn_id": conn_id,
        "images": summary["images"],
        "videos": summary.get("videos", []),
        **{name: summary[name] for name in ("unverified", "warnings") if summary.get(name)},
    }
