"""Describes a generation in XCom: what was asked (the request record), what was archived, and by which run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.route import Route
    from airflow_kling.api.tasks import KlingTask


_MAX_ID = 128  # characters of a Kling task id; a key of an XCom has room for 512


def request_key(kling_task_id: str) -> str:
    """Return the XCom key of a request record: one for each generation, so that the archive task finds it."""
    return f"kling_request_{kling_task_id}"


def archive_key(kling_task_id: str) -> str:
    """Return the XCom key of an archived generation; XCom's ``key`` column has an index."""
    return f"kling_archive_{kling_task_id}"


def use_key(kling_task_id: str) -> str:
    """Return the XCom key by which a generation is found that was made from results of this one."""
    return f"kling_use_{kling_task_id}"


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


def describe_uses(kling_task_id: str, asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name the generations whose archived results are references of this one, so that they can be linked back.

    :param kling_task_id: of this generation.
    :param asked: its request record.
    :return: by XCom key, one for each of those generations: ``{"kling_task_id", "route", "results": [{"kind",
        "index", "sha256"}]}``.
    """
    uses: dict[str, dict[str, Any]] = {}
    for reference in asked.get("references") or ():
        source = reference.get("kling_task_id")
        if isinstance(source, str) and 0 < len(source) <= _MAX_ID:
            new: dict[str, Any] = {"kling_task_id": kling_task_id, "route": asked.get("route"), "results": []}
            use = uses.setdefault(use_key(source), new)
            use["results"].append({name: reference.get(name) for name in ("kind", "index", "sha256")})
    return uses


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
