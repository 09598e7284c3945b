"""Tests that a real scheduler does what the retry policy decides: the next try comes after Kling's ``Retry-After``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from deploy.local.samples import draw_samples
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run

ASKED = 7  # seconds


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run], kling: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Run:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    for fault in (
        {"match": {"prompt": "refused"}, "status": 429, "code": 1303, "retry_after": ASKED, "times": 1},
        {"match": {"prompt": "in_arrears"}, "status": 429, "code": 1101},
    ):
        kling.fault(**{"on": "create", "action": "error", **fault})
    return run_dag("kling_retry_policy", references=[str(samples["mug"]), str(samples["plant"])])


@pytest.fixture(scope="module")
def tries(run: Run) -> Callable[[str], list[dict[str, Any]]]:
    def tries(task_id: str) -> list[dict[str, Any]]:
        path = f"dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/tries"
        return sorted(run.api.get(path)["task_instances"], key=lambda one: one["try_number"])

    return tries


def test_the_next_try_comes_when_kling_asked_for_it(tries: Callable[[str], list[dict[str, Any]]]) -> None:
    first, second = tries("refused")
    assert second["state"] == "success"
    waited = datetime.fromisoformat(second["start_date"]) - datetime.fromisoformat(first["end_date"])
    assert ASKED <= waited.total_seconds() < 3600  # the task's own delay


def test_airflow_keeps_delay_and_reason(run: Run, running: Airflow3) -> None:
    [history] = running.database.rows(
        "select retry_delay_override, retry_reason from task_instance_history where run_id = %s and task_id = %s",
        run.run_id,
        "refused",
    )
    assert ASKED <= history["retry_delay_override"] <= 1.1 * ASKED
    assert history["retry_reason"] == f"Kling asked to wait {ASKED} s."


def test_what_no_retry_can_mend_is_tried_once(run: Run, tries: Callable[[str], list[dict[str, Any]]]) -> None:
    [only] = tries("in_arrears")
    assert only["state"] == "failed"
    assert run.state == "failed"
