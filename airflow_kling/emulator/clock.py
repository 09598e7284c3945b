"""Tells the time of an emulator, which a test may move forward."""

from __future__ import annotations

from collections.abc import Callable


class AdjustableClock:
    """A clock that can be moved forward, so that a test need not wait.

    :param base: Unix time in seconds
    """

    def __init__(self, base: Callable[[], float]) -> None:
        self._base = base
        self._offset = 0.0

    def __call__(self) -> float:
        """Unix time in seconds."""
        return self._base() + self._offset

    def advance(self, seconds: float) -> float:
        """Move the time forward by ``seconds``; returns the new time."""
        if seconds < 0:
            raise ValueError("a clock cannot be moved back")
        self._offset += seconds
        return self()
