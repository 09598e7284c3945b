"""One waiting trigger, as the poller knows it: when to look for it, and how it learns of the end; and all in order."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingError
from airflow_kling.polling import schedule

if TYPE_CHECKING:
    from airflow_kling.api.tasks import TaskStatus

    Look = TaskStatus | KlingError

log = logging.getLogger(__name__)

TICK = 0.1  # seconds; looks that are due in the same tick go out together, which halves what each costs the loop


@dataclass(eq=False, slots=True)
class Watch:
    """A wait for one task.

    :param deadline: epoch seconds.
    :param poke_interval: seconds, the longest time between two looks.
    :param since: epoch seconds when the wait began.
    :param ended: resolves to the verdict.
    :param due: epoch seconds of the next look.
    :param entered: epoch seconds at which the agenda has it, infinite where it has not.
    """

    kling_task_id: str
    deadline: float
    poke_interval: float
    since: float
    ended: asyncio.Future[str]
    due: float = 0.0
    entered: float = math.inf
    _odd_status: str | None = None
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)  # where the trigger's log lines go

    @property
    def over(self) -> bool:
        """No look is to come: there is a verdict, or the trigger has left."""
        return self.due == math.inf or self.ended.done()

    def begin(self, now: float, dice: float) -> None:
        """Be due for the first time."""
        self._schedule(schedule.first_look, now, dice)

    def look(self, look: Look, now: float, dice: float) -> None:
        """End, or be due again."""
        verdict = schedule.verdict(look, now=now, deadline=self.deadline)
        if verdict == schedule.ERROR:
            self._warn("Waiting for task %s cannot help: %s", self.kling_task_id, look)
        if verdict:
            self.end(verdict, now)
            return
        if not isinstance(look, KlingError) and not look.status_known and look.status != self._odd_status:
            self._odd_status = look.status
            self._warn("Kling task %s has the unknown status %r; waiting on.", self.kling_task_id, look.status)
        self._schedule(schedule.next_look, now, dice)

    def _schedule(self, rule: schedule.Rule, now: float, dice: float) -> None:
        due = rule(now=now, since=self.since, deadline=self.deadline, poke_interval=self.poke_interval, dice=dice)
        self.due = math.ceil(due / TICK) * TICK

    def _warn(self, message: str, *values: object) -> None:
        self._context.run(log.warning, message, *values)

    def end(self, outcome: str | Exception, now: float) -> None:
        """Tell the trigger, but not before the scheduler has seen its deferral; the look may have been for another."""
        self.due = math.inf
        early = self.since + schedule.FIRST_LOOK_AFTER_DEFERRAL - now
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


class Agenda:
    """Which watch is due when: one entry for each, which moves only when it comes up or is due sooner."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Watch]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> float:
        """Epoch seconds before which nothing is due; infinite when it is empty."""
        return self._heap[0][0] if self._heap else math.inf

    def add(self, watch: Watch) -> bool:
        """Note when a watch is due; return whether it now comes first."""
        if watch.due >= watch.entered:
            return False
        watch.entered = watch.due
        heapq.heappush(self._heap, (watch.due, next(self._order), watch))
        return self._heap[0][2] is watch

    def take_due(self, now: float) -> list[Watch]:
        """Every watch whose time has come, the longest overdue first."""
        due = []
        while self.next_due <= now:
            entered, _, watch = heapq.heappop(self._heap)
            if watch.over or entered != watch.entered:
                continue
            watch.entered = math.inf
            if watch.due <= now:
                due.append(watch)
            else:
                self.add(watch)
        return sorted(due, key=lambda watch: watch.due)
