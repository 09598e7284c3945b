"""The tasks of a generation, as authors write them; benchmarks/worker.py runs each by itself."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

FILES = Path(os.environ["BENCH_FILES"])
URLS = ["https://example.com/mug.png", "https://example.com/plant.png"]

with DAG("kling", schedule=None):
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=URLS, prompt="mug and plant")
    KlingMultiImageToImageOperator(
        task_id="submit_local", subject_images=[str(FILES / "mug.png"), URLS[1]], prompt="mug and plant"
    )
    wait = KlingTaskSensor(task_id="resume", kling_task_id=submit.output)
    KlingArchiveImagesOperator(task_id="archive_file", task=wait.output, destination=(FILES / "archive").as_uri())
    KlingArchiveImagesOperator(task_id="archive_s3", task=wait.output, destination="s3://bench/worker")
