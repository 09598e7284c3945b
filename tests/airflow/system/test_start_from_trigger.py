"""Tests sensors that start in the triggerer of a real Airflow: they need a worker only when the generation fails."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.local.airflow_api import label
from deploy.local.samples import draw_samples
from deploy.local.waiting import wait_for
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run, finish, start

ALONE, MAPPED, FAILING = "wait", "mapped.wait[0]", "mapped.wait[1]"


@pytest.fixture(scope="module")
def run(running: Airflow3, kling: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Run:
    samples = draw_samples(tmp_path_factory.mktemp("samples"))
    kling.fault(action="fail_task", match={"prompt": "dragon"}, message="the dragon is on strike")
    held = kling.hold_generations()
    run_id = start(running.api, "kling_start_from_trigger", references=[str(samples["mug"]), str(samples["plant"])])

    def states() -> dict[str, str]:
        found = running.api.task_instances("kling_start_from_trigger", run_id)
        return {label(one): one["state"] for one in found}

    waiting = dict.fromkeys((ALONE, MAPPED), "deferred")
    wait_for("the waits in the triggerer", lambda: waiting.items() <= states().items(), describe=states)
    kling.let_go(held)
    return finish(running.api, "kling_start_from_trigger", run_id)


@pytest.fixture(scope="module")
def waits(run: Run) -> dict[str, dict[str, Any]]:
    return run.instances()


@pytest.mark.parametrize("name", [ALONE, MAPPED])
def test_a_wait_that_succeeds_never_sees_a_worker(name: str, run: Run, waits: dict[str, dict[str, Any]]) -> None:
    assert waits[name]["state"] == "success"
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
