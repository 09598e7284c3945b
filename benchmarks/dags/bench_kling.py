"""Generations with this package, to S3 and to files."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG

from airflow_kling import kling_image

COUNT = int(os.environ.get("BENCH_GENERATIONS", "24"))
S3, FILES = "s3://bench", os.environ.get("BENCH_FILES", "file:///tmp/bench")


def generations(dag_id: str, place: str, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None, default_args={"retries": 2, "retry_delay": 5}, max_active_tasks=1000) as made:
        kling_image.partial(
            "one",
            subject_images=["https://example.com/mug.png", "https://example.com/plant.png"],
            destination=f"{place}/{dag_id.removeprefix('bench_')}",
            **options,
        ).expand(prompt=[f"mug and plant {number}" for number in range(COUNT)])
    return made


default = generations("bench_kling", S3)
default_file = generations("bench_kling_file", FILES)
from_worker = generations("bench_kling_worker", S3, start_from_trigger=False)
compact = generations("bench_kling_compact", S3, compact=True)
compact_file = generations("bench_kling_compact_file", FILES, compact=True)
