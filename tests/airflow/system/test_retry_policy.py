"""A real scheduler keeps to what the retry policy decides: Kling's ``Retry-After`` is when the next try comes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from deploy.local.samples import draw_samples
from tests.airflow.database import Database
from tests.airflow.system.conftest import Run

ASKED = 7  # seconds


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run], emulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    for fault in (
        {"match": {"prompt": "refused"}, "status": 429, "code": 1303, "retry_after": ASKED, "times": 1},
        {"match": {"prompt": "in_arrears"}, "status": 429, "code": 1101},
    ):
        httpx.post(
            f"{emulator_url}/_emulator/faults", json={"on": "create", "action": "error", **fault}, trust_env=False
        ).raise_for_status()
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
    assert ASKED <= waited.total_seconds() < 60


def test_airflow_keeps_delay_and_reason(run: Run, airflow_database: Database) -> None:
    [(delay, reason)] = airflow_database.rows(
        "select retry_delay_override, retry_reason from task_instance_history where run_id = %s and task_id = %s",
        run.run_id,
        "refused",
    )
    assert ASKED <= delay <= 1.1 * ASKED
    assert reason == f"Kling asked to wait {ASKED} s."


def test_what_no_retry_can_mend_is_tried_once(run: Run, tries: Callable[[str], list[dict[str, Any]]]) -> None:
    [only] = tries("in_arrears")
    assert only["state"] == "failed"
    assert run.state == "failed"
