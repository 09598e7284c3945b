"""Decides which results of a finished task are archived: its status, their indexes and URLs are checked."""

from __future__ import annotations

from airflow_kling.api.tasks import SUCCEED, KlingTask, Result
from airflow_kling.exceptions import KlingError, KlingNotFinishedError
from airflow_kling.storage.keys import MAX_INDEX


def results_by_key(task: KlingTask) -> dict[int, Result]:
    """Return the images of a finished task by their index.

    :raises KlingNotFinishedError: it has not succeeded, or has no images, or one without a URL, which may still come.
    :raises KlingError: an index that is used twice or out of range.
    """
    task_id = task.kling_task_id
    if task.status != SUCCEED:
        raise KlingNotFinishedError(
            f"Kling task {task_id} is {task.status!r}, not succeeded; nothing was archived, wait for it first.",
            kling_task_id=task_id,
        )
    images: dict[int, Result] = {}
    for image in task.results:
        if image.kind != "image":
            continue
        if not 0 <= image.index <= MAX_INDEX or image.index in images:
            raise KlingError(
                f"Kling task {task_id} has the image index {image.index}, used twice or not within 0 to {MAX_INDEX}.",
                kling_task_id=task_id,
            )
        if not image.url:
            raise KlingNotFinishedError(
                f"Image {image.index} of Kling task {task_id} has no URL yet; nothing was archived, a retry asks "
                "again.",
                kling_task_id=task_id,
            )
        images[image.index] = image
    if not images:
        raise KlingNotFinishedError(
            f"Kling task {task_id} has succeeded without any image yet; nothing was archived, a retry asks again.",
            kling_task_id=task_id,
        )
    return images
