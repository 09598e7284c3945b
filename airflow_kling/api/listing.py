"""Decides how far an account's list of tasks is read; the loops that read it are with whoever asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_kling.api.tasks import TaskStatus

PAGE_SIZE = 500  # the most that one page may have [C]
LAST_PAGE = 1000  # that the API gives [C]
CLOCKS_APART = 600.0  # seconds by which the API's created_at may lie before a moment on our own clock


def is_last_page(page: Sequence[TaskStatus], *, seen: Collection[str], since: float) -> bool:
    """Whether no later page can have a task that was created after a moment; pages are newest first.

    Only the end of the list, or a page older than that moment, says so: a page may have fewer tasks than were asked
    for, and after a "there is none" somebody may pay again.

    :param seen: ids on the pages before; a page without a new one means that the list has ended, or repeats itself.
    :param since: epoch seconds; 0 when the moment is not known.
    """
    if all(task.kling_task_id in seen for task in page):
        return True
    # The newest of them counts, since a single odd date says nothing of the others.
    created = [task.created_at for task in page if task.created_at is not None]
    return bool(created) and max(created) < since - CLOCKS_APART
