"""One generation in every state that a link, an event or a figure can tell of, and two that are mapped."""

from __future__ import annotations

import base64
from pathlib import Path

from airflow.sdk import DAG, Param

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor


def payload(path: str) -> str:
    """A reference that has no address."""
    return base64.b64encode(Path(path).read_bytes()).decode()


with DAG(
    "observed",
    params={name: Param("", type="string") for name in ("mug", "plant", "destination", "prompt")},
    user_defined_macros={"payload": payload},
) as dag:
    references = ["{{ params.mug }}", "{{ payload(params.plant) }}"]
    submit = KlingMultiImageToImageOperator(
        task_id="submit", subject_images=references, prompt="{{ params.prompt }}", n=2, aspect_ratio="3:2"
    )
    # Listeners, OpenLineage among them, hear of a wait only where a worker begins it.
    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, start_from_trigger=False)
    KlingArchiveImagesOperator(task_id="archive", task=wait.output, destination="{{ params.destination }}")
    KlingArchiveImagesOperator(task_id="archive_fails", task=wait.output, destination="file:///proc/nowhere")

    KlingTaskSensor(task_id="wait_fails", kling_task_id="unknown", start_from_trigger=False)
    KlingTaskSensor(task_id="wait_in_triggerer", kling_task_id=submit.output, start_from_trigger=True)
    KlingMultiImageToImageOperator(
        task_id="generate", subject_images=references, wait_for_completion=True, deferrable=True
    )

    submit_each = KlingMultiImageToImageOperator.partial(task_id="submit_each", subject_images=references).expand(
        prompt=["A first", "A second"]
    )
    KlingTaskSensor.partial(task_id="wait_each").expand(kling_task_id=submit_each.output)
