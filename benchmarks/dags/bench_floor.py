"""Three tasks that do nothing, as often: what Airflow itself takes."""

from __future__ import annotations

import os

from airflow.sdk import DAG, task, task_group

COUNT = int(os.environ.get("BENCH_GENERATIONS", "24"))

with DAG("bench_floor", schedule=None, default_args={"retries": 2, "retry_delay": 5}, max_active_tasks=1000) as dag:

    @task
    def first(number: int) -> str:
        return f"a text as long as the id of a task {number}"

    @task
    def second(text: str) -> str:
        return text

    @task
    def third(text: str) -> str:
        return text

    @task_group(group_id="one")
    def one(number: int) -> None:
        third(second(first(number)))

    one.expand(number=list(range(COUNT)))
