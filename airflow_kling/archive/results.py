"""Decides which results of a finished task are archived: its status, their indexes and URLs are checked."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_kling.api.tasks import SUCCEED, KlingTask, Result
from airflow_kling.exceptions import KlingError, KlingNotFinishedError
from airflow_kling.storage.keys import MAX_INDEX


@dataclass(frozen=True, order=True)
class ResultKey:
    """Which result of its task: each kind is numbered by itself. As a text it is ``image 0``.

    :param kind: as :class:`airflow_kling.api.tasks.Result` names it.
    """

    kind: str
    index: int

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"

    @property
    def title(self) -> str:
        """The name at the start of a sentence: ``Image 0``."""
        return str(self).capitalize()


def results_by_key(task: KlingTask) -> dict[ResultKey, Result]:
    """Return the results of a finished task, of every kind.

    :raises KlingNotFinishedError: it has not succeeded, or has no results, or one without a URL, which may still come.
    :raises KlingError: an index that one kind has twice, or out of range.
    """
    task_id = task.kling_task_id
    if task.status != SUCCEED:
        raise KlingNotFinishedError(
            f"Kling task {task_id} is {task.status!r}, not succeeded; nothing was archived, wait for it first.",
            kling_task_id=task_id,
        )
    results: dict[ResultKey, Result] = {}
    for result in task.results:
        key = ResultKey(result.kind, result.index)
        if not 0 <= key.index <= MAX_INDEX or key in results:
            raise KlingError(
                f"Kling task {task_id} has the {key.kind} index {key.index}, used twice or not within 0 to "
                f"{MAX_INDEX}.",
                kling_task_id=task_id,
            )
        if not result.url:
            raise KlingNotFinishedError(
                f"{key.title} of Kling task {task_id} has no URL yet; nothing was archived, a retry asks again.",
                kling_task_id=task_id,
            )
        results[key] = result
    if not results:
        raise KlingNotFinishedError(
            f"Kling task {task_id} has succeeded without any result yet; nothing was archived, a retry asks again.",
            kling_task_id=task_id,
        )
    return results
