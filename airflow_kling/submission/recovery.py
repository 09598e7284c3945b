"""Finds out what became of a submission by free calls, each answered with the task or None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_kling.api.client import KlingClient
from airflow_kling.api.listing import LAST_PAGE, PAGE_SIZE, is_last_page
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import KlingAPIError, KlingTaskNotFoundError
from airflow_kling.submission.callback_notes import read_note
from airflow_kling.submission.proof import was_made_since

if TYPE_CHECKING:
    from airflow_kling.storage.base import Store

MAX_TASKS = 10_000  # the newest of the account that are looked through


def get(client: KlingClient, kling_task_id: str, *, route: str) -> KlingTask | None:
    """The task, None when the API does not know it (any more)."""
    try:
        return client.get(kling_task_id, route=route)
    except KlingTaskNotFoundError:
        return None


def find(client: KlingClient, external_task_id: str, *, route: str) -> KlingTask | None:
    """The task with our own id. Only some gateways document that a query finds it; asking the others is free."""
    try:
        task = client.get(external_task_id, route=route)
    except KlingTaskNotFoundError:
        return None
    except KlingAPIError as error:
        if client.gateway.finds_external_ids or error.retryable:
            raise
        return None
    if task.external_task_id is None and client.gateway.finds_external_ids:
        return task if task.kling_task_id != external_task_id else None  # task_info may be missing [C]
    return task if task.external_task_id == external_task_id else None


def noted(client: KlingClient, store: Store, external_task_id: str, *, route: str, since: float) -> KlingTask | None:
    """The task that a callback has named for our own id, if the API says that it is ours.

    :param store: the record store.
    :param since: epoch seconds before which nothing of ours was submitted; 0 when that is not known.
    """
    kling_task_id = read_note(store, external_task_id)
    task = get(client, kling_task_id, route=route) if kling_task_id else None
    if task is None:
        return None
    if task.external_task_id is not None:
        return task if task.external_task_id == external_task_id else None
    # CometAPI may leave task_info out [C]: then the token of the callback names the task, and the time has to fit.
    return task if was_made_since(task, since) else None


def search(client: KlingClient, external_task_id: str, *, route: str, since: float) -> KlingTask | None:
    """The task with our own id in the account's list, newest first.

    :param since: epoch seconds before which it cannot have been made; 0 when that is not known.
    """
    seen: set[str] = set()
    for number in range(1, LAST_PAGE + 1):
        tasks = client.list(page=number, page_size=PAGE_SIZE, route=route)
        for task in tasks:
            if task.external_task_id == external_task_id:
                return task
        if is_last_page([task.brief() for task in tasks], seen=seen, since=since):
            break
        seen.update(task.kling_task_id for task in tasks)
        if len(seen) >= MAX_TASKS:
            break
    return None
