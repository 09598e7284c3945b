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

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

CONF = "dag_run.conf"
SAMPLES = os.environ["KLING_FAULTS_SAMPLES"].split(os.pathsep)

COMMON: dict[str, Any] = {
    "kling_conn_id": f"{{{{ {CONF}['connection'] }}}}",
    "pre_execute": prepare,
    "retries": 4,
    "retry_delay": timedelta(seconds=1),
}
GENERATION: dict[str, Any] = {
    **COMMON,
    "subject_images": SAMPLES,
    "prompt": f"{{{{ {CONF}['prompt'] }}}}",
    "n": f"{{{{ {CONF}['n'] }}}}",
    "poke_interval": 2,
    "timeout": 600,
}
ARCHIVE: dict[str, Any] = {**COMMON, "destination": f"{{{{ {CONF}['destination'] }}}}"}


def dag(name: str) -> DAG:
    return DAG(dag_id=f"faults_{name}", schedule=None, catchup=False, max_active_runs=200)


with dag("apart"):
    submit = KlingMultiImageToImageOperator(
        task_id="submit",
        deferrable=True,
        **{k: v for k, v in GENERATION.items() if k not in ("poke_interval", "timeout")},
    )
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, poke_interval=2, timeout=600, **COMMON)
    KlingArchiveImagesOperator(task_id="archive", task=wait.output, **ARCHIVE)

with dag("together"):
    generate = KlingMultiImageToImageOperator(
        task_id="generate", wait_for_completion=True, deferrable=True, **GENERATION
    )
    KlingArchiveImagesOperator(task_id="archive", task=generate.output, **ARCHIVE)

with dag("archive"):
    KlingArchiveImagesOperator(task_id="archive", task=f"{{{{ {CONF}['kling_task_id'] }}}}", **ARCHIVE)
