"""Defines the DAGs of the fault table. The conf of a run says what it does and where it breaks; see ``breaking``."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from airflow.providers.common.compat.sdk import DAG
from breaking import prepare

from airflow_kling.operators import find_operator
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.sensors.task import KlingTaskSensor

CONF = "dag_run.conf"
SAMPLES = os.environ["KLING_FAULTS_SAMPLES"].split(os.pathsep)

COMMON: dict[str, Any] = {
    "kling_conn_id": f"{{{{ {CONF}['connection'] }}}}",
    "pre_execute": prepare,
    "retries": 15,  # more than any row needs: on a slow machine Airflow may take a process that lives for dead
    "retry_delay": timedelta(seconds=1),
}
GENERATION: dict[str, Any] = {**COMMON, "prompt": f"{{{{ {CONF}['prompt'] }}}}"}
WAIT: dict[str, Any] = {"poke_interval": 2, "timeout": 600}
ARCHIVE: dict[str, Any] = {**COMMON, "destination": f"{{{{ {CONF}['destination'] }}}}"}
N = f"{{{{ {CONF}['n'] }}}}"
ROUTES: dict[str, dict[str, Any]] = {
    "multi-image-to-image": {"subject_images": SAMPLES, "n": N},
    "image-generation": {"n": N},
    "image-to-video": {"image": SAMPLES[0], "model_name": "kling-v3", "duration": "3"},
}


def dag(name: str, route: str) -> DAG:
    dag_id = f"faults_{name}_{route.replace('-', '_')}"
    return DAG(dag_id=dag_id, schedule=None, catchup=False, max_active_runs=200)


for route, own in ROUTES.items():
    operator, fields = find_operator(route), {**GENERATION, **own}

    with dag("apart", route):
        submit = operator(task_id="submit", deferrable=True, **fields)
        wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, route=route, **WAIT, **COMMON)
        KlingArchiveImagesOperator(task_id="archive", task=wait.output, **ARCHIVE)

    with dag("together", route):
        generate = operator(task_id="generate", wait_for_completion=True, deferrable=True, **WAIT, **fields)
        KlingArchiveImagesOperator(task_id="archive", task=generate.output, **ARCHIVE)

    with dag("compact", route):  # as kling_image(compact=True) makes it
        operator(task_id="generate", deferrable=True, **WAIT, **{**fields, **ARCHIVE})

    with dag("archive", route):
        KlingArchiveImagesOperator(task_id="archive", task=f"{{{{ {CONF}['kling_task_id'] }}}}", route=route, **ARCHIVE)
