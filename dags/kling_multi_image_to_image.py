"""
### Kling: several reference images become one new image

Fill in the form and trigger. Three tasks run:

1. **submit** sends the references and the prompt, once, and pushes the Kling task id. A retry of this task adopts what
   is already there; it never pays twice.
2. **wait** defers until Kling says `succeed` or `failed`; it holds no worker meanwhile.
3. **archive** downloads every image, verifies it and stores it under `destination/<Kling task id>/`. The manifest is
   written last: where it is, the archive is complete.

Needs the connection `kling_default`. References are URLs that Kling's servers can reach, or files that the workers can
read (a local path or an object storage URL); files are checked before anything is sent. `destination` is
`s3://bucket/prefix` or any other object storage URL. With more than one worker machine, use storage that they share.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Asset, Param

from airflow_kling.forms import field_param
from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

ROUTE = "multi-image-to-image"

PARAMS = {
    # Types, choices and limits are those of the route's row. The default of the subjects is not allowed, so that each
    # run has to name them; without any, a worker would have to begin the wait.
    "subject_images": field_param(
        ROUTE,
        "subject_images",
        default=[],
        title="Subject images",
        description="URLs or files, one a line. CometAPI's default gateway takes 2 to 4.",
    ),
    "prompt": field_param(ROUTE, "prompt", title="Prompt", description="What to make of the subjects."),
    "model_name": field_param(
        ROUTE,
        "model_name",
        default="kling-v2",
        title="Model",
        description="kling-v2-1 is not offered by CometAPI's default gateway.",
    ),
    "aspect_ratio": field_param(ROUTE, "aspect_ratio", title="Aspect ratio"),
    "n": field_param(ROUTE, "n", title="Number of images", description="Each one is paid for."),
    "negative_prompt": field_param(
        ROUTE,
        "negative_prompt",
        title="Negative prompt",
        description="What to leave out. Not known to CometAPI's default gateway.",
    ),
    "scene_image": field_param(ROUTE, "scene_image", title="Scene image", description="A URL or a file."),
    "style_image": field_param(ROUTE, "style_image", title="Style image", description="A URL or a file."),
    "callback_url": Param(
        None, type=["null", "string"], title="Callback URL", description="Kling posts each change of status to it."
    ),
    "external_task_id": Param(
        None,
        type=["null", "string"],
        title="External task id",
        description="Yours, unique per Kling account. Leave it empty and the operator makes one for each run.",
    ),
    "destination": Param(
        os.environ.get("KLING_ARCHIVE", "file:///tmp/kling-archive"),
        type="string",
        minLength=1,
        title="Destination",
        description="s3://bucket/prefix or another object storage URL.",
    ),
}

with DAG(
    dag_id="kling_multi_image_to_image",
    description="Submit references to Kling once, wait deferred, archive every image.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=PARAMS,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["kling", "images"],
) as dag:
    # dag.param() hands a parameter over as the value it is; a Jinja template would turn the array into text.
    submit = KlingMultiImageToImageOperator(
        task_id="submit",
        **{name: dag.param(name) for name in PARAMS if name != "destination"},
    )

    wait = KlingTaskSensor(task_id="wait", kling_task_id=submit.output, timeout=timedelta(hours=1))

    archive = KlingArchiveImagesOperator(
        task_id="archive",
        task=wait.output,
        destination=dag.param("destination"),
        outlets=[Asset("kling_images")],
    )
