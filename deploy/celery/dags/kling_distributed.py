"""Makes many generations at once, each on its own: submit, wait deferred, archive.

Some waits begin on a worker, which polls once, defers, and resumes to return the result. The others start in the
triggerer and end there, so that they never take a worker slot.

Tasks that are further on go first (``weight_rule="upstream"``): a finished generation is archived before another one is
submitted, so results do not pile up at Kling.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_kling import kling_image

PROMPTS = Param(["a mug on a beach"], type="array", items={"type": "string"}, maxItems=1000)
REFERENCES = Param(["https://example.com/mug.png"], type="array", items={"type": "string"}, minItems=1, maxItems=4)

with DAG(
    dag_id="kling_distributed",
    doc_md=__doc__,
    schedule=None,
    params={
        "deferred": PROMPTS,
        "from_trigger": PROMPTS,
        "subject_images": REFERENCES,
        "destination": Param("s3://kling/archive", type="string"),
    },
    default_args={"retries": 10, "retry_delay": timedelta(seconds=1), "weight_rule": "upstream"},
) as dag:

    @task
    def rows(prompts: list[str]) -> list[str]:
        """Return what to make; a real one would read a catalogue."""
        return prompts

    for group_id in ("deferred", "from_trigger"):
        kling_image.partial(
            group_id,
            subject_images=dag.param("subject_images"),
            destination=dag.param("destination"),
            aspect_ratio="1:1",
            start_from_trigger=group_id == "from_trigger",
        ).expand(prompt=rows.override(task_id=f"rows_{group_id}")(dag.param(group_id)))
