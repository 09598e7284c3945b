"""Waits for a state of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HUNG = 600.0
"""Seconds after which a wait is given up: far more than a busy machine needs, so that only what hangs is given up."""


def wait_for(
    what: str,
    poll: Callable[[], T | None],
    *,
    timeout: float = HUNG,
    pause: float = 0.3,
    check: Callable[[], object] = lambda: None,
    describe: Callable[[], object] = lambda: "no more is known",
) -> T:
    """Call ``poll`` until it answers something true, and return that.

    :param what: names the state in the error.
    :param pause: seconds between two calls.
    :param check: called after each answer that is not true; raises where waiting has become pointless.
    :param describe: returns what the error tells of the present state.
    :raises TimeoutError: ``timeout`` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while not (answer := poll()):
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {timeout:.0f} s in vain for {what}: {describe()}")
        time.sleep(pause)
    return answer
