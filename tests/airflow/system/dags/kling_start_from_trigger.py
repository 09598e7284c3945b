"""Sensors that go straight to the triggerer: one on its own, mapped ones, and one whose generation fails."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task_group

from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor


def generation(prompt: str) -> KlingTaskSensor:
    """Submit, and wait without a worker."""
    submit = KlingMultiImageToImageOperator(
        task_id="submit", subject_images="{{ params.references }}", prompt=prompt, retries=0
    )
    return KlingTaskSensor(
        task_id="wait", kling_task_id=submit.output, start_from_trigger=True, poke_interval=1, retries=0
    )


with DAG("kling_start_from_trigger", params={"references": Param([], type="array")}) as dag:
    generation("A mug and a plant")

    @task_group
    def mapped(prompt: str) -> Any:
        """A generation of its own for each prompt."""
        generation(prompt)

    mapped.expand(prompt=["a mapped mug", "a mapped dragon"])
