"""When the next request of a connection may go out: a budget, and pauses that the API asks for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_kling.exceptions import KlingError, KlingRateLimitError, KlingServerError
from airflow_kling.polling import rate_limit
from airflow_kling.polling.rate_limit import RateLimiter, TokenBucket


def test_token_bucket_allows_a_burst_of_one_second_and_the_rate_after_it() -> None:
    bucket = TokenBucket(rate=10)
    assert [bucket.take(100.0) for _ in range(12)] == pytest.approx([0.0] * 10 + [0.1, 0.2])
    assert bucket.take(100.5) == 0.0


class Clock:
    """Moves only when somebody sleeps by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # Not asyncio.sleep itself: other threads of the tests sleep too.
    monkeypatch.setattr(rate_limit, "asyncio", SimpleNamespace(sleep=clock.sleep))
    monkeypatch.setattr("airflow_kling.api.retry.BASE_DELAY", 1.0)
    return clock


def limiter(clock: Clock, rate: float = 1000.0) -> RateLimiter:
    return RateLimiter(rate, clock=clock, random_fraction=lambda: 0.0)


def test_requests_of_one_burst_go_out_at_once_and_the_rest_by_the_rate(clock: Clock) -> None:
    async def main() -> None:
        one = limiter(clock, rate=4)
        for _ in range(8):
            await one.acquire()

    asyncio.run(main())
    assert clock.now - 1000.0 == pytest.approx(1.0)


def test_a_request_that_is_hardly_early_does_not_wait(clock: Clock) -> None:
    async def main() -> None:
        one = limiter(clock, rate=100)
        for _ in range(104):
            await one.acquire()

    asyncio.run(main())
    assert clock.slept == []


@pytest.mark.parametrize(
    ("refusal", "pause"),
    [
        (KlingRateLimitError("429"), 1.0),
        (KlingRateLimitError("429", retry_after=5), 5.0),
        (KlingServerError("503", retry_after=5), 5.0),
    ],
    ids=str,
)
def test_a_refusal_delays_every_request(refusal: KlingError, pause: float, clock: Clock) -> None:
    one = limiter(clock)
    one.record(refusal)
    asyncio.run(one.acquire())
    assert clock.slept == [pause]


@pytest.mark.parametrize("answer", [KlingServerError("500"), "a task", None], ids=str)
def test_any_other_answer_delays_nobody(answer: Any, clock: Clock) -> None:
    one = limiter(clock)
    one.record(answer)
    asyncio.run(one.acquire())
    assert clock.slept == []


def test_pauses_grow_with_refusals_in_a_row_but_those_under_way_together_are_one(clock: Clock) -> None:
    one = RateLimiter(1000.0, clock=clock, random_fraction=lambda: 0.5)

    def refused(*, times: int) -> float:
        for _ in range(times):
            one.record(KlingRateLimitError("429"))
        before = clock.now
        asyncio.run(one.acquire())
        return clock.now - before

    assert [refused(times=3), refused(times=1), refused(times=1)] == [1.5, 2.0, 3.0]
    one.record("a task")
    assert refused(times=1) == 1.5


def test_a_longer_pause_asked_for_meanwhile_is_kept_too(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    one = limiter(clock)
    one.record(KlingRateLimitError("429", retry_after=5))

    async def sleep(seconds: float) -> None:
        if not clock.slept:
            one.record(KlingRateLimitError("429", retry_after=30))
        await clock.sleep(seconds)

    monkeypatch.setattr(rate_limit.asyncio, "sleep", sleep)
    asyncio.run(one.acquire())
    assert clock.now - 1000.0 == pytest.approx(30.0)
