"""A review that nobody answers in time; its manifests come as a parameter."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_kling.operators.publish import KlingPublishImagesOperator
from airflow_kling.operators.review import KlingReviewImagesOperator

with DAG(
    "kling_review_in_a_hurry",
    params={"manifest": Param("", type="string"), "publish_to": Param("", type="string")},
) as dag:
    review = KlingReviewImagesOperator(
        task_id="review", manifest="{{ params.manifest }}", response_timeout=timedelta(seconds=2)
    )
    KlingPublishImagesOperator(task_id="publish", review=review.output, destination="{{ params.publish_to }}")
