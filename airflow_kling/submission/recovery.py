"""What became of a submission: free questions, answered with the task or None."""

from __future__ import annotations

from airflow_kling.api.client import KlingClient
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import KlingAPIError, KlingTaskNotFoundError

PAGE_SIZE = 500  # the most that one page may have [C]
LAST_PAGE = 1000  # that the API gives [C]
MAX_TASKS = 10_000  # the newest of the account that are looked through
CLOCKS_APART = 600.0  # seconds by which the API's created_at may lie before our own note of the POST


def get(client: KlingClient, kling_task_id: str) -> KlingTask | None:
    """The task, None when the API does not know it (any more)."""
    try:
        return client.get(kling_task_id)
    except KlingTaskNotFoundError:
        return None


def find(client: KlingClient, external_task_id: str) -> KlingTask | None:
    """The task with our own id. Only some gateways document that a query finds it; asking the others is free."""
    try:
        task = client.get(external_task_id)
    except KlingTaskNotFoundError:
        return None
    except KlingAPIError as error:
        if client.gateway.finds_external_ids or error.retryable:
            raise
        return None
    if task.external_task_id is None and client.gateway.finds_external_ids:
        return task if task.kling_task_id != external_task_id else None  # task_info may be missing [C]
    return task if task.external_task_id == external_task_id else None


def search(client: KlingClient, external_task_id: str, *, since: float) -> KlingTask | None:
    """The task with our own id in the account's list, newest first.

    Only the end of the list, or a page older than the submission, says that there is none: a page may have fewer tasks
    than were asked for, and after a "none" somebody pays again.

    :param since: epoch seconds before which it cannot have been made; 0 when that is not known.
    """
    seen: set[str] = set()
    for page in range(1, LAST_PAGE + 1):
        tasks = client.list(page=page, page_size=PAGE_SIZE)
        for task in tasks:
            if task.external_task_id == external_task_id:
                return task
        known = len(seen)
        seen.update(task.kling_task_id for task in tasks)
        if not known < len(seen) < MAX_TASKS or _is_older(tasks, since - CLOCKS_APART):
            break
    return None


def _is_older(tasks: list[KlingTask], moment: float) -> bool:
    """Whether the newest is, since a single odd date says nothing of the others."""
    created = [task.created_at.timestamp() for task in tasks if task.created_at is not None]
    return bool(created) and max(created) < moment
