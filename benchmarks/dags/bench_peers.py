"""The same with what the http and amazon providers offer.

A fifth task asks for the result: a deferred HttpSensor hands on nothing. It waits below ``/until-done``, which answers
404 until a generation is finished; on Kling's own routes a deferrable HttpSensor ends at its first look.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.transfers.http_to_s3 import HttpToS3Operator
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, task_group

COUNT = int(os.environ.get("BENCH_GENERATIONS", "24"))
TASKS = "kling/v1/images/generations"
TASK_ID = "{{ ti.xcom_pull(task_ids='one.submit', map_indexes=ti.map_index) }}"
SUBJECTS = [{"subject_image": f"https://example.com/{name}.png"} for name in ("mug", "plant")]


def task_id(response: Any) -> str:
    return str(response.json()["data"]["task_id"])


def image_path(response: Any) -> str:
    url = urlsplit(response.json()["data"]["task_result"]["images"][0]["url"])
    return f"{url.path.lstrip('/')}?{url.query}"


with DAG("bench_peers", schedule=None, default_args={"retries": 2, "retry_delay": 5}, max_active_tasks=1000) as dag:

    @task_group(group_id="one")
    def one(body: str) -> None:
        submit = HttpOperator(
            task_id="submit",
            endpoint=TASKS,
            data=body,
            headers={"Content-Type": "application/json"},
            response_filter=task_id,
        )
        wait = HttpSensor(task_id="wait", endpoint=f"until-done/{TASKS}/{TASK_ID}", poke_interval=5, deferrable=True)
        result = HttpOperator(task_id="result", method="GET", endpoint=f"{TASKS}/{TASK_ID}", response_filter=image_path)
        archive = HttpToS3Operator(
            task_id="archive",
            http_conn_id="http_files",
            endpoint="{{ ti.xcom_pull(task_ids='one.result', map_indexes=ti.map_index) }}",
            s3_bucket="bench",
            s3_key=f"peers/{TASK_ID}/0.png",
            replace=True,
        )
        submit >> wait >> result >> archive

    bodies = [
        {"model_name": "kling-v2", "prompt": f"mug and plant {number}", "subject_image_list": SUBJECTS}
        for number in range(COUNT)
    ]
    one.expand(body=[json.dumps(body) for body in bodies])
