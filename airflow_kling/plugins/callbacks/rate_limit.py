"""Limits how many callbacks are taken in a minute: for one submission, and over all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

WINDOW = 60.0  # seconds


@dataclass
class RateLimit:
    """Counts the callbacks of a minute. Its memory is bounded: it forgets all names with the minute.

    :param each: for one name; a task has three changes, and deliveries repeat.
    :param overall: for all names together.
    """

    each: int = 20
    overall: int = 6000
    _since: float = field(default=float("-inf"), init=False)
    _total: int = field(default=0, init=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False)

    def allow(self, name: str, now: float) -> bool:
        """Count a callback and tell whether it may be taken.

        :param now: seconds of a clock that never goes back.
        """
        if now - self._since >= WINDOW:
            self._since, self._total = now, 0
            self._counts.clear()
        if self._counts[name] >= self.each or self._total >= self.overall:
            return False
        self._counts[name] += 1
        self._total += 1
        return True
