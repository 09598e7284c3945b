"""Which processes of Airflow load the modules of tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

CHECKOUT = Path(__file__).resolve().parents[2]
LOADED = """
import json, sys
from airflow.jobs.job import Job
{imports}
Job()
print(json.dumps("airflow_kling.api.client" in sys.modules))
"""
SCHEDULER = "import airflow.jobs.scheduler_job_runner"


def loads(imports: str, executor: str, tmp_path: Path) -> bool:
    env = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__EXECUTOR": executor,
    }
    code = LOADED.replace("{imports}", imports)
    printed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True, capture_output=True)
    assert b"error calling listener" not in printed.stdout + printed.stderr
    return bool(json.loads(printed.stdout.splitlines()[-1]))


@pytest.mark.parametrize("executor", ["LocalExecutor", "CeleryExecutor,LocalExecutor"])
def test_a_scheduler_that_forks_tasks_loads_them(executor: str, tmp_path: Path) -> None:
    assert loads(SCHEDULER, executor, tmp_path) is AIRFLOW_V_3_0_PLUS


@pytest.mark.parametrize(
    ("imports", "executor"),
    [
        pytest.param("import airflow.jobs.triggerer_job_runner", "LocalExecutor", id="the triggerer"),
        pytest.param("import airflow.jobs.dag_processor_job_runner", "LocalExecutor", id="the DAG processor"),
        pytest.param(SCHEDULER, "CeleryExecutor", id="an executor that forks nothing"),
    ],
)
def test_other_processes_do_not(imports: str, executor: str, tmp_path: Path) -> None:
    assert not loads(imports, executor, tmp_path)
