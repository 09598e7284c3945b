"""Polls for all waiting tasks of a connection, on the triggerer's event loop, which belongs to everybody.

It has one session with the API. A queue says which task is due; the longest overdue comes first.
Where the gateway has a list, one request has the statuses of up to 500 tasks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from airflow_kling.api.retry import backoff
from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import SUCCEED
from airflow_kling.exceptions import KlingError
from airflow_kling.polling import schedule
from airflow_kling.polling.listing import TaskListing
from airflow_kling.polling.queue import PollQueue, Waiter
from airflow_kling.polling.session import REFUSED, Session

if TYPE_CHECKING:
    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.polling.queue import Answer
    from airflow_kling.polling.session import Connect

log = logging.getLogger(__name__)

CONCURRENCY = 32  # requests under way; an answer costs the loop ~0.2 ms, and all of them may come at once
LIST_GAP = 0.5  # seconds for more tasks to come due before the list is read
OVERDUE = 5.0  # seconds after its deadline in which a wait may still be answered
PATIENCE = 15.0  # seconds to get the whole of a task that has succeeded
OPEN_PATIENCE = 15.0  # seconds that a wait has for a connection that cannot be looked up
OPEN_PAUSE = 10.0  # seconds, the longest between two lookups


class StatusPoller:
    """Polls each task until there is a verdict; made by the first waiter, closed when the last one leaves.

    :param conn_id: the connection.
    :param connect: makes the client, and says how many requests a second it may send.
    :param clock: seconds; one that nobody sets, so that a correction of the machine's time ends no wait.
    :param random_fraction: random numbers in [0, 1), so that tasks that started together are not polled together.
    """

    _running: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, StatusPoller]]] = WeakKeyDictionary()

    def __init__(
        self,
        conn_id: str,
        *,
        connect: Connect,
        clock: Callable[[], float] = time.monotonic,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self.conn_id = conn_id
        self._session = Session(conn_id, connect=connect, clock=clock, random_fraction=random_fraction)
        self._listings: dict[str, TaskListing] = {}  # by route
        self._clock = clock
        self._random_fraction = random_fraction
        self._waiters: dict[str, dict[str, list[Waiter]]] = {}  # by route, then by Kling task id
        self._queue = PollQueue()
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._polls: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self.trouble: str | None = None  # why the connection cannot be looked up

    @classmethod
    def of(cls, conn_id: str, connect: Connect) -> StatusPoller:
        """The poller of a connection on the running event loop."""
        pollers = cls._running.setdefault(asyncio.get_running_loop(), {})
        if conn_id not in pollers:
            pollers[conn_id] = cls(conn_id, connect=connect)
        return pollers[conn_id]

    @property
    def gateway(self) -> str | None:
        """Name of the API's gateway, once the connection is known."""
        gateway = self._session.gateway
        return gateway.name if gateway else None

    async def wait(
        self,
        kling_task_id: str,
        *,
        route: str = DEFAULT_ROUTE,
        left: float,
        poke_interval: float | None,
        age: float = 0.0,
        with_task: bool = False,
    ) -> tuple[str, KlingTask | None]:
        """Wait for a verdict, see :func:`airflow_kling.polling.schedule.verdict`; cancelled, it leaves at once.

        Where no poll has been answered by then, the wait ends ``OVERDUE`` seconds after that time without one. Where
        the connection cannot be looked up, it ends with ``error`` after ``OPEN_PATIENCE`` seconds, and :attr:`trouble`
        says why: a worker can ask, and say what is wrong.

        :param route: of the task; a query needs it.
        :param left: seconds that the wait may take.
        :param poke_interval: seconds, the longest time between two polls; None for the pace of the route.
        :param age: seconds since the wait began, before a restart of the triggerer.
        :param with_task: get the whole task too, once it has succeeded: from the poll itself, or by another request
            where a list has told of it.
        :return: the verdict, and the task if it was asked for and the API answered.
        :raises RuntimeError: the poller broke down; each waiter gets its own.
        """
        now = self._clock()
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiter = Waiter(kling_task_id, route, now + left, poke_interval, now - age, ended, with_task)
        try:
            self._join(waiter)
            overdue, unopened = self._when_overdue(waiter), self._when_unopened(waiter)
            try:
                verdict = await ended
            finally:
                overdue.cancel()
                if unopened:
                    unopened.cancel()
            if not with_task or verdict != SUCCEED:
                return verdict, None
            if waiter.task is not None:
                return verdict, waiter.task
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    return verdict, await self._session.whole_task(kling_task_id, route, self._slots)
            return verdict, None
        finally:
            self._leave(waiter)

    def _when_overdue(self, waiter: Waiter) -> asyncio.TimerHandle:
        """A bare timer: ``asyncio.timeout`` makes objects for each wait that every garbage collection walks."""
        delay = max(waiter.deadline, waiter.due) + OVERDUE - self._clock()
        return asyncio.get_running_loop().call_later(delay, _time_out, waiter, context=waiter.context)

    def _when_unopened(self, waiter: Waiter) -> asyncio.TimerHandle | None:
        if self._session.gateway is not None:
            return None
        return asyncio.get_running_loop().call_later(OPEN_PATIENCE, self._end_unopened, waiter)

    def _join(self, waiter: Waiter) -> None:
        self._waiters.setdefault(waiter.route, {}).setdefault(waiter.kling_task_id, []).append(waiter)
        waiter.begin(self._clock(), self._random_fraction(), schedule.requests_of(self._waiters))
        self._push(waiter)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"kling-poller-{self.conn_id}")

    def _leave(self, waiter: Waiter) -> None:
        same_route = self._waiters[waiter.route]
        same_task = same_route[waiter.kling_task_id]
        same_task.remove(waiter)
        if not same_task:
            del same_route[waiter.kling_task_id]
        if not same_route:
            del self._waiters[waiter.route]
        if not self._waiters:
            self._forget()
            if self._runner is not None:
                self._runner.cancel()

    def _forget(self) -> None:
        """From now on, a new waiter makes a new poller."""
        pollers = self._running.get(asyncio.get_running_loop(), {})
        if pollers.get(self.conn_id) is self:
            del pollers[self.conn_id]

    def _push(self, waiter: Waiter) -> None:
        if self._queue.add(waiter):
            self._changed.set()

    async def _run(self) -> None:
        try:
            await self._open()
            await self._poll_all()
        except Exception as error:  # whatever it is, nobody may wait for a poller that has ended
            self._forget()
            self._fail(error)
        finally:
            for poll in self._polls:
                poll.cancel()
            await self._session.close()

    async def _open(self) -> None:
        """Look the connection up, as often as it takes: whatever ails Airflow or a file, it may pass."""
        for attempt in itertools.count(1):
            try:
                await self._session.open()
            except Exception as error:
                # The message of another's error may quote a secret.
                self.trouble = str(error) if isinstance(error, KlingError) else type(error).__name__
                log.warning("Connection %s cannot be opened, trying again: %s", self.conn_id, self.trouble)
                pause = backoff(error, attempt, random_fraction=self._random_fraction())
            else:
                self.trouble = None
                return
            await asyncio.sleep(min(OPEN_PAUSE, pause))

    def _end_unopened(self, waiter: Waiter) -> None:
        if self._session.gateway is None and not waiter.over:
            self.trouble = self.trouble or "no answer to the lookup"
            waiter.warn("The triggerer cannot open connection %s: %s", self.conn_id, self.trouble)
            waiter.end(schedule.ERROR, self._clock())

    async def _poll_all(self) -> None:
        while True:
            await self._until_due()
            if any(self._listing(route).is_worth_reading(len(same)) for route, same in self._waiters.items()):
                await asyncio.sleep(LIST_GAP)
            for waiter in await self._without_listed(self._queue.take_due(self._clock())):
                if waiter.over or waiter.due > self._clock():
                    continue  # it left, or a poll of the same task served it too
                await self._slots.acquire()
                await self._session.acquire(waiter.route)
                poll = asyncio.create_task(self._poll(waiter.kling_task_id, waiter.route))
                self._polls.add(poll)
                poll.add_done_callback(self._polled)

    async def _until_due(self) -> None:
        while (delay := self._queue.next_due - self._clock()) > 0:
            self._changed.clear()
            wake = asyncio.get_running_loop().call_later(min(delay, 3600.0), self._changed.set)
            await self._changed.wait()
            wake.cancel()

    async def _poll(self, kling_task_id: str, route: str) -> None:
        whole = any(waiter.with_task for waiter in self._waiters.get(route, {}).get(kling_task_id, ()))
        answer: Answer = await self._session.send(
            lambda client: client.status(kling_task_id, route=route, whole=whole), route
        )
        if isinstance(answer, REFUSED):
            self._forget()  # what the connection says by the time that somebody waits again may be another key
        self._deliver(kling_task_id, route, answer, schedule.requests_of(self._waiters))

    def _polled(self, poll: asyncio.Task[None]) -> None:
        self._polls.discard(poll)
        self._slots.release()
        if not poll.cancelled() and (error := poll.exception()):
            self._forget()
            self._fail(error)

    def _listing(self, route: str) -> TaskListing:
        if route not in self._listings:
            self._listings[route] = TaskListing(self._session, route, clock=self._clock)
        return self._listings[route]

    async def _without_listed(self, due: list[Waiter]) -> list[Waiter]:
        """Read the lists that are worth it; return the waiters whose tasks were on none, in their order."""
        for route in dict.fromkeys(waiter.route for waiter in due):
            same_route = [waiter for waiter in due if waiter.route == route]
            if self._listing(route).is_worth_reading(len(same_route)):
                unseen = await self._read_list(route, same_route)
                due = [waiter for waiter in due if waiter.route != route or waiter.kling_task_id in unseen]
        return due

    async def _read_list(self, route: str, due: list[Waiter]) -> set[str]:
        """Read a list; return the ids that are not on it."""
        unseen = {waiter.kling_task_id for waiter in due}
        since = time.time() - (self._clock() - min(waiter.since for waiter in due))
        waiting = len(self._waiters.get(route, ()))
        async for page in self._listing(route).pages(unseen, since=since, waiting=waiting):
            requests = schedule.LISTED * schedule.requests_of(self._waiters)
            for task in page:
                self._deliver(task.kling_task_id, route, task, requests)
                unseen.discard(task.kling_task_id)
        return unseen

    def _deliver(self, kling_task_id: str, route: str, answer: Answer, requests: float) -> None:
        now = self._clock()
        for waiter in self._waiters.get(route, {}).get(kling_task_id, ()):
            if waiter.over:
                continue
            waiter.receive(answer, now, self._random_fraction(), requests)
            if not waiter.over:
                self._push(waiter)

    def _fail(self, error: BaseException) -> None:
        """End every wait. An error of ours is a verdict: the worker asks the API itself and raises it properly."""
        for waiter in [one for same_route in self._waiters.values() for same in same_route.values() for one in same]:
            if waiter.ended.done():
                continue
            if isinstance(error, KlingError):
                waiter.end(schedule.ERROR, self._clock())
                continue
            own = RuntimeError(f"The poller of connection {self.conn_id!r} broke down: {type(error).__name__}: {error}")
            own.__cause__ = error
            waiter.end(own, self._clock())


def _time_out(waiter: Waiter) -> None:
    waiter.end(schedule.TIMED_OUT, math.inf)
