"""Generations with this package: submit, wait, archive."""

from __future__ import annotations

import os

from airflow.sdk import DAG, task_group

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

COUNT = int(os.environ.get("BENCH_GENERATIONS", "50"))


def dag(dag_id: str, prefix: str, **waiting: bool) -> DAG:
    with DAG(dag_id, schedule=None, default_args={"retries": 2}, max_active_tasks=1000) as made:

        @task_group(group_id="one")
        def one(prompt: str) -> None:
            submit = KlingMultiImageToImageOperator(
                task_id="submit",
                subject_images=["https://example.com/mug.png", "https://example.com/plant.png"],
                prompt=prompt,
            )
            wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, **waiting)
            KlingArchiveImagesOperator(task_id="archive", task=wait.output, destination=f"s3://bench/{prefix}")

        one.expand(prompt=[f"mug and plant {number}" for number in range(COUNT)])
    return made


worker = dag("bench_kling", "kling")
triggerer = dag("bench_kling_from_trigger", "kling_from_trigger", start_from_trigger=True)
