"""Tests that a wait ends by what it waits for, and is given up only when nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

from deploy.local.waiting import wait_for

T = TypeVar("T")


def one_after_the_other(values: Iterable[T]) -> Callable[[], T]:
    left = iter(values)
    return lambda: next(left)


def test_returns_the_first_true_answer() -> None:
    assert wait_for("it", one_after_the_other([None, 0, "here"]), pause=0) == "here"


def test_what_changes_is_slow_and_does_not_hang() -> None:
    polls, states = one_after_the_other([None, None, None, "here"]), one_after_the_other(["a", "b", "c", "d"])
    assert wait_for("it", polls, timeout=0, pause=0, describe=states) == "here"


def test_what_stands_still_is_given_up_with_its_state() -> None:
    states = one_after_the_other(["queued", "running", "running"])
    with pytest.raises(TimeoutError, match="Waited 0 s in vain for it: running"):
        wait_for("it", lambda: None, timeout=0, pause=0, describe=states)


def test_a_check_ends_a_wait_that_is_pointless() -> None:
    def died() -> None:
        raise RuntimeError("the scheduler has ended")

    with pytest.raises(RuntimeError, match="the scheduler has ended"):
        wait_for("it", lambda: None, pause=0, check=died)
