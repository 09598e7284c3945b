"""Keeps the tasks of all accounts and computes their status. It does no I/O; the clock is passed in.

A status is computed when it is asked for, so that a waiting task costs nothing.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_kling.emulator.config import Duration, EmulatorConfig
from airflow_kling.emulator.endpoints import Endpoint, ResultList
from airflow_kling.emulator.errors import kling_error, task_not_found
from airflow_kling.emulator.requests import Creation

SUBMITTED, PROCESSING, SUCCEED, FAILED = "submitted", "processing", "succeed", "failed"
_QUEUED_SHARE = 0.2
"""Part of a task's duration that it is ``submitted`` before it is ``processing``."""


@dataclass
class Task:
    """One generation task.

    :param endpoint: its route and gateway
    :param created_at: Unix seconds
    :param duration: seconds from creation to end, longer only if its references take longer to fetch
    :param ends_at: Unix seconds at which it ends; None while its references are still being fetched
    :param failure: why it ends ``failed``; None when it ends ``succeed``
    :param base_url: how its creator reaches this server, for result URLs in callbacks
    :param source_seconds: length of the video that it refers to, once that has been fetched
    :param pictures: for each reference given as URL, its image's key in the reference store
    """

    task_id: str
    account: str
    endpoint: Endpoint
    creation: Creation
    created_at: float
    duration: float
    ends_at: float | None
    failure: str | None
    base_url: str
    source_seconds: float | None = None
    pictures: dict[str, str | None] = field(default_factory=dict)

    @property
    def starts_at(self) -> float:
        """Unix seconds at which it changes to ``processing``."""
        return self.created_at + self.duration * _QUEUED_SHARE

    def status(self, now: float) -> str:
        """``submitted``, ``processing``, ``succeed`` or ``failed``."""
        if self.ends_at is not None and now >= self.ends_at:
            return FAILED if self.failure else SUCCEED
        return PROCESSING if now >= self.starts_at else SUBMITTED

    def changed_at(self, now: float) -> float:
        """Unix seconds of the last change of status."""
        if self.ends_at is not None and now >= self.ends_at:
            return self.ends_at
        return self.starts_at if now >= self.starts_at else self.created_at

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the request, and ``source_seconds``."""
        return {**self.creation.fields, "source_seconds": self.source_seconds}

    @property
    def slots(self) -> int:
        """Slots that it takes until its end: one for each result."""
        return self.endpoint.route.slots(self.creation.fields)

    @property
    def results(self) -> list[tuple[ResultList, int]]:
        """The lists of its results, each with the number of results."""
        counts = ((results, results.count(self.creation.fields)) for results in self.endpoint.route.results)
        return [(results, count) for results, count in counts if count]

    @property
    def units(self) -> float:
        """Price of the task if it succeeds."""
        return self.endpoint.route.price(self.fields)


class AccountTasks:
    """The tasks and the used slots of one account."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.by_external_id: dict[str, Task] = {}
        self._slots = 0
        self._ends: list[tuple[float, int]] = []

    def take_slots(self, count: int) -> None:
        """Take slots."""
        self._slots += count

    def return_slots(self, count: int, when: float) -> None:
        """Give slots back at the Unix time ``when``."""
        heapq.heappush(self._ends, (when, count))

    def slots(self, now: float) -> int:
        """Slots that unfinished tasks hold."""
        # Counted when asked for: no timer has to run at the end of a task.
        while self._ends and self._ends[0][0] <= now:
            self._slots -= heapq.heappop(self._ends)[1]
        return self._slots

    def first_since(self, moment: float) -> int:
        """Position of the first task created at or after ``moment``."""
        # Tasks are in the order of their creation.
        return bisect_left(self.tasks, moment, key=lambda task: task.created_at)


