"""One poller for all waiting tasks of a connection, on the triggerer's event loop, which belongs to everybody.

It has one session with the API. A heap says which task is due; the longest overdue comes first.
Where the gateway has a list, one request tells of up to 500 tasks.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from airflow_kling.api.retry import backoff
from airflow_kling.exceptions import KlingError
from airflow_kling.polling import schedule
from airflow_kling.polling.listing import TaskList
from airflow_kling.polling.queue import Agenda, Watch
from airflow_kling.polling.session import REFUSED, Session

if TYPE_CHECKING:
    from airflow_kling.api.tasks import KlingTask
    from airflow_kling.polling.queue import Look
    from airflow_kling.polling.session import Connect

CONCURRENCY = 32  # requests under way; an answer costs the loop ~0.2 ms, and all of them may come at once
SWEEP_GAP = 0.5  # seconds for more tasks to come due before the list is read
OVERDUE = 5.0  # seconds after its deadline in which a wait may still be answered
PATIENCE = 15.0  # seconds to get the whole of a task that has succeeded


class StatusPoller:
    """Looks at every watched task until there is a verdict; made by the first watch, closed when the last one leaves.

    :param conn_id: the connection.
    :param connect: makes the client, and says how many requests a second it may send.
    :param clock: epoch seconds.
    :param dice: random numbers in [0, 1), so that tasks that started together do not poll together.
    """

    _running: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, StatusPoller]]] = WeakKeyDictionary()

    def __init__(
        self,
        conn_id: str,
        *,
        connect: Connect,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.conn_id = conn_id
        self._session = Session(conn_id, connect=connect, clock=clock, dice=dice)
        self._list = TaskList(self._session, clock=clock)
        self._clock = clock
        self._dice = dice
        self._watches: dict[str, list[Watch]] = {}
        self._agenda = Agenda()
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._looks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

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
        self, kling_task_id: str, *, deadline: float, poke_interval: float, since: float, with_task: bool = False
    ) -> tuple[str, KlingTask | None]:
        """Wait for a verdict, see :func:`airflow_kling.polling.schedule.verdict`; cancelled, it leaves at once.

        Where no look has been answered by then, the wait ends ``OVERDUE`` seconds after its deadline without one.

        :param deadline: epoch seconds.
        :param poke_interval: seconds, the longest time between two looks.
        :param since: epoch seconds when the wait began, the same after a restart of the triggerer.
        :param with_task: ask for the whole task too, once it has succeeded.
        :return: the verdict, and the task if it was asked for and the API answered.
        :raises RuntimeError: the poller broke down; each waiter gets its own.
        """
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watch = Watch(kling_task_id, deadline, poke_interval, since, ended)
        try:
            self._join(watch)
            overdue = self._when_overdue(watch)
            try:
                verdict = await ended
            finally:
                overdue.cancel()
            if not with_task or verdict != "succeed":
                return verdict, None
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    return verdict, await self._whole(kling_task_id)
            return verdict, None
        finally:
            self._leave(watch)

    def _when_overdue(self, watch: Watch) -> asyncio.TimerHandle:
        """A bare timer: ``asyncio.timeout`` makes objects for each wait that every garbage collection walks."""
        delay = max(watch.deadline, watch.due) + OVERDUE - self._clock()
        return asyncio.get_running_loop().call_later(delay, watch.end, schedule.TIMED_OUT, math.inf)

    async def _whole(self, kling_task_id: str) -> KlingTask | None:
        for attempt in itertools.count(1):
            async with self._slots:
                await self._session.turn()
                answer = await self._session.ask(lambda client: client.get(kling_task_id, deadline=0))
            if not isinstance(answer, KlingError):
                return answer
            if not answer.retryable:
                return None
            await asyncio.sleep(backoff(answer, attempt, random_fraction=self._dice()))
        raise AssertionError("unreachable")

    def _join(self, watch: Watch) -> None:
        self._watches.setdefault(watch.kling_task_id, []).append(watch)
        watch.begin(self._clock(), self._dice())
        self._push(watch)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"kling-poller-{self.conn_id}")

    def _leave(self, watch: Watch) -> None:
        same_task = self._watches[watch.kling_task_id]
        same_task.remove(watch)
        if not same_task:
            del self._watches[watch.kling_task_id]
        if not self._watches:
            self._forget()
            if self._runner is not None:
                self._runner.cancel()

    def _forget(self) -> None:
        """From now on, a new watch makes a new poller."""
        pollers = self._running.get(asyncio.get_running_loop(), {})
        if pollers.get(self.conn_id) is self:
            del pollers[self.conn_id]

    def _push(self, watch: Watch) -> None:
        if self._agenda.add(watch):
            self._changed.set()

    async def _run(self) -> None:
        try:
            await self._session.open()
            await self._poll()
        except Exception as error:  # whatever it is, nobody may wait for a poller that has ended
            self._forget()
            self._fail(error)
        finally:
            for look in self._looks:
                look.cancel()
            await self._session.close()

    async def _poll(self) -> None:
        while True:
            await self._until_due()
            if self._list.worth_reading(len(self._watches)):
                await asyncio.sleep(SWEEP_GAP)
            due = self._agenda.take_due(self._clock())
            if self._list.worth_reading(len(due)):
                due = await self._sweep(due)
            for watch in due:
                if watch.over or watch.due > self._clock():
                    continue  # it left, or a look at the same task served it too
                await self._slots.acquire()
                await self._session.turn()
                look = asyncio.create_task(self._look(watch.kling_task_id))
                self._looks.add(look)
                look.add_done_callback(self._looked)

    async def _until_due(self) -> None:
        while (delay := self._agenda.next_due - self._clock()) > 0:
            self._changed.clear()
            wake = asyncio.get_running_loop().call_later(min(delay, 3600.0), self._changed.set)
            await self._changed.wait()
            wake.cancel()

    async def _look(self, kling_task_id: str) -> None:
        look: Look = await self._session.ask(lambda client: client.status(kling_task_id))
        if isinstance(look, REFUSED):
            self._forget()  # what the connection says by the time that somebody waits again may be another key
        self._settle(kling_task_id, look)

    def _looked(self, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        self._slots.release()
        if not look.cancelled() and (error := look.exception()):
            self._forget()
            self._fail(error)

    async def _sweep(self, due: list[Watch]) -> list[Watch]:
        """Read the list; return the watches it did not tell of."""
        unseen = {watch.kling_task_id for watch in due}
        since = min(watch.since for watch in due)
        async for tasks in self._list.pages(unseen, since=since, watched=len(self._watches)):
            for task in tasks:
                self._settle(task.kling_task_id, task)
                unseen.discard(task.kling_task_id)
        return [watch for watch in due if watch.kling_task_id in unseen]

    def _settle(self, kling_task_id: str, look: Look) -> None:
        now = self._clock()
        for watch in self._watches.get(kling_task_id, ()):
            if watch.over:
                continue
            watch.look(look, now, self._dice())
            if not watch.over:
                self._push(watch)

    def _fail(self, error: BaseException) -> None:
        """End every wait. An error of ours is a verdict: the worker asks the API itself and raises it properly."""
        for watch in [watch for same_task in self._watches.values() for watch in same_task]:
            if watch.ended.done():
                continue
            if isinstance(error, KlingError):
                watch.end(schedule.ERROR, self._clock())
                continue
            own = RuntimeError(f"The poller of connection {self.conn_id!r} broke down: {type(error).__name__}: {error}")
            own.__cause__ = error
            watch.end(own, self._clock())
