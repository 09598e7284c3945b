"""Defines DAGs that fill the gallery: a mapped one that everybody may see, and one that the user ``viewer`` may not."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task, task_group

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

DESTINATION = f"{os.environ['KLING_ARCHIVE']}/lookbook"
SAMPLES = os.environ["KLING_SAMPLES"]
ROWS = [
    {"prompt": "A mug beside a plant on an oak table, morning light", "aspect_ratio": "1:1", "n": 2},
    {"prompt": "The reading lamp in a quiet corner, evening", "aspect_ratio": "16:9", "n": 1},
    {"prompt": "Plants for the winter garden, three by three", "aspect_ratio": "3:4", "n": 3},
    {"prompt": "Everything on one shelf <b>sorted</b> by colour & size", "aspect_ratio": "4:3", "n": 4},
]


def sample(name: str) -> str:
    return f"{SAMPLES}/{name}.png"


DEFAULTS: dict[str, Any] = {"kling_conn_id": "kling_gallery", "retries": 1, "retry_delay": timedelta(seconds=5)}

with DAG("lookbook", schedule=None, default_args=DEFAULTS):

    @task
    def rows() -> list[dict[str, Any]]:
        return [row | {"subject_images": [sample("mug"), sample("plant")]} for row in ROWS]

    @task_group
    def look(subject_images: list[str], prompt: str, aspect_ratio: str, n: int) -> None:
        submit = KlingMultiImageToImageOperator(
            task_id="submit",
            subject_images=subject_images,
            scene_image=sample("scene"),
            prompt=prompt,
            aspect_ratio=aspect_ratio,
            n=n,
        )
        wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output)
        outlets = [Asset("lookbook_images")]
        KlingArchiveImagesOperator(task_id="archive", task=wait.output, destination=DESTINATION, outlets=outlets)

    look.expand_kwargs(rows())

with DAG("denied", schedule=None, default_args=DEFAULTS):
    KlingArchiveImagesOperator(
        task_id="archive",
        task=KlingMultiImageToImageOperator(
            task_id="generate",
            subject_images=[sample("lamp"), sample("mug")],
            prompt="What nobody outside the team may see",
            wait_for_completion=True,
            deferrable=True,
        ).output,
        destination=f"{os.environ['KLING_ARCHIVE']}/secret",
    )
