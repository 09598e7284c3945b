"""Defines a DAG that makes a picture, and then a clip from the archived picture."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG

from airflow_kling.operators.archive import KlingArchiveImagesOperator
from airflow_kling.operators.image_to_video import KlingImageToVideoOperator
from airflow_kling.operators.multi_image_to_image import KlingMultiImageToImageOperator
from airflow_kling.sensors.task import KlingTaskSensor

DESTINATION = f"{os.environ['KLING_ARCHIVE']}/clips"
SAMPLES = os.environ["KLING_SAMPLES"]

with DAG("clips", schedule=None, default_args={"kling_conn_id": "kling_gallery"}):
    generate = KlingMultiImageToImageOperator(
        task_id="generate",
        subject_images=[f"{SAMPLES}/mug.png", f"{SAMPLES}/plant.png"],
        scene_image=f"{SAMPLES}/scene.png",
        prompt="The mug on the window sill",
        aspect_ratio="16:9",
        n=1,
    )
    wait = KlingTaskSensor(task_id="wait", kling_task_id=generate.output)
    picture = KlingArchiveImagesOperator(task_id="archive", task=wait.output, destination=DESTINATION)

    animate = KlingImageToVideoOperator(
        task_id="animate",
        image=picture.output,
        prompt="A slow turn around the mug, steam rises",
        duration="5",
    )
    wait_for_clip = KlingTaskSensor(
        task_id="wait_for_clip", kling_task_id=animate.output, route="image-to-video", poke_interval=5
    )
    KlingArchiveImagesOperator(
        task_id="archive_clip", task=wait_for_clip.output, route="image-to-video", destination=DESTINATION
    )
