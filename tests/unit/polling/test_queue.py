"""Waits in order: who is due when, and how each learns of its end."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.api.tasks import TaskStatus
from airflow_kling.exceptions import KlingAuthenticationError, KlingServerError
from airflow_kling.polling import schedule
from airflow_kling.polling.queue import PollQueue, Waiter


def test_an_queue_has_one_entry_for_each_waiter_however_often_it_is_put_off() -> None:
    async def main() -> None:
        queue = PollQueue()
        waiters = [
            Waiter(str(i), DEFAULT_ROUTE, 1e9, 20, 0, asyncio.get_running_loop().create_future()) for i in range(3)
        ]
        for due in range(10, 100):
            for waiter in waiters:
                waiter.due = due
                queue.add(waiter)
        assert len(queue) == 3
        assert queue.next_due == 10
        assert queue.take_due(98) == []
        assert queue.next_due == 99
        waiters[2].due = 97
        assert queue.add(waiters[2])
        waiters[1].ended.cancel()
        assert queue.take_due(100) == [waiters[2], waiters[0]]
        assert len(queue) == 0
        assert queue.next_due == math.inf

    asyncio.run(main())


def waiter(**fields: Any) -> Waiter:
    """Waits for task 8334 since second 1000, on the running event loop."""
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    given = {"deadline": 1600.0, "poke_interval": 20.0, "since": 1000.0, "ended": ended, **fields}
    return Waiter("8334", DEFAULT_ROUTE, **given)


def test_a_waiter_is_due_again_after_an_answer_that_is_not_the_end() -> None:
    async def main() -> None:
        one = waiter()
        one.begin(1000.0, 0.5, 49)
        assert 1011.0 <= one.due <= 1012.2
        for answer in (TaskStatus("8334", "processing", None), KlingServerError("500")):
            for requests, soonest in ((49, 1024.0), (1, 1021.9)):
                one.receive(answer, 1020.0, 0.5, requests)
                assert not one.over
                assert soonest <= one.due <= soonest + 0.4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "now", "verdict"),
    [
        (TaskStatus("8334", "succeed", None), 1020.0, "succeed"),
        (TaskStatus("8334", "failed", None), 1020.0, "failed"),
        (KlingAuthenticationError("401"), 1020.0, "error"),
        (TaskStatus("8334", "processing", None), 1600.0, "timeout"),
    ],
    ids=str,
)
def test_a_waiter_ends_with_a_verdict(answer: Any, now: float, verdict: str) -> None:
    async def main() -> None:
        one = waiter()
        one.receive(answer, now, 0.5, 49)
        assert one.over
        assert await one.ended == verdict
        one.end("timeout", now)  # the first outcome stays
        assert one.ended.result() == verdict

    asyncio.run(main())


def test_a_waiter_is_not_resolved_before_the_scheduler_has_seen_its_deferral() -> None:
    async def main() -> None:
        one = waiter(since=0.0)  # by a clock that is ahead
        one.begin(1000.0, 0.5, 49)
        one.end("succeed", 1000.0 + schedule.FIRST_POLL_AFTER_DEFERRAL - 0.05)
        assert one.over
        assert not one.ended.done()
        assert await one.ended == "succeed"

    asyncio.run(main())


def test_an_unknown_status_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        one = waiter()
        for status in ("reviewing", "reviewing", "processing", "reviewing"):
            one.receive(TaskStatus("8334", status, None), 1020.0, 0.5, 49)

    asyncio.run(main())
    assert caplog.text.count("unknown status 'reviewing'") == 1
