"""When the next request of a connection may go out: its budget, and the pauses that the API has asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from airflow_kling.exceptions import KlingError, KlingRateLimitError
from airflow_kling.polling import schedule

GRAIN = 0.05  # seconds that a request may be ahead of its turn: together, requests cost the loop half as much


class Throttle:
    """One for all requests of a connection on an event loop.

    :param rate: requests per second.
    :param clock: epoch seconds.
    :param dice: random numbers in [0, 1).
    :ivar turns: requests since they were last counted.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float], dice: Callable[[], float]) -> None:
        self._bucket = schedule.TokenBucket(rate)
        self._clock = clock
        self._dice = dice
        self._not_before = 0.0
        self._refusals = 0
        self.turns = 0

    async def turn(self) -> None:
        """Wait until the next request may go out, and count it."""
        self.turns += 1
        now = self._clock()
        delay = max(self._bucket.take(now), self._not_before - now)
        while delay > GRAIN:
            await asyncio.sleep(delay)
            delay = self._not_before - self._clock()

    def heed(self, answer: object) -> None:
        """A rate limit or a Retry-After slows everybody of the connection down; any other answer ends the streak."""
        if not isinstance(answer, KlingRateLimitError) and not getattr(answer, "retry_after", None):
            self._refusals = 0
            return
        assert isinstance(answer, KlingError)
        from airflow_kling.api.retry import backoff

        now = self._clock()
        if now >= self._not_before:  # else it was under way when the pause began: the same refusal
            self._refusals += 1
        self._not_before = max(self._not_before, now + backoff(answer, self._refusals, random_fraction=self._dice()))
