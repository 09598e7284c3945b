"""Reading the list of an account's tasks, where one request tells of up to 500: no further than it is worth."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingConnectionError, KlingError

if TYPE_CHECKING:
    from airflow_kling.api.async_client import AsyncKlingClient
    from airflow_kling.api.tasks import TaskStatus
    from airflow_kling.polling.session import Session

log = logging.getLogger(__name__)

SWEEP_FROM = 5  # tasks from which the list is cheaper than single queries
PAGE_SIZE = 500  # the most that one page may have [C]
MAX_PAGES = 1000  # the last page the API gives [C]
PAGE_LIMIT = 10.0  # seconds for a page; nobody else is looked at meanwhile
REST = 60.0  # seconds without the list after it has failed
CLOCKS_APART = 600.0  # seconds by which the API's created_at may lie before the time our wait began


class TaskList:
    """The list of a connection.

    :param clock: epoch seconds.
    """

    def __init__(self, session: Session, *, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._rests_until = -math.inf
        self._most_watched = 0

    def worth_reading(self, tasks: int) -> bool:
        """Whether to read it for so many tasks, rather than to ask for each."""
        gateway = self._session.gateway
        return tasks >= SWEEP_FROM and gateway is not None and gateway.has_list and self._clock() >= self._rests_until

    async def pages(self, sought: Collection[str], *, since: float, watched: int) -> AsyncIterator[list[TaskStatus]]:
        """The pages, newest first, until they cannot tell of enough of the tasks sought.

        :param sought: ids.
        :param since: epoch seconds when the first of them began to be waited for.
        :param watched: how many tasks are waited for in all.
        """
        unseen, seen = set(sought), set[str]()
        self._most_watched = max(self._most_watched, watched)  # those that have ended are still in the list
        for number in range(1, most_pages(self._most_watched) + 1):
            await self._session.turn()
            tasks = await self._session.ask_once(partial(_page, number=number))
            if isinstance(tasks, KlingError):
                log.info("Connection %s: without the list for %.0f s: %s", self._session.conn_id, REST, tasks)
                self._rests_until = self._clock() + REST
                return
            yield tasks
            told = {task.kling_task_id for task in tasks}
            unseen -= told
            created = tasks[-1].created_at if tasks else None
            too_old = created is not None and created < since - CLOCKS_APART
            if len(unseen) < SWEEP_FROM or len(tasks) < PAGE_SIZE or told <= seen or too_old:
                return
            seen |= told


def most_pages(watched: int) -> int:
    """Pages to read for so many tasks: the account may have as many others, and new ones move the rest on."""
    return min(MAX_PAGES, 2 * math.ceil(watched / PAGE_SIZE) + 2)


async def _page(client: AsyncKlingClient, *, number: int) -> list[TaskStatus]:
    try:
        async with asyncio.timeout(PAGE_LIMIT):
            return await client.list_statuses(page=number, page_size=PAGE_SIZE, deadline=0)
    except TimeoutError:
        raise KlingConnectionError(f"Page {number} has not come within {PAGE_LIMIT:g} s.", request_sent=True) from None
