"""Remembers for a while which images are not shown, so that none is decoded again and again for nothing."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

FOR = 600.0  # seconds
_MOST = 10_000


class Verdicts:
    """Reasons by the name of a thumbnail; the oldest go first.

    :param clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reasons: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def get(self, name: str) -> str | None:
        """Return why it is not shown; None where nothing is known."""
        until, reason = self._reasons.get(name, (0.0, ""))
        return reason if self._clock() < until else None

    def put(self, name: str, reason: str) -> None:
        """Remember why it is not shown."""
        self._reasons[name] = (self._clock() + FOR, reason)
        self._reasons.move_to_end(name)
        while len(self._reasons) > _MOST:
            self._reasons.popitem(last=False)
