"""Tests sensors that start in the triggerer of a real Airflow: they need a worker only when the generation fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy.local.samples import draw_samples
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run

ALONE, MAPPED, FAILING = "wait", "mapped.wait[0]", "mapped.wait[1]"


@pytest.fixture(scope="module")
def run(run_dag: Callable[..., Run], kling: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Run:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    kling.fault(action="fail_task", match={"prompt": "dragon"}, message="the dragon is on strike")
    return run_dag("kling_start_from_trigger", references=[str(samples["mug"]), str(samples["plant"])])


@pytest.fixture(scope="module")
def waits(run: Run) -> dict[str, dict[str, Any]]:
    return run.instances()


@pytest.mark.parametrize("name", [ALONE, MAPPED])
def test_a_wait_that_succeeds_never_sees_a_worker(name: str, run: Run, waits: dict[str, dict[str, Any]]) -> None:
    assert waits[name]["state"] == "success"
    assert "deferred" in run.history[name]
    assert not {"queued", "running"} & set(run.history[name])
    assert waits[name]["queued_when"] is None
    assert not waits[name]["hostname"]
    assert waits[name]["pid"] is None


def test_its_xcom_is_the_finished_task(run: Run) -> None:
    for task_id, submit, map_index in (("wait", "submit", -1), ("mapped.wait", "mapped.submit", 0)):
        finished = run.xcom(task_id, map_index)
        assert finished["kling_task_id"] == run.xcom(submit, map_index)
        assert finished["status"] == "succeed"
        assert finished["images"][0]["url"].startswith("http")


def test_a_failure_resumes_on_a_worker_and_says_why(run: Run, waits: dict[str, dict[str, Any]]) -> None:
    assert waits[FAILING]["state"] == "failed"
    assert waits[FAILING]["hostname"]
    assert "the dragon is on strike" in run.log(FAILING)
