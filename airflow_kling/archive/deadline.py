"""Decides when a download has taken too long. Bytes that arrive fast enough put that off."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """The moment at which everything of a download ends.

    :param seconds: from now.
    :param bytes_per_second: so many bytes that arrive give one second more; None where none do.
    """

    def __init__(
        self, seconds: float, *, bytes_per_second: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._bytes_per_second = bytes_per_second

    def put_off(self, received: int) -> None:
        """Count bytes that have arrived."""
        if self._bytes_per_second:
            self._end += received / self._bytes_per_second

    def left(self) -> float:
        """Return the seconds that are left, 0 or less where it is over."""
        return self._end - self._clock()
