"""How far a list of tasks is read: "there is none" is said only of one that was read to its end."""

from __future__ import annotations

import pytest

from airflow_kling.api.listing import CLOCKS_APART, is_last_page
from airflow_kling.api.tasks import TaskStatus

SINCE = 1_800_000_000.0
OLD = SINCE - CLOCKS_APART - 1


def page(*created: float | None, first: int = 0) -> list[TaskStatus]:
    return [TaskStatus(str(first + i), "processing", moment) for i, moment in enumerate(created)]


@pytest.mark.parametrize(
    ("tasks", "seen", "last"),
    [
        pytest.param(page(), set(), True, id="an empty page"),
        pytest.param(page(SINCE), set(), False, id="a page shorter than asked for"),
        pytest.param(page(SINCE, SINCE), {"0", "1", "2"}, True, id="pages that repeat themselves"),
        pytest.param(page(SINCE, SINCE), {"0"}, False, id="one task seen before, since new ones moved the rest on"),
        pytest.param(page(OLD, OLD), set(), True, id="all older"),
        pytest.param(page(OLD + 2, OLD), set(), False, id="older by less than clocks are apart"),
        pytest.param(page(SINCE, 0.0), set(), False, id="one odd date"),
        pytest.param(page(None, None), set(), False, id="no dates"),
        pytest.param(page(None, OLD), set(), True, id="an old one and one without a date"),
    ],
)
def test_last_page(tasks: list[TaskStatus], seen: set[str], last: bool) -> None:
    assert is_last_page(tasks, seen=seen, since=SINCE) is last


def test_without_a_moment_age_ends_nothing() -> None:
    assert not is_last_page(page(1.0, 0.0), seen=set(), since=0.0)
