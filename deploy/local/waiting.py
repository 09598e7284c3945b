"""Waits for a state of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HUNG = 600.0
"""Seconds without any change after which a wait is given up: a busy machine is slow, only what hangs stands still."""


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
    :param timeout: seconds without a change of what ``describe`` returns after which the wait is given up.
    :param pause: seconds between two calls.
    :param check: called after each answer that is not true; raises where waiting has become pointless.
    :param describe: returns what the error tells of the present state.
    :raises TimeoutError: nothing has changed for so long.
    """
    state, deadline = describe(), time.monotonic() + timeout
    while not (answer := poll()):
        check()
        if time.monotonic() >= deadline:
            before, state = state, describe()
            if state == before:
                raise TimeoutError(f"Waited {timeout:.0f} s in vain for {what}: {state}")
            deadline = time.monotonic() + timeout
        time.sleep(pause)
    return answer
