"""
### Kling: a person looks, and what is approved is published

Runs whenever a DAG has archived images and says so with the Asset `kling_images`, as `kling_multi_image_to_image` and
`kling_catalog` do, and every archive task without `outlets` of its own. To
review what was archived before, trigger it with addresses of manifests.

For each archived generation, on its own:

1. **review** asks on the page *Required Actions*, with prompt and images: which ones may be published? It takes no
   worker while it waits. Where nobody answers in three days, nothing is approved.
2. **publish** copies the approved images to `publish_to/<Kling task id>/`, verified, and writes `review.json` beside
   the manifest: of each image whether it was approved or rejected, by whom and when. Clear `review` to be asked again;
   what is rejected then is taken out of `publish_to`.

Needs Airflow 3.1 or newer.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, Param, task, task_group
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_kling.operators.publish import KlingPublishImagesOperator
from airflow_kling.reporting.triggering_events import manifests_of_run

IMAGES = Asset("kling_images")
REVIEW_TIMEOUT = timedelta(days=3)


def build_dag() -> DAG:
    """Return the DAG."""
    from airflow_kling.operators.review import KlingReviewImagesOperator

    with DAG(
        dag_id="kling_review_and_publish",
        description="Ask a person which archived images may be published, and publish those.",
        doc_md=__doc__,
        schedule=IMAGES,
        catchup=False,
        # A run waits for a person for days, at no cost: the usual 16 would keep all others from being asked.
        max_active_runs=1000,
        params={
            "manifests": Param(
                [],
                type="array",
                items={"type": "string"},
                title="Manifests",
                description="Addresses of manifests to review, one a line, beside those of the Asset events.",
            ),
            "publish_to": Param(
                os.environ.get("KLING_PUBLISHED", "file:///tmp/kling-published"),
                type="string",
                title="Publish to",
                description="s3://bucket/prefix or another object storage URL.",
            ),
        },
        default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
        tags=["kling", "images"],
    ) as dag:

        @task(inlets=[IMAGES], max_active_tis_per_dag=1)
        def archived(manifests: list[str], **context: Any) -> list[str]:
            """Return the manifests to review, each one once: an archive task that was cleared says so again."""
            return list(dict.fromkeys([*manifests, *manifests_of_run(context, IMAGES)]))

        @task_group
        def generation(manifest: str) -> None:
            """Review and publish the images of one generation."""
            review = KlingReviewImagesOperator(task_id="review", manifest=manifest, response_timeout=REVIEW_TIMEOUT)
            KlingPublishImagesOperator(
                task_id="publish",
                review=review.output,
                destination=dag.param("publish_to"),
                outlets=[Asset("kling_published_images")],
            )

        generation.expand(manifest=archived(dag.param("manifests")))
    return dag


if AIRFLOW_V_3_1_PLUS:
    dag = build_dag()
else:
    logging.getLogger(__name__).warning("kling_review_and_publish is left out: to ask a person needs Airflow 3.1.")
