"""The state of a generation without an archive, from the states of its tasks and run."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.plugins.gallery.rows import TaskStates
from airflow_kling.plugins.gallery.status import UNFINISHED, State, state_of

TASK_STATES = [
    None,
    "scheduled",
    "queued",
    "running",
    "deferred",
    "success",
    "failed",
    "upstream_failed",
    "skipped",
    "removed",
    "up_for_retry",
    "up_for_reschedule",
    "restarting",
    "a state of tomorrow",
]


@pytest.mark.parametrize(
    ("own", "others", "run", "state"),
    [
        ("running", {}, "running", "running"),
        ("deferred", {}, "running", "running"),
        ("up_for_retry", {}, "running", "retrying"),
        ("queued", {}, "running", "waiting"),
        ("failed", {"wait": "running"}, "running", "failed"),
        ("success", {"wait": "deferred", "archive": None}, "running", "running"),
        ("success", {"wait": "up_for_reschedule"}, "running", "retrying"),
        ("success", {"wait": "up_for_retry", "other": "running"}, "running", "running"),
        ("success", {"wait": None}, "running", "waiting"),
        ("success", {"wait": "failed", "archive": "upstream_failed"}, "running", "failed"),
        ("success", {"wait": "success"}, "running", "not archived"),
        ("success", {}, "running", "not archived"),
        # A run that is over ends every wait, whatever its tasks say.
        ("deferred", {"wait": None}, "failed", "not archived"),
        ("success", {"wait": "failed", "archive": None}, "failed", "failed"),
        # The task or the run was deleted.
        (None, {}, None, "waiting"),
    ],
)
def test_state(own: str | None, others: dict[str, str | None], run: str | None, state: State) -> None:
    assert state_of(TaskStates(own, others, run)) == state


@given(
    st.sampled_from(TASK_STATES),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(TASK_STATES)),
    st.sampled_from([None, "queued", "running", "success", "failed"]),
)
def test_every_run_that_is_over_has_a_final_state(
    own: str | None, others: dict[str, str | None], run: str | None
) -> None:
    state = state_of(TaskStates(own, others, run))
    assert state in set(get_args(State)) - {"archived"}
    assert run not in ("success", "failed") or state not in UNFINISHED
