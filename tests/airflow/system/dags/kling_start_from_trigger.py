"""Waits that go straight to the triggerer: a sensor, mapped ones, and groups beside others that wait from a worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task_group

from airflow_kling import kling_image
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

REFERENCES = "{{ params.references }}"


def generation(prompt: str) -> KlingTaskSensor:
    """Submit, and wait without a worker."""
    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=REFERENCES, prompt=prompt, retries=0)
    return KlingTaskSensor(
        task_id="wait", kling_task_id=submit.output, start_from_trigger=True, poke_interval=1, retries=0
    )


def called(context: Any) -> None:
    """Do what only a worker does."""
    print(f"{context['task'].task_id} was called")


with DAG(
    "kling_start_from_trigger",
    params={"references": Param([], type="array"), "destination": Param("", type="string", minLength=1)},
) as dag:
    generation("A mug and a plant")

    @task_group
    def mapped(prompt: str) -> Any:
        """A generation of its own for each prompt."""
        generation(prompt)

    mapped.expand(prompt=["a mapped mug", "a mapped dragon"])

    group: dict[str, Any] = {"subject_images": REFERENCES, "destination": "{{ params.destination }}"}
    retried = {"retries": 1, "retry_delay": timedelta(seconds=1)}
    for prefix, how in {"default": {}, "worker": {"start_from_trigger": False}}.items():
        group |= {"poke_interval": 1, "default_args": retried, **how}
        kling_image(f"{prefix}_good", prompt=f"a good mug, {prefix}", n=2, **group)
        kling_image(f"{prefix}_failing", prompt=f"a failing dragon, {prefix}", **group)
        kling_image(f"{prefix}_endless", prompt=f"an endless mug, {prefix}", timeout=4, **group)
    group |= {"start_from_trigger": None, "default_args": {"on_success_callback": called}}
    kling_image("with_callback", prompt="a mug with a callback", **group)
