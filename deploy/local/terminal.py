"""Prints at once, and turns SIGINT and SIGTERM into exceptions, so that a command ends its servers on the way out."""

from __future__ import annotations

import signal
from types import FrameType


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def raise_on_signals() -> None:
    """Raise ``KeyboardInterrupt`` on SIGINT, also in a background job of a shell, and ``SystemExit`` on SIGTERM."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