class TaskStore:
    """All tasks of all accounts. Safe to use from several threads.

    :param config: durations, slots, retention
    :param clock: Unix time in seconds
    """

    def __init__(self, config: EmulatorConfig, clock: Callable[[], float]) -> None:
        self.config = config
        self.clock = clock
        self.lock = threading.RLock()
        self._serial = 0
        self._tasks: dict[str, Task] = {}
        self._accounts: dict[str, AccountTasks] = {}

    def reset(self) -> None:
        """Forget every task."""
        with self.lock:
            self._tasks.clear()
            self._accounts.clear()

    def create(
        self,
        account: str,
        endpoint: Endpoint,
        creation: Creation,
        *,
        base_url: str = "",
        failure: str | None = None,
        fetching: bool = False,
    ) -> Task:
        """Make a task, if the account has slots for it.

        :param failure: the task will fail for this reason
        :param fetching: the task does not end before :meth:`references_fetched`
        :raises ApiError: 429/1303 without free slots, 400/1201 for an ``external_task_id`` that was used before
        """
        with self.lock:
            now = self.clock()
            known = self._accounts.setdefault(account, AccountTasks())
            self._check_external_id(known, creation.external_task_id, now)
            limit = self.config.concurrency
            if limit is not None and known.slots(now) + endpoint.route.slots(creation.fields) > limit:
                raise kling_error(1303)
            task_id = self._new_id(now)
            seconds = self._duration(endpoint).seconds(task_id)
            task = Task(
                task_id,
                account,
                endpoint,
                creation,
                created_at=now,
                duration=seconds,
                ends_at=None if fetching else now + seconds,
                failure=failure,
                base_url=base_url,
            )
            self._add(known, task)
            return task

    def _duration(self, endpoint: Endpoint) -> Duration:
        video = endpoint.route.pack == "video" and self.config.video_duration
        return video or self.config.duration

    def _check_external_id(self, known: AccountTasks, external_task_id: str | None, now: float) -> None:
        if external_task_id is None or self.config.allow_duplicate_external_ids:
            return
        earlier = known.by_external_id.get(external_task_id)
        if earlier is not None and not self._expired(earlier, now):
            raise kling_error(1201, f"external_task_id '{external_task_id}' already exists")

    def _new_id(self, now: float) -> str:
        # The time in front makes ids that a restarted emulator does not give again.
        self._serial += 1
        return str(int(now * 1000) * 100_000 + self._serial % 100_000)

    def _add(self, known: AccountTasks, task: Task) -> None:
        self._tasks[task.task_id] = task
        known.tasks.append(task)
        if task.creation.external_task_id:
            known.by_external_id[task.creation.external_task_id] = task
        known.take_slots(task.slots)
        if task.ends_at is not None:
            known.return_slots(task.slots, task.ends_at)

    def references_fetched(self, task: Task, failure: str | None) -> None:
        """End the wait of a task that was created with ``fetching``.

        :param failure: why its references cannot be used, None when all is well
        """
        with self.lock:
            task.failure = task.failure or failure
            # Kling answers the creation first, so the task does not fail before its time.
            task.ends_at = max(self.clock(), task.created_at + task.duration)
            # After a reset the task is no longer known.
            if self._tasks.get(task.task_id) is task:
                self._accounts[task.account].return_slots(task.slots, task.ends_at)

    def find(self, account: str, endpoint: Endpoint, key: str) -> Task:
        """A task by its id or, on the official gateway, by its ``external_task_id``.

        :raises ApiError: the gateway's "not found", also for a task of another account or path
        """
        official = endpoint.gateway.official
        with self.lock:
            task = self._tasks.get(key)
            if task is None and official and account in self._accounts:
                task = self._accounts[account].by_external_id.get(key)
            if task is None or task.account != account or task.endpoint.path != endpoint.path:
                raise task_not_found(official=official)
            if self._expired(task, self.clock()):
                raise task_not_found(official=official)
            return task

    def peek(self, key: str) -> Task | None:
        """A task by its id or ``external_task_id``, of any account; None if there is none or it has expired."""
        with self.lock:
            task = self._tasks.get(key)
            for known in self._accounts.values():
                task = task or known.by_external_id.get(key)
            return None if task is None or self._expired(task, self.clock()) else task

    def _expired(self, task: Task, now: float) -> bool:
        return now >= task.created_at + self.config.retention

    def page(self, account: str, endpoint: Endpoint, number: int, size: int) -> list[Task]:
        """Tasks created under a path, newest first.

        :param number: page, counted from 1
        :param size: tasks per page
        """
        with self.lock:
            known = self._accounts.get(account)
            if known is None:
                return []
            oldest = known.first_since(self.clock() - self.config.retention)
            skip, found = (number - 1) * size, []
            # Backwards and only as far as needed: an account may have 10,000 tasks.
            for position in range(len(known.tasks) - 1, oldest - 1, -1):
                task = known.tasks[position]
                if task.endpoint.path != endpoint.path:
                    continue
                if skip:
                    skip -= 1
                    continue
                found.append(task)
                if len(found) == size:
                    break
            return found

    def of_account(self, account: str) -> list[Task]:
        """Every task of an account, oldest first, also those past their retention."""
        with self.lock:
            known = self._accounts.get(account)
            return list(known.tasks) if known else []

    def slots(self, account: str) -> int:
        """Slots that the account's unfinished tasks hold now."""
        with self.lock:
            known = self._accounts.get(account)
            return known.slots(self.clock()) if known else 0
