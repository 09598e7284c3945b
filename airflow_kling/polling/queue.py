"""Keeps the waits of a connection in order: which task is polled when, and how its trigger learns of the end."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import KlingError
from airflow_kling.polling import schedule

if TYPE_CHECKING:
    from airflow_kling.api.tasks import TaskStatus

    Answer = TaskStatus | KlingTask | KlingError

log = logging.getLogger(__name__)

TICK = 0.1  # seconds; polls that are due in the same tick go out together, which halves what each costs the loop


@dataclass(eq=False, slots=True)
class Waiter:
    """One trigger that waits for one task.

    All moments are seconds of the poller's clock.

    :param poke_interval: seconds, the longest time between two polls; None for the pace of the route.
    :param since: when the wait began, perhaps in another triggerer.
    :param ended: resolves to the verdict.
    :param with_task: whoever waits needs the whole task once it has succeeded.
    :param task: the whole task, where the poll that found its end was one for it.
    :param joined: when the wait began here.
    :param due: the next poll, infinite when none is to come.
    :param queued_for: for when the poll queue holds it, infinite where it does not.
    :param context: of the trigger, where its log lines go.
    """

    kling_task_id: str
    route: str
    deadline: float
    poke_interval: float | None
    since: float
    ended: asyncio.Future[str]
    with_task: bool = False
    task: KlingTask | None = None
    joined: float = 0.0
    due: float = 0.0
    queued_for: float = math.inf
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    _odd_status: str | None = None

    @property
    def over(self) -> bool:
        """No poll is to come: there is a verdict, or the trigger has left."""
        return self.due == math.inf or self.ended.done()

    def begin(self, now: float, random_fraction: float, requests: float) -> None:
        """Be due for the first time.

        :param requests: as for :func:`airflow_kling.polling.schedule.interval`.
        """
        self.joined = now
        self._schedule(schedule.first_poll, now, random_fraction, requests)

    def receive(self, answer: Answer, now: float, random_fraction: float, requests: float) -> None:
        """End, or be due again; see :meth:`begin`."""
        verdict = schedule.verdict(answer, now=now, deadline=self.deadline)
        if verdict == schedule.ERROR:
            self.warn("Waiting for task %s cannot help: %s", self.kling_task_id, answer)
        if verdict:
            self.task = answer if isinstance(answer, KlingTask) else None
            self.end(verdict, now)
            return
        if not isinstance(answer, KlingError) and not answer.status_known and answer.status != self._odd_status:
            self._odd_status = answer.status
            self.warn("Kling task %s has the unknown status %r; waiting on.", self.kling_task_id, answer.status)
        self._schedule(schedule.next_poll, now, random_fraction, requests)

    def _schedule(self, rule: schedule.Rule, now: float, random_fraction: float, requests: float) -> None:
        due = rule(
            now=now,
            since=self.since,
            deadline=self.deadline,
            poke_interval=self.poke_interval,
            random_fraction=random_fraction,
            pace=schedule.pace_of(self.route),
            requests=requests,
        )
        self.due = math.ceil(due / TICK) * TICK

    def warn(self, message: str, *values: object) -> None:
        """Write a warning into the log of the waiting task."""
        self.context.run(log.warning, message, *values)

    def end(self, outcome: str | Exception, now: float) -> None:
        """Resolve, but not before the scheduler has seen the deferral: the poll may have been for an older waiter."""
        self.due = math.inf
        early = self.joined + schedule.FIRST_POLL_AFTER_DEFERRAL - now
        if early > 0:
            asyncio.get_running_loop().call_later(early, self._resolve, outcome)
        else:
            self._resolve(outcome)

    def _resolve(self, outcome: str | Exception) -> None:
        if self.ended.done():
            return
        if isinstance(outcome, Exception):
            self.ended.set_exception(outcome)
        else:
            self.ended.set_result(outcome)


class PollQueue:
    """Which waiter is due when: one entry for each, which moves only when it comes up or is due sooner."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Waiter]] = []
        self._order = itertools.count()  # decides between two that are due at once, which do not compare

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> float:
        """The moment before which nothing is due; infinite when it is empty."""
        return self._heap[0][0] if self._heap else math.inf

    def add(self, waiter: Waiter) -> bool:
        """Note when a waiter is due; return whether it now comes first."""
        if waiter.due >= waiter.queued_for:
            return False  # its entry comes up first, and is put off then
        waiter.queued_for = waiter.due
        heapq.heappush(self._heap, (waiter.due, next(self._order), waiter))
        return self._heap[0][2] is waiter

    def take_due(self, now: float) -> list[Waiter]:
        """Every waiter whose time has come, the longest overdue first."""
        due = []
        while self.next_due <= now:
            queued_for, _, waiter = heapq.heappop(self._heap)
            if waiter.over or queued_for != waiter.queued_for:
                continue  # it has left, or became due sooner by another entry
            waiter.queued_for = math.inf
            if waiter.due <= now:
                due.append(waiter)
            else:
                self.add(waiter)
        return sorted(due, key=lambda waiter: waiter.due)
