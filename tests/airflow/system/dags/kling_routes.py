"""Every route on two gateways, into S3: a group for each."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param

from airflow_kling import kling_generate

GATEWAYS = {"cometapi": "kling_default", "official": "kling_official"}

with DAG(
    "kling_routes",
    params={"picture": Param("", type="string"), "destination": Param("", type="string")},
    max_active_tasks=4,
) as dag:
    picture = dag.param("picture")
    prompt = {"prompt": "a cup on a table"}
    sides = ("up", "down", "left", "right")
    routes: dict[str, dict[str, Any]] = {
        "multi-image-to-image": {"subject_images": [picture, picture], **prompt},
        "image-generation": prompt,
        "omni-image": {"image_list": [picture], **prompt},
        "image-expansion": {"image": picture, **{f"{side}_expansion_ratio": 0.1 for side in sides}},
        "virtual-try-on": {"human_image": picture, "cloth_image": picture},
        "text-to-video": prompt,
        "image-to-video": {"image": picture, **prompt},
        "omni-video": {"image_list": [{"image_url": picture, "type": "first_frame"}], **prompt},
    }
    for gateway, kling_conn_id in GATEWAYS.items():
        for route, fields in routes.items():
            kling_generate(
                f"{gateway}_{route}",
                route=route,
                kling_conn_id=kling_conn_id,
                destination=dag.param("destination"),
                poke_interval=1,
                default_args={"retries": 1},
                **fields,
            )
