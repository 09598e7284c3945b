"""The same generation by three tasks and by one, and one whose archive fails once."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_kling import kling_image

PARAMS = {"references": Param([], type="array"), "destination": Param("", type="string")}

with DAG("kling_compact", params=PARAMS) as dag:
    options = {
        "subject_images": dag.param("references"),
        "destination": dag.param("destination"),
        "n": 2,
        "poke_interval": 1,
    }
    kling_image("three", prompt="{{ dag.dag_id }} by three", **options)
    kling_image("one", prompt="{{ dag.dag_id }} by one", compact=True, **options)
    kling_image("pooled", prompt="{{ dag.dag_id }} by pool", pool="kling", **options)

with DAG(
    "kling_compact_retried", params=PARAMS, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)}
) as retried:
    kling_image(
        "one",
        subject_images=retried.param("references"),
        destination=retried.param("destination"),
        prompt="{{ dag.dag_id }}",
        n=2,
        poke_interval=1,
        compact=True,
    )
