"""Rows whose archives end within the same seconds."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_kling import kling_image

with DAG(
    "kling_together", params={"references": Param([], type="array"), "destination": Param("", type="string")}
) as dag:
    row = kling_image.partial(
        "row", subject_images=dag.param("references"), destination=dag.param("destination"), n=1, poke_interval=1
    )
    row.expand(prompt=[f"row {number}" for number in range(4)])
