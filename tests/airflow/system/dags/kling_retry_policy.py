"""A submission that Kling refuses for now, with a retry policy and a delay that no test would wait for."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.retry_policy import KlingRetryPolicy

with DAG(
    "kling_retry_policy",
    params={"references": Param([], type="array")},
    default_args={"retries": 3, "retry_delay": timedelta(hours=1), "retry_policy": KlingRetryPolicy()},
) as dag:
    for name in ("refused", "in_arrears"):
        KlingMultiImageToImageOperator(
            task_id=name,
            subject_images="{{ params.references }}",
            prompt=f"a mug, {name}",
            submit_timeout=1,
        )
