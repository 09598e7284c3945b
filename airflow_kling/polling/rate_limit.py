"""Decides when the next request of a connection may go out: its budget, and the pauses that the API asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from airflow_kling.api.retry import backoff
from airflow_kling.exceptions import KlingError, KlingRateLimitError

GRAIN = 0.05  # seconds that a request may be early: requests that go out together cost the loop half as much


@dataclass
class TokenBucket:
    """At most ``rate`` requests a second, with bursts of a second's worth.

    :param rate: requests per second.
    """

    rate: float
    _tokens: float = 1.0
    _at: float = 0.0

    def take(self, now: float) -> float:
        """Take a token; return the seconds to wait before using it."""
        self._tokens = min(max(1.0, self.rate), self._tokens + max(0.0, now - self._at) * self.rate) - 1
        self._at = now
        return max(0.0, -self._tokens / self.rate)


class RateLimiter:
    """One for all requests of a connection on an event loop.

    :param rate: requests per second.
    :param clock: seconds, as of the poller.
    :param random_fraction: random numbers in [0, 1).
    """

    def __init__(self, rate: float, *, clock: Callable[[], float], random_fraction: Callable[[], float]) -> None:
        self._bucket = TokenBucket(rate)
        self._clock = clock
        self._random_fraction = random_fraction
        self._not_before = 0.0
        self._refusals = 0

    async def acquire(self) -> None:
        """Wait until the next request may go out."""
        now = self._clock()
        delay = max(self._bucket.take(now), self._not_before - now)
        while delay > GRAIN:
            await asyncio.sleep(delay)
            delay = self._not_before - self._clock()  # another answer may have asked for a longer pause meanwhile

    def record(self, answer: object) -> None:
        """Note an answer. A rate limit or a Retry-After delays every request; any other answer ends the streak."""
        if not isinstance(answer, KlingRateLimitError) and not getattr(answer, "retry_after", None):
            self._refusals = 0
            return
        assert isinstance(answer, KlingError)
        now = self._clock()
        if now >= self._not_before:  # else it was under way when the pause began: the same refusal
            self._refusals += 1
        pause = backoff(answer, self._refusals, random_fraction=self._random_fraction())
        self._not_before = max(self._not_before, now + pause)
