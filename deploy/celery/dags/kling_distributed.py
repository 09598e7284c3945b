"""Many generations at once, each on its own: submit, wait deferred, archive.

Tasks that are further on go first (``weight_rule="upstream"``): a finished generation is archived before another one is
submitted, so results do not pile up at Kling.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_kling import kling_image

with DAG(
    dag_id="kling_distributed",
    doc_md=__doc__,
    schedule=None,
    params={
        "prompts": Param(type="array", items={"type": "string"}, minItems=1, maxItems=1000),
        "subject_images": Param(type="array", items={"type": "string"}, minItems=1, maxItems=4),
        "destination": Param(type="string"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1), "weight_rule": "upstream"},
) as dag:

    @task
    def rows(prompts: list[str]) -> list[str]:
        """Return what to make; a real one would read a catalogue."""
        return prompts

    kling_image.partial(
        "picture",
        subject_images=dag.param("subject_images"),
        destination=dag.param("destination"),
        aspect_ratio="1:1",
    ).expand(prompt=rows(dag.param("prompts")))
