"""Callbacks of a minute: so many for a name, so many over all, and no memory of the minute before."""

from __future__ import annotations

from airflow_kling.plugins.callbacks.rate_limit import WINDOW, RateLimit


def taken(limit: RateLimit, name: str, count: int, now: float = 0.0) -> int:
    return sum(limit.allow(name, now) for _ in range(count))


def test_each_name_has_its_own() -> None:
    limit = RateLimit(each=3, overall=100)
    assert taken(limit, "a", 10) == 3
    assert taken(limit, "b", 10) == 3


def test_all_names_together_have_one() -> None:
    limit = RateLimit(each=3, overall=7)
    assert sum(taken(limit, name, 2) for name in "abcdefgh") == 7


def test_refused_callbacks_count_for_nobody() -> None:
    limit = RateLimit(each=3, overall=6)
    taken(limit, "a", 1000)
    assert taken(limit, "b", 10) == 3


def test_a_new_minute_begins_anew() -> None:
    limit = RateLimit(each=3, overall=6)
    taken(limit, "a", 10)
    assert taken(limit, "a", 10, WINDOW - 0.01) == 0
    assert taken(limit, "a", 10, WINDOW) == 3


def test_memory_is_bounded() -> None:
    limit = RateLimit(each=3, overall=50)
    for number in range(10_000):
        limit.allow(f"job-{number}", number / 1000)
    assert len(limit._counts) <= 50
