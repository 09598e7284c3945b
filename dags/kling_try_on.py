"""
### Kling: every person in every garment

Fill in people and garments, and trigger: a picture is made of each person in each garment, **and paid for**, so three
people and four garments are twelve generations. Each one is a group of tasks of its own and fails alone: *there is no
human in the video* is Kling's way to say that it has found no person.

Needs the connection `kling_default`. A person or a garment is a URL that Kling's servers can reach, or a file that the
workers can read (a local path or an object storage URL). A garment is a product photo or one on white: an upper, a
lower or a dress; with `kolors-virtual-try-on-v1-5` a top and a bottom in one picture too.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, Param, task

from airflow_kling import kling_generate
from airflow_kling.forms import field_param

ROUTE = "virtual-try-on"
# The default is not allowed, so that each run has to name them; without any, a worker would have to begin the wait.
PICTURES: dict[str, Any] = {"default": [], "type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50}

with DAG(
    dag_id="kling_try_on",
    description="Make a picture of each person in each garment.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params={
        "people": Param(**PICTURES, title="People", description="URLs or files, one a line."),
        "garments": Param(**PICTURES, title="Garments", description="URLs or files, one a line."),
        "model_name": field_param(
            ROUTE, "model_name", title="Model", description="Without one, the gateway's default."
        ),
        "destination": Param(
            os.environ.get("KLING_ARCHIVE", "file:///tmp/kling-archive"),
            type="string",
            minLength=1,
            title="Destination",
            description="s3://bucket/prefix or another object storage URL.",
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["kling", "images"],
) as dag:

    @task
    def listed(pictures: list[str]) -> list[str]:
        """Return the pictures of the form as the output of a task, which is what can be mapped over."""
        return pictures

    kling_generate.partial(
        "try_on",
        route=ROUTE,
        model_name=dag.param("model_name"),
        destination=dag.param("destination"),
        outlets=[Asset("kling_images")],
    ).expand(
        human_image=listed.override(task_id="people")(dag.param("people")),
        cloth_image=listed.override(task_id="garments")(dag.param("garments")),
    )
