"""Reads the list of an account's tasks while that is cheaper than single queries: one page tells of up to 500."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from airflow_kling.api.listing import LAST_PAGE, PAGE_SIZE, is_last_page
from airflow_kling.exceptions import KlingConnectionError, KlingError

if TYPE_CHECKING:
    from airflow_kling.api.async_client import AsyncKlingClient
    from airflow_kling.api.tasks import TaskStatus
    from airflow_kling.polling.session import Session

log = logging.getLogger(__name__)

LIST_FROM = 5  # tasks from which a page is cheaper than single queries
PAGE_LIMIT = 10.0  # seconds for a page; no other task is polled meanwhile
REST = 60.0  # seconds without the list after it has failed


class TaskListing:
    """The list of one route of a connection.

    :param clock: seconds, as of the poller.
    """

    def __init__(self, session: Session, route: str, *, clock: Callable[[], float]) -> None:
        self._session = session
        self._route = route
        self._clock = clock
        self._rests_until = -math.inf
        self._most_waiting = 0

    def is_worth_reading(self, tasks: int) -> bool:
        """Whether to read it for so many tasks, rather than to query each."""
        gateway = self._session.gateway
        return tasks >= LIST_FROM and gateway is not None and gateway.has_list and self._clock() >= self._rests_until

    async def pages(self, sought: Collection[str], *, since: float, waiting: int) -> AsyncIterator[list[TaskStatus]]:
        """The pages, newest first, until too few of the tasks sought can be on the next one.

        :param sought: ids.
        :param since: epoch seconds when the first of them began to be waited for.
        :param waiting: how many tasks are waited for in all.
        """
        unseen, seen = set(sought), set[str]()
        self._most_waiting = max(self._most_waiting, waiting)  # those that have ended are still in the list
        for number in range(1, most_pages(self._most_waiting) + 1):
            await self._session.acquire(self._route)
            page = await self._session.send_once(partial(_page, number=number, route=self._route))
            if isinstance(page, KlingError):
                log.info("Connection %s: no list of %s for %.0f s: %s", self._session.conn_id, self._route, REST, page)
                self._rests_until = self._clock() + REST
                return
            yield page
            ids = {task.kling_task_id for task in page}
            unseen -= ids
            if len(unseen) < LIST_FROM or is_last_page(page, seen=seen, since=since):
                return
            seen |= ids


def most_pages(waiting: int) -> int:
    """Pages to read for so many tasks: the account may have as many others, and new ones move the rest on."""
    return min(LAST_PAGE, 2 * math.ceil(waiting / PAGE_SIZE) + 2)


async def _page(client: AsyncKlingClient, *, number: int, route: str) -> list[TaskStatus]:
    try:
        async with asyncio.timeout(PAGE_LIMIT):
            return await client.list_statuses(page=number, page_size=PAGE_SIZE, route=route, deadline=0)
    except TimeoutError:
        raise KlingConnectionError(f"Page {number} has not come within {PAGE_LIMIT:g} s.", request_sent=True) from None
